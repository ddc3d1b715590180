# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role changed is put back from the journal: files byte for byte, mode, modules, booleans, findings."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenarios.selinux import AUTORELABEL, CONFIG, DEFAULTS, GRUB_CFG, JOURNAL, WEAK_MODULE, Machine

FOLDERS = ("/etc", "/boot")


def outcome(machine: Machine) -> dict[str, Any]:
    """All that the role may have changed, without the times of it."""
    seen = machine.everything()
    files = {path: {**seen["files"][path], "ctime": 0} for path in seen["files"] if path.startswith(FOLDERS)}
    return {
        "files": files,
        "selinux": seen["selinux"],
        "more": machine.sh(f"ls {AUTORELABEL} 2>&1; semodule -lfull; semanage boolean -lC -n"),
        "modules": machine.sh("cd /var/lib/selinux/default/active/modules/400 && sha256sum */cil */lang_ext"),
        "policy": machine.sh("sha256sum /etc/selinux/default/policy/policy.*"),
    }


def same(before: dict[str, Any], after: dict[str, Any]) -> None:
    for part, old in before.items():
        new = after[part]
        if isinstance(old, dict):
            changed = {
                key: (old.get(key), new.get(key)) for key in old.keys() | new.keys() if old.get(key) != new.get(key)
            }
            assert not changed, f"{part}: {dict(sorted(changed.items())[:5])}"
        assert old == new, part


@pytest.mark.soak
def test_every_kind_of_change_at_once(machine: Machine) -> None:
    """A permissive host with weak settings everywhere becomes enforcing, and is put back to just that."""
    machine.be("permissive")
    machine.boot_with("enforcing=0 security=apparmor")
    machine.sh(f"semodule -X 400 -r svirt_fleet -i /usr/share/svirt-lab/{WEAK_MODULE}.cil")
    machine.sh("setsebool -P virt_use_nfs on")
    machine.sh(f"rm -rf {JOURNAL}")  # what came before this test is not its to put back
    findings = machine.findings()
    assert findings == {
        ("SEL-002", "host"),
        ("SEL-004", "host"),
        ("SEL-006", "type svirt_t"),
        ("SEL-008", "boolean virt_use_nfs"),
    }
    before, guests = outcome(machine), machine.guests()

    asked = machine.ask()
    assert asked.done == {
        ("set", "boolean virt_use_nfs"),
        ("install", "policy module 400/svirt_fleet"),
        ("remove", f"policy module 400/{WEAK_MODULE}"),
        ("edit", DEFAULTS),
        ("make", GRUB_CFG),
    }
    assert asked.needs == ["operator"], "a policy that was just loaded begins a new soak"
    asked = machine.ask(selinux_soak_seconds=0)
    assert asked.done == {("set", "mode"), ("edit", CONFIG), ("edit", DEFAULTS), ("make", GRUB_CFG)}
    assert machine.findings() == set()

    foreseen = machine.run("svirt.fleet.rollback", check=True).of(machine.name, "svirt_rollback")[0]
    done = machine.run("svirt.fleet.rollback")
    assert done.status == 0, done.output
    result = done.of(machine.name, "svirt_rollback")[0]
    assert result["plan"] == foreseen["plan"]
    assert (result["refused"], result["failed_entries"], result["after"]) == ([], [], [])
    assert {item["from"] for item in result["plan"]} == {"file", "selinux_mode", "policy_module", "boolean"}
    same(before, outcome(machine))
    assert machine.findings() == findings
    assert machine.guests() == guests

    machine.ask()
    machine.ask(selinux_soak_seconds=0)
    assert machine.findings() == set()


@pytest.mark.soak
def test_rollback_as_far_as_disabled(machine: Machine) -> None:
    machine.be("disabled", "selinux=0")
    machine.sh(f"rm -rf {JOURNAL}")
    before = outcome(machine)
    machine.ask(selinux_allow_reboot=True)
    machine.resume()
    machine.ask(selinux_soak_seconds=0)
    assert machine.findings() == set()

    done = machine.run("svirt.fleet.rollback")
    assert done.status == 0, done.output
    assert "reboot" in {item["needs"] for item in done.of(machine.name, "svirt_rollback")[0]["pending"]}
    assert (machine.mode, machine.configured) == ("permissive", "enforcing"), "it was the kernel's arguments alone"
    assert machine.sh(f"ls {AUTORELABEL} 2>/dev/null || :") == ""
    machine.reboot()
    machine.sh(f"rm -f {AUTORELABEL}")  # of Debian's selinux-basics, which makes one when SELinux is off
    assert (machine.mode, machine.findings()) == ("disabled", {("SEL-001", "host")})
    after = outcome(machine)
    for path in (CONFIG, DEFAULTS, GRUB_CFG):
        assert after["files"][path]["sha256"] == before["files"][path]["sha256"]
    same({part: before[part] for part in ("more", "modules")}, after)

    machine.be("permissive")
    machine.ask(selinux_soak_seconds=0)
    assert machine.findings() == set()
