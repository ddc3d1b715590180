# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy that lets all guests do as they like, on a host that enforces: put right, and put back."""

from __future__ import annotations

import pytest

from tests.lab import faults
from tests.scenarios.selinux import Machine

FAULT = "selinux-permissive-domain"
OPEN = {("SEL-006", "type svirt_t")}


@pytest.mark.soak
def test_a_permissive_domain_in_the_loaded_policy(machine: Machine) -> None:
    machine.be("enforcing")
    guests = machine.guests()
    faults.inject(machine.name, FAULT, lab=machine.lab.folder)
    assert machine.findings() == OPEN

    machine.breach()
    asked = machine.ask()
    assert asked.code("type svirt_t") == "denials"
    assert "svirt_t {" in asked.why("type svirt_t")
    assert machine.findings() == OPEN, "what would break stays, and stays a finding"

    faults.undo(machine.name, FAULT, lab=machine.lab.folder)
    faults.inject(machine.name, FAULT, lab=machine.lab.folder)
    weak = machine.sh("sha256sum </sys/fs/selinux/policy")
    asked = machine.ask()
    assert asked.done == {("load_policy", "type svirt_t")}
    assert machine.findings() == set()
    with machine.untouched():
        assert not machine.ask().run.changed

    assert machine.run("svirt.fleet.rollback", svirt_rollback_runs=1).status == 0
    assert machine.findings() == OPEN
    assert machine.sh("sha256sum </sys/fs/selinux/policy") == weak, "the very policy that was loaded"

    assert machine.ask().done == {("load_policy", "type svirt_t")}
    faults.undo(machine.name, FAULT, lab=machine.lab.folder)
    assert machine.guests() == guests
    assert machine.findings() == set()
