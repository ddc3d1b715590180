# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of the lab but those that reboot or end the run: repaired, or named as what is left to do.

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
from tests.lab.host.domains import LOCAL
from tests.lab.lab import Lab
from tests.scenarios.lab import state_of
from tests.scenarios.node import Node
from tests.scenarios.steps import HOSTS, Findings, findings_of, noted, steps_of

#: Ends the run before its closing audit, and is named by it: see the scenario ``faults``.
STOPS = {"conf-broken"}
TESTED = sorted(name for name, fault in FAULTS.items() if not fault.reboot and name not in STOPS)

DAEMON = {("LIB-007", "daemon libvirtd")}
STRANGE = {("GST-009", subject) for _rule, subject in FAULTS["hostile-names"].expects}
#: Faults that stay as they are: to give guests and hosts other categories is the work of playbook allocate.
ALLOCATED = ("container-with-guest-label", "guest-label-copied", "guest-off-same-label", "range-too-narrow")
#: What stays a finding of a fault after hardening. All others are gone.
LEFT: dict[str, Findings] = {
    **{name: set(FAULTS[name].expects) for name in ALLOCATED},
    # A guest's power cycle: its label is settled when it starts.
    "guest-dominates": {("CAT-002", "s0:c33,c287,c528,c787,c788,c797,c798")},
    "guest-label-disagrees": {("GST-007", "guest unlike")},
    "guest-label-pending": {("GST-010", "guest pending")},
    "guest-needs-power-cycle": {("GST-010", "guest late")},
    "guest-no-category": {("GST-005", "guest guest-no-category")},
    "guest-same-label": {("CAT-002", "s0:c33,c287,c528,c996")},
    "guest-single-category": {("GST-005", "guest guest-single-category")},
    "guest-static-no-relabel": {("GST-008", "guest guest-static-no-relabel")},
    "guest-unconfined": {("GST-010", "guest stray")},
    "guest-unconfined-type": {("GST-010", "guest guest-unconfined-type")},
    "guest-wide-label": {("CAT-002", "s0:c0.c1023"), ("GST-006", "guest guest-wide-label")},
    "image-backing-wrong": {("IMG-001", f"image {LOCAL}/base1.qcow2")},
    # People: what the administrator wrote or started, and what the guest is for.
    "conf-unknown-key": {("LIB-006", "qemu.conf security_drivers")},
    "daemon-context-wrong": DAEMON,
    "daemon-range-cut": DAEMON,
    "daemon-range-list": DAEMON,
    "daemon-range-small": DAEMON,
    "device-label": {("IMG-006", f"image {LOCAL}/open-disk.raw")},
    "dynamic-on-share": {("IMG-004", "guest drifter1")},
    "guest-commandline": {("GST-009", "guest custom")},
    "guest-filesystem": {("GST-009", "guest folder")},
    "guest-hostdev": {("GST-009", "guest hostdev")},
    "guest-type-unconstrained": {("SEL-007", "type unconfined_t")},
    "hostile-names": STRANGE,
    "network-filter-weakened": {("NET-002", "interface 52:54:00:0e:00:03 of guest believer")},
    "qemu-by-hand": {("GST-001", "process PID handmade")},
    "storage-context": {("IMG-008", "storage /srv/flat")},
    "storage-vfat": {("IMG-008", "storage /srv/vfat")},
    # One host alone does not know what the other does on the share; in the story, with both, it is repaired.
    "image-lost-label": {("IMG-002", "image /srv/vms/app1.raw")},
    # libvirt does not escape a newline in its status XML: after its restart it takes the path for another.
    "hostile-paths": {("IMG-005", f"image {LOCAL}/new\nline.raw")},
}


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
        """Findings after hardening."""
        return findings_of(self.seen.report) if self.seen else set()

    @property
    def left(self) -> Findings:
        """Findings to expect after it."""
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
    steps = steps_of(host, single=False, reboots=False)
    taken = [take(lab, host, step) for step in steps if STOPS.isdisjoint(fault.name for fault in step)]
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
    assert step.found == step.left, step.seen.run.output
    assert step.kept, "every guest runs on"
