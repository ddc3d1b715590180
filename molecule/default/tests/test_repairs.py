# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of the lab but those that reboot: repaired where no guest and no person is needed for it, else named.

``make soak`` goes through all, in the steps of the scenario ``tamper``, both hosts side by side. In ``make test`` the
faults of the story stand for them: see story.py.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from story import Hardening, guests, harden

from tests.lab import faults
from tests.lab.faults import FAULTS, Fault
from tests.lab.lab import Lab
from tests.scenarios.lab import state_of
from tests.scenarios.node import Node
from tests.scenarios.steps import HOST_OF, HOSTS, Findings, expected_of, findings_of, noted, steps_of

TESTED = sorted(name for name, fault in FAULTS.items() if not fault.reboot)

#: What stays a finding of a fault after hardening, for it needs a guest's power cycle or people. All others are gone.
LEFT: dict[str, Findings] = {}


@dataclass
class Step:
    """What was seen with some faults in a host."""

    host: str
    faults: list[Fault]
    kept: bool = False
    seen: Hardening | None = None
    error: str = ""

    @property
    def found(self) -> Findings:
        """What is found after hardening."""
        return findings_of(self.seen.report) if self.seen else set()

    @property
    def left(self) -> Findings:
        """What is to be found after it."""
        return {found for fault in self.faults for found in left_of(fault.name, self.host)}


def left_of(name: str, host: str) -> Findings:
    return {(rule, subject.format(host=host)) for rule, subject in LEFT.get(name, set())}


def take(lab: Lab, host: str, wanted: list[Fault]) -> Step:
    """Inject, harden and undo. What does not work is noted, and the next step goes on."""
    step, started, names = Step(host, wanted), time.monotonic(), [fault.name for fault in wanted]
    with noted(step):
        # The guard of the step before would let no guest start that is a fault.
        assert Node(lab, host).role("guard", guard_state="absent").status == 0
        faults.inject(host, *names, lab=lab.folder)
        before = guests(state_of(lab, host))
        step.seen = harden(lab, limit=host)
        step.kept = guests(step.seen.states[host]) == before
    with noted(step):
        faults.undo(host, *names, lab=lab.folder)
    verdict = step.error or ("as expected" if step.found == step.left else f"NOT as expected: {sorted(step.found)}")
    print(f"{host}: {', '.join(names)}: {verdict}, {time.monotonic() - started:.0f} s", file=sys.__stderr__, flush=True)
    return step


def walk(lab: Lab, host: str) -> dict[str, Step]:
    """All steps of a host, by the faults in them. What other tests left in it is taken back first."""
    faults.undo(host, *faults.injected(host, lab=lab.folder), lab=lab.folder)
    taken = [take(lab, host, wanted) for wanted in steps_of(host, single=False, reboots=False)]
    return {fault.name: step for step in taken for fault in step.faults}


@pytest.fixture(scope="module")
def steps(lab: Lab) -> dict[str, Step]:
    """Both hosts' steps, taken side by side."""
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        walks = [pool.submit(walk, lab, host) for host in HOSTS]
        return {name: step for one in walks for name, step in one.result().items()}


@pytest.mark.parametrize("name", TESTED)
def test_fault_is_repaired_or_named(steps: dict[str, Step], name: str) -> None:
    step = steps[name]
    assert not step.error, step.error
    assert step.seen is not None
    mine = expected_of([FAULTS[name]], HOST_OF[name])
    assert step.found & mine <= left_of(name, step.host), step.seen.run.output
    assert step.found == step.left, step.seen.run.output
    assert step.kept, "every guest runs on"
