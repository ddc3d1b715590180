# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of the lab but those that reboot: repaired where no guest and no person is needed for it, else named.

``make soak`` goes through all, in the steps of the scenario ``tamper``. In ``make test`` the faults of the story
stand for them: see story.py.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from itertools import zip_longest

import pytest
from story import Hardening, each, guests, harden, states

from tests.lab import faults
from tests.lab.faults import FAULTS, Fault
from tests.lab.lab import Lab
from tests.scenarios.steps import HOST_OF, HOSTS, Findings, expected_of, findings_of, noted, steps_of

TESTED = sorted(name for name, fault in FAULTS.items() if not fault.reboot)

#: What stays a finding of a fault after hardening, for it needs a guest's power cycle or people. All others are gone.
LEFT: dict[str, Findings] = {}


@dataclass
class Step:
    """What was seen with some faults in the hosts."""

    faults: dict[str, list[Fault]]
    kept: bool = False
    seen: Hardening | None = None
    error: str = ""


def take(lab: Lab, wanted: dict[str, list[Fault]]) -> Step:
    """Inject, harden and undo. What does not work is noted, and the next step goes on."""
    step, started = Step(wanted), time.monotonic()
    names = {host: [fault.name for fault in wanted[host]] for host in HOSTS}
    with noted(step):
        each(lab, lambda host: faults.inject(host, *names[host], lab=lab.folder))
        before = states(lab)
        step.seen = harden(lab)
        step.kept = all(guests(step.seen.states[host]) == guests(before[host]) for host in HOSTS)
    with noted(step):
        each(lab, lambda host: faults.undo(host, *names[host], lab=lab.folder))
    verdict = step.error or ("as expected" if found_in(step) == left_of(step) else "NOT as expected")
    print(f"{names}: {verdict}, {time.monotonic() - started:.0f} s", file=sys.__stderr__, flush=True)
    return step


def found_in(step: Step) -> Findings:
    return findings_of(step.seen.report) if step.seen else set()


def left_of(step: Step) -> Findings:
    named = [(fault, host) for host in HOSTS for fault in step.faults[host]]
    return {(rule, subject.format(host=host)) for fault, host in named for rule, subject in LEFT.get(fault.name, set())}


@pytest.fixture(scope="module")
def steps(lab: Lab) -> dict[str, Step]:
    """All steps, by the faults in them."""
    lists = [steps_of(host, single=False, reboots=False) for host in HOSTS]
    taken = []
    for row in zip_longest(*lists, fillvalue=[]):
        taken.append(take(lab, dict(zip(HOSTS, row, strict=True))))
    return {fault.name: step for step in taken for host in HOSTS for fault in step.faults[host]}


@pytest.mark.parametrize("name", TESTED)
def test_fault_is_repaired_or_named(steps: dict[str, Step], name: str) -> None:
    step, host = steps[name], HOST_OF[name]
    assert not step.error, step.error
    assert step.seen is not None
    mine = expected_of([FAULTS[name]], host)
    left = {(rule, subject.format(host=host)) for rule, subject in LEFT.get(name, set())}
    assert found_in(step) & mine <= left, step.seen.run.output
    assert found_in(step) == left_of(step), step.seen.run.output
    assert step.kept, "every guest runs on"
