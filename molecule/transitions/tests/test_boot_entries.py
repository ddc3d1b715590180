# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot entries that weaken SELinux, each one booted, repaired, and booted again: what the boot loader says counts."""

from __future__ import annotations

import pytest

from tests.lab import faults
from tests.scenarios.selinux import DEFAULTS, GRUB_CFG, Machine


@pytest.mark.parametrize(
    "fault",
    [
        "boot-entry-enforcing-0",
        pytest.param("boot-entry-selinux-0", marks=pytest.mark.soak),
        pytest.param("boot-entry-other-module", marks=pytest.mark.soak),
    ],
)
def test_an_entry_that_was_edited_in_grub_cfg(machine: Machine, fault: str) -> None:
    machine.be("enforcing")
    faults.inject(machine.name, fault, lab=machine.lab.folder)
    assert machine.findings() == {("SEL-004", "host")}
    asked = machine.ask()
    assert asked.done == {("make", GRUB_CFG)}
    assert asked.result["before"]["boot_faults"]
    assert asked.result["after"]["boot_faults"] == []
    assert machine.findings() == set()
    faults.undo(machine.name, fault, lab=machine.lab.folder)  # the same content: the file as generated


@pytest.mark.soak
def test_a_kernel_with_enforcing_0(machine: Machine) -> None:
    machine.be("enforcing")
    machine.boot_with("security=selinux enforcing=0")
    assert machine.findings() == {("SEL-004", "host")}
    assert machine.reboot() == {}
    assert (machine.mode, machine.configured) == ("permissive", "enforcing")
    assert machine.findings() == {("SEL-002", "host")}
    asked = machine.ask(selinux_soak_seconds=0)
    assert asked.done == {("set", "mode"), ("edit", DEFAULTS), ("make", GRUB_CFG)}
    boots_enforcing(machine)


@pytest.mark.soak
@pytest.mark.parametrize("arguments", ["security=apparmor", "", "lsm=lockdown,yama,apparmor"])
def test_a_kernel_with_selinux_0(machine: Machine, arguments: str) -> None:
    """Debian's kernel does not know ``selinux=0`` (CONFIG_SECURITY_SELINUX_BOOTPARAM): beside ``security=selinux`` it
    has no effect here. Others know it, so that an entry with it is a finding all the same.
    """
    machine.be("enforcing")
    machine.boot_with(arguments)
    assert machine.findings() == {("SEL-004", "host")}
    machine.reboot()
    assert (machine.mode, machine.configured) == ("disabled", "enforcing")
    assert machine.findings() == {("SEL-001", "host")}
    asked = machine.ask(selinux_allow_reboot=True)
    assert {("edit", DEFAULTS), ("make", GRUB_CFG)} <= asked.done
    assert asked.rebooted
    assert machine.mode == "permissive", "the kernel has SELinux again, and does not enforce in the same step"
    machine.resume()
    assert machine.findings() == {("SEL-002", "host")}
    asked = machine.ask(selinux_soak_seconds=0)
    assert ("set", "mode") in asked.done
    boots_enforcing(machine)


def boots_enforcing(machine: Machine) -> None:
    """What was repaired holds after a reboot, with every guest confined."""
    assert machine.findings() == set()
    assert machine.reboot() == {}
    assert (machine.mode, machine.configured) == ("enforcing", "enforcing")
    assert machine.confined()
    assert machine.findings() == set()
