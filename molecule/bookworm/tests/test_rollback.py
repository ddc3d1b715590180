# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollback on hosts of Debian 12: all that the hardening repaired is as it was, and no guest has ended by it."""

from __future__ import annotations

from tests.lab import faults
from tests.lab.lab import Lab
from tests.scenarios.lab import state_of
from tests.scenarios.node import Node
from tests.scenarios.playbooks import audit, run
from tests.scenarios.steps import expected_of

#: Reported with or without faults; see test_hardened.py.
ALWAYS = {"kvm1": {("IMG-003", "folder /srv/vms")}, "kvm2": set[tuple[str, str]]()}


def guests(lab: Lab, host: str) -> set[str]:
    """Process and label of every guest that runs."""
    seen = state_of(lab, host)["processes"]
    return {f"{pid} {about[2]}" for pid, about in seen.items() if about[0].startswith("qemu-")}


def test_rollback_brings_the_findings_back(lab: Lab) -> None:
    before = {host: guests(lab, host) for host in lab.names()}
    back = run("svirt.fleet.rollback", lab.inventory)
    assert back.status == 0, back.output
    seen = audit(lab.inventory)
    for host in lab.names():
        names = faults.injected(host, lab=lab.folder)
        assert names
        found = {(rule, subject) for rule, where, subject in seen.found if where == host}
        assert found == expected_of([faults.FAULTS[name] for name in names], host) | ALWAYS[host], seen.output
        assert guests(lab, host) == before[host]
        assert Node(lab, host).journal() == []
