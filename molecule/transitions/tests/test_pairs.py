# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in each mode of SELinux is asked for each mode: all nine pairs.

None of them weakens: what would is refused, and the host is as it was. No option asks for ``disabled``.
The order spares reboots; each test brings the host to where it begins, so any can run alone.
"""

from __future__ import annotations

import pytest

from tests.lab import faults
from tests.scenarios.selinux import AUTORELABEL, CONFIG, DEFAULTS, GRUB_CFG, Machine

#: Kernel arguments under which Debian's kernel runs AppArmor.
WEAK = "enforcing=0 selinux=0"
PERMISSIVE, OFF = {("SEL-002", "host")}, {("SEL-001", "host")}
#: Debian has one type for all guests, and emulated guests need this: it stays on, and is reported.
NEEDED = "boolean virt_use_execmem"
#: A file that is created while SELinux is off, and the label that the policy has for it.
UNLABELLED, LABEL = "/etc/svirt-lab-unlabelled", "etc_t"


def test_enforcing_to_enforcing(machine: Machine) -> None:
    machine.be("enforcing")
    with machine.untouched():
        asked = machine.ask()
    assert not asked.run.changed
    assert (asked.result["plan"], asked.needs, asked.rebooted) == ([], [], False)
    assert {item["subject"] for item in asked.result["refused"]} == {NEEDED}
    assert machine.findings() == set()


def test_enforcing_to_permissive(machine: Machine) -> None:
    machine.be("enforcing")
    assert "would weaken" in machine.refuses("permissive")


@pytest.mark.parametrize("mode", ["enforcing", "permissive"])
def test_to_disabled(machine: Machine, mode: str) -> None:
    machine.be(mode)
    assert "selinux_state" in machine.refuses("disabled")


def test_enforcing_that_the_next_boot_would_lose(machine: Machine) -> None:
    """Permissive is refused for a host that is only configured to enforce, or only enforces until it boots."""
    machine.be("enforcing")
    machine.sh("setenforce 0")
    assert "would weaken" in machine.refuses("permissive")
    machine.sh("setenforce 1")
    machine.configure("permissive")
    assert "would weaken" in machine.refuses("permissive")
    asked = machine.ask()
    assert asked.done == {("edit", CONFIG)}
    assert machine.findings() == set()


def test_permissive_to_permissive(machine: Machine) -> None:
    machine.be("permissive")
    with machine.untouched():
        asked = machine.ask("permissive")
    assert not asked.run.changed
    assert (asked.needs, asked.rebooted) == ([], False)
    assert machine.findings() == PERMISSIVE


def test_permissive_to_enforcing(machine: Machine) -> None:
    """Not before the time of the soak is over, nor with a denial of a guest in the log; then with every guest alive."""
    machine.be("permissive")
    guests = machine.guests()
    machine.sh("load_policy")  # the soak begins
    with machine.untouched():
        asked = machine.ask()
    assert asked.needs == ["operator"]
    assert [item["code"] for item in asked.result["pending"]] == ["soak_running"]

    machine.breach()
    with machine.untouched():
        asked = machine.ask(selinux_soak_seconds=0)
    assert asked.code() == "denials"
    assert "svirt_t {" in asked.why()
    assert "shadow_t:file" in asked.why()
    assert (asked.needs, machine.mode) == ([], "permissive")
    assert machine.run("molecule/transitions/converge.yml", selinux_soak_seconds=0, selinux_strict=True).status != 0

    machine.sh("load_policy")
    asked = machine.ask(selinux_soak_seconds=0)
    assert asked.done == {("set", "mode"), ("edit", CONFIG)}
    assert (machine.mode, machine.configured) == ("enforcing", "enforcing")
    assert machine.guests() == guests
    assert machine.confined()
    assert machine.findings() == set()


def test_disabled_to_disabled(machine: Machine) -> None:
    machine.be("disabled", WEAK)
    assert machine.findings() == OFF
    assert "selinux_state" in machine.refuses("disabled")


def test_disabled_to_permissive_is_foreseen(machine: Machine) -> None:
    """The first step is the same whichever mode is asked for; see the soak's test for the rest of it."""
    machine.be("disabled", WEAK)
    with machine.untouched():
        asked = machine.ask("permissive", check=True)
    assert {("create", AUTORELABEL), ("edit", CONFIG), ("edit", DEFAULTS), ("make", GRUB_CFG)} <= asked.done
    assert (asked.result["after"]["mode"], asked.result["after"]["configured_mode"]) == ("disabled", "permissive")
    assert asked.needs == ["reboot"]


def test_disabled_to_enforcing(machine: Machine) -> None:
    machine.be("disabled", WEAK)
    machine.sh(f"echo made while SELinux was off >{UNLABELLED}")
    boot = machine.boot_id

    foreseen = machine.ask(check=True)
    asked = machine.ask()
    assert asked.result["plan"] == foreseen.result["plan"]
    assert {("create", AUTORELABEL), ("edit", CONFIG), ("edit", DEFAULTS), ("make", GRUB_CFG)} <= asked.done
    assert (asked.needs, asked.rebooted, machine.boot_id) == (["reboot"], False, boot)
    assert machine.configured == "permissive", "never from disabled to enforcing in one step"
    assert machine.findings() == OFF, "prepared is not done"

    faults.inject(machine.name, "qemu-by-hand", lab=machine.lab.folder)
    with machine.untouched():
        asked = machine.ask(selinux_allow_reboot=True)
    assert (asked.run.changed, asked.result["guests_running"], asked.rebooted) == ([], 1, False)
    faults.undo(machine.name, "qemu-by-hand", lab=machine.lab.folder)

    asked = machine.ask(selinux_allow_reboot=True)
    assert asked.rebooted
    assert machine.boot_id != boot
    assert (machine.mode, machine.configured) == ("permissive", "permissive")
    assert LABEL in machine.sh(f"stat -c %C {UNLABELLED}"), "the boot has to have relabelled the files"
    assert machine.sh(f"test -e {AUTORELABEL} || echo gone") == "gone"
    machine.resume()
    assert machine.confined()
    assert machine.findings() == PERMISSIVE

    guests = machine.guests()
    assert machine.ask().needs == ["operator"]
    machine.breach()
    asked = machine.ask(selinux_soak_seconds=0)
    assert asked.code() == "denials"
    assert "svirt_t {" in asked.why()
    machine.sh("load_policy")
    asked = machine.ask(selinux_soak_seconds=0)
    assert {("set", "mode"), ("edit", CONFIG)} == asked.done
    assert machine.guests() == guests
    assert machine.confined()
    assert machine.findings() == set()
    with machine.untouched():
        assert not machine.ask().run.changed


@pytest.mark.soak
def test_enforcing_lasts(machine: Machine) -> None:
    machine.be("enforcing")
    boot = machine.boot_id
    assert machine.reboot() == {}
    assert machine.boot_id != boot
    assert (machine.mode, machine.configured) == ("enforcing", "enforcing")
    assert machine.confined()
    assert machine.findings() == set()


@pytest.mark.soak
def test_disabled_to_permissive(machine: Machine) -> None:
    """By the configuration alone this time; and the host stays permissive until somebody asks for more."""
    machine.be("disabled")
    asked = machine.ask("permissive", selinux_allow_reboot=True)
    assert {("create", AUTORELABEL), ("edit", CONFIG)} <= asked.done
    assert asked.rebooted
    assert (machine.mode, machine.configured) == ("permissive", "permissive")
    machine.resume()
    assert machine.confined()
    assert machine.findings() == PERMISSIVE
    with machine.untouched():
        assert not machine.ask("permissive").run.changed
    asked = machine.ask(selinux_soak_seconds=0)
    assert ("set", "mode") in asked.done, asked.result
    assert machine.findings() == set()
