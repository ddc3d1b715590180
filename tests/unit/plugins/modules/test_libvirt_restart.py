# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The module on a machine whose daemon can be restarted."""

from __future__ import annotations

import functools
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._backends import libvirt_restart as work
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.daemon_restart import RestartActor
from ansible_collections.svirt.fleet.plugins.modules import libvirt_restart

from tests.unit.support import hosts
from tests.unit.support.captured import Tree
from tests.unit.support.handed_in import hand_journal, hand_root
from tests.unit.support.module_args import patch_module_args
from tests.unit.support.restarts import Machine, restarted

CONF = "/etc/libvirt/qemu.conf"
Start = t.Callable[[Machine], t.Callable[..., dict[str, t.Any]]]


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: t.Any) -> Start:
    def start(machine: Machine) -> t.Callable[..., dict[str, t.Any]]:
        hand_root(monkeypatch, lambda: machine.root)
        hand_journal(monkeypatch, libvirt_restart, tmp_path / "journal")
        monkeypatch.setattr(work, "Tools", lambda run_command: machine.tools)
        monkeypatch.setattr(work, "RestartActor", functools.partial(RestartActor, pause=0.01))

        def call(**arguments: t.Any) -> dict[str, t.Any]:
            with patch_module_args({"timeout": 5, **arguments}), pytest.raises(SystemExit):
                libvirt_restart.main()
            result = json.loads(capsys.readouterr().out)
            result.pop("invocation", None)
            return t.cast("dict[str, t.Any]", result)

        return call

    return start


def changed(tree: Tree) -> Tree:
    """With a qemu.conf that the daemon has not read."""
    tree.entries[CONF].mtime = 1700002000.0
    return tree


def twins() -> Tree:
    """A second guest with the label of the first."""
    tree = changed(hosts.el9())
    other = hosts.UUID[:-1] + "2"
    hosts.process(tree, 4243, "/usr/libexec/qemu-kvm", hosts.LABEL, uid=hosts.QEMU_UID)
    xml = hosts.status(4243, name="twin").replace(hosts.UUID, other)
    tree.file("/run/libvirt/qemu/twin.xml", xml, mode=0o600)
    tree.libvirt.insert(1, {**hosts.answer()[1], "uuid": other, "name": "twin"})
    return tree


def test_a_restart_that_is_not_needed(on: Start, tmp_path: Path) -> None:
    machine = Machine(tmp_path, [hosts.el9()])
    result = on(machine)(_ansible_diff=True)
    assert (result["changed"], result["needed"], result["gate"], result["plan"]) == (False, [], [], [])
    assert result["before"] == {
        "daemon": "libvirtd",
        "pid": 900,
        "context": "system_u:system_r:virtd_t:s0-s0:c0.c1023",
        "guests": 1,
    }
    assert (result["after"], result["diff"]) == (result["before"], [])
    assert machine.acts == []
    assert not (tmp_path / "journal").exists()


def test_check_mode_predicts_the_run(on: Start, tmp_path: Path) -> None:
    machine = Machine(tmp_path, [changed(hosts.el9()), restarted()])
    run = on(machine)
    result = run(_ansible_check_mode=True, _ansible_diff=True)
    assert machine.acts == []
    done = run(_ansible_diff=True)
    assert machine.acts == ["--no-block restart libvirtd.service"]
    assert (result.pop("after")["pid"], done.pop("after")["pid"]) == (900, 950)
    assert done == result
    assert done["changed"] is True
    assert done["needed"] == [f"{CONF} changed after libvirtd started"]
    assert run()["changed"] is False


def test_check_mode_foresees_what_earlier_tasks_would_bring_about(on: Start, tmp_path: Path) -> None:
    machine = Machine(tmp_path, [hosts.el9()])
    run = on(machine)
    pending = [
        {"subject": "qemu.conf", "needs": "daemon_restart", "why": "libvirtd reads the file when it starts"},
        {"subject": "guest web", "needs": "guest_power_cycle", "why": "not of this module"},
    ]
    result = run(foreseen_pending=pending, foreseen_settings={"user": "qemu"}, _ansible_check_mode=True)
    assert result["needed"] == ["qemu.conf: libvirtd reads the file when it starts"]
    assert [line["action"] for line in result["plan"]] == ["restart"]
    assert run(foreseen_pending=pending[1:], _ansible_check_mode=True)["changed"] is False
    assert run(foreseen_pending=pending)["changed"] is False  # what was done, the module sees for itself
    assert machine.acts == []


def test_the_driver_that_a_restart_would_bring(on: Start, tmp_path: Path) -> None:
    tree = changed(hosts.el9())
    tree.file(CONF, 'security_driver = "selinux"\n', mtime=1700002000.0)
    capabilities = "<capabilities><host><secmodel><model>dac</model><doi>0</doi></secmodel></host></capabilities>"
    tree.libvirt[-1]["capabilities"] = capabilities
    run = on(Machine(tmp_path, [tree]))
    assert run(_ansible_check_mode=True)["selinux_driver"] is True
    tree.entries[CONF].mtime = 1.0
    assert run(_ansible_check_mode=True)["changed"] is True  # it names a driver that the daemon lacks
    tree.file(CONF, 'security_driver = "none"\n', mtime=1.0)
    assert run()["selinux_driver"] is False
    assert on(Machine(tmp_path, [hosts.el9()]))()["selinux_driver"] is True


def test_a_hook_that_would_end_the_guests_is_a_reason_not_to(on: Start, tmp_path: Path) -> None:
    tree = changed(hosts.el9())
    tree.file("/etc/libvirt/hooks/qemu", "#!/bin/sh\nexit 0\n", mode=0o755)
    run = on(Machine(tmp_path, [tree]))
    assert [item["subject"] for item in run()["refused"]] == ["hook /etc/libvirt/hooks/qemu"]
    assert run(foreseen_policy=True, _ansible_check_mode=True)["refused"] == []


def test_a_restart_can_be_asked_for(on: Start, tmp_path: Path) -> None:
    machine = Machine(tmp_path, [hosts.el9(), restarted()])
    result = on(machine)(only_if_needed=False)
    assert (result["changed"], result["needed"]) == (True, [])
    assert len(machine.acts) == 1


def test_a_restart_that_would_kill_a_guest_is_refused(on: Start, tmp_path: Path) -> None:
    machine = Machine(tmp_path, [twins()])
    run = on(machine)
    result = run()
    assert result["changed"] is False
    assert [(item["subject"], item["code"]) for item in result["refused"]] == [("twin, web", "same_range")]
    assert [(item["subject"], item["needs"], item["code"]) for item in result["pending"]] == [
        ("libvirtd.service", "daemon_restart", "file_changed")
    ]
    strict = run(strict=True)
    assert strict["failed"] is True
    assert machine.acts == []


def test_the_gate_is_reported_where_no_restart_is_needed(on: Start, tmp_path: Path) -> None:
    tree = twins()
    tree.entries[CONF].mtime = 1.0
    result = on(Machine(tmp_path, [tree]))(strict=True)
    assert (result["changed"], result["refused"], len(result["gate"])) == (False, [], 1)


def test_a_restart_that_goes_wrong(on: Start, tmp_path: Path) -> None:
    machine = Machine(tmp_path, [changed(hosts.el9())], states=["active", "failed"])
    result = on(machine)(timeout=1)
    assert result["failed"] is True
    assert result["problems"][0].startswith("libvirtd.service failed to start")
    assert (result["restored"], result["problems_after_rollback"]) == ([], [])
    assert not {"after", "selinux_driver"} & result.keys(), "they were foreseen, and did not come"


def test_a_sleeping_daemon_is_left_asleep(on: Start, tmp_path: Path) -> None:
    tree = changed(hosts.el9())
    for path in [path for path in tree.entries if path.startswith(("/proc/900", "/run/libvirt/qemu/autostarted"))]:
        del tree.entries[path]
    machine = Machine(tmp_path, [tree], states=["inactive"])
    result = on(machine)(only_if_needed=False)
    assert (result["changed"], result["plan"], machine.acts) == (False, [], [])
    stale = Machine(tmp_path, [tree], states=["inactive"], stale=True)
    result = on(stale)()
    assert [item["action"] for item in result["plan"]] == ["reload_units"]
    assert stale.acts == ["daemon-reload"]
    assert on(stale)()["changed"] is False


def test_a_timeout_that_is_none(on: Start, tmp_path: Path) -> None:
    assert on(Machine(tmp_path, [hosts.el9()]))(timeout=0)["failed"] is True
