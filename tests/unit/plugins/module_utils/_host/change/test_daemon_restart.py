# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restart of the daemon, on hosts of which each state after a restart is a tree of its own."""

from __future__ import annotations

import os
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import daemon_restart as gate
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.file_write import change_file
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Entry, Journal
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import daemon_restart
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.daemon_restart import RestartActor
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.daemon import started_at

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.errors import raised
from tests.unit.support.restarts import PID_FILE, Machine, restarted

CONF = "/etc/libvirt/qemu.conf"
DROP_INS = "/etc/systemd/system/libvirtd.service.d"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "qemu.conf"
    path.write_text("# as it was\n")
    return path


@pytest.fixture
def journal(tmp_path: Path) -> t.Iterator[Journal]:
    with Journal("libvirt_restart", str(tmp_path / "journal")) as made:
        yield made


def codes(reasons: t.Iterable[Reason]) -> list[str]:
    return [reason.code for reason in reasons]


def actor(machine: Machine, conf: Path | str = CONF, timeout: float = 5.0) -> RestartActor:
    return RestartActor(machine.root, machine.tools, timeout, conf=str(conf), pause=0.01)


def test_a_look(tmp_path: Path) -> None:
    tree = hosts.el9()
    tree.file(f"{DROP_INS}/range.conf", "[Service]\n", mtime=1700002000.0)
    tree.file(f"{DROP_INS}/notes.txt", mtime=1700003000.0)
    job = (
        hosts.status()
        .replace("<domstatus ", "<domstatus ", 1)
        .replace("<taint", "<job type='none' async='save'/><taint", 1)
    )
    tree.file("/run/libvirt/qemu/web.xml", job, mode=0o600)
    machine = Machine(tmp_path, [tree])
    look = actor(machine).look()
    assert look.unit == gate.DaemonUnit("libvirtd.service", "active", 900, "process")
    assert look.started_at == 1700000900.0
    assert look.files == {CONF: 1699990000.0, DROP_INS: 0.0, f"{DROP_INS}/range.conf": 1700002000.0}
    assert look.jobs == {hosts.UUID: "save"}
    assert look.snapshot.coverage["storage"].codes == ["not_asked_for"]
    assert codes(gate.reasons(look)) == ["file_changed"]
    assert [entry.subject for entry in gate.refusals(look)] == ["guest web"]


def test_a_restart_that_goes_well(tmp_path: Path, journal: Journal) -> None:
    machine = Machine(tmp_path, [hosts.el9(), restarted()])
    restart_actor = actor(machine)
    before = restart_actor.look()
    assert gate.refusals(before) == []
    outcome = restart_actor.restart(before, journal)
    assert outcome.problems == []
    assert outcome.restored == []
    assert machine.acts == ["--no-block restart libvirtd.service"]
    daemon = restart_actor.look().libvirt.daemon
    assert daemon is not None
    assert daemon.pid == 950


def test_units_that_changed_are_read_first(tmp_path: Path, journal: Journal) -> None:
    machine = Machine(tmp_path, [hosts.el9(), restarted()], stale=True)
    restart_actor = actor(machine)
    assert restart_actor.restart(restart_actor.look(), journal).problems == []
    assert machine.acts == ["daemon-reload", "--no-block restart libvirtd.service"]


def test_a_unit_that_would_end_guests_once_it_is_read(tmp_path: Path, journal: Journal) -> None:
    machine = Machine(tmp_path, [hosts.el9(), restarted()], stale=True, kill_mode_when_read="control-group")
    restart_actor = actor(machine)
    assert codes(restart_actor.restart(restart_actor.look(), journal).problems) == ["kill_mode"]
    assert machine.acts == ["daemon-reload"]


def test_a_daemon_that_fails_gets_its_file_back(tmp_path: Path, conf: Path, journal: Journal) -> None:
    before = conf.read_bytes()
    with_conf(tmp_path, conf, journal)
    dead = hosts.el9()
    del dead.entries["/proc/900/exe"]
    dead.libvirt.clear()
    machine = Machine(tmp_path, [hosts.el9(), dead, restarted()], states=["active", "failed", "active"])
    restart_actor = actor(machine, conf, timeout=1)
    outcome = restart_actor.restart(restart_actor.look(), journal)
    assert codes(outcome.problems)[:2] == ["unit_failed", "guests_unread"]
    assert "libvirtd.service" in outcome.problems[0].text
    assert (outcome.restored, outcome.kept, outcome.again) == ([str(conf)], [], [])
    assert conf.read_bytes() == before
    assert journal.runs() == []
    assert machine.acts == [
        "--no-block restart libvirtd.service",
        "daemon-reload",
        "reset-failed libvirtd.service",
        "--no-block restart libvirtd.service",
    ]


def starting(pid: int) -> Tree:
    """The daemon is there, and does not answer yet."""
    tree = restarted(pid)
    tree.libvirt.clear()
    return tree


def test_a_daemon_that_comes_back_by_itself_is_not_stopped_while_it_starts(
    tmp_path: Path, conf: Path, journal: Journal
) -> None:
    with_conf(tmp_path, conf, journal)
    machine = Machine(tmp_path, [hosts.el9(), starting(950), restarted(960)])
    machine.comes_back_by_itself = True
    restart_actor = actor(machine, conf, timeout=1)
    outcome = restart_actor.restart(restart_actor.look(), journal)
    assert outcome.problems
    assert (outcome.restored, outcome.again) == ([str(conf)], [])
    assert machine.acts == ["--no-block restart libvirtd.service", "daemon-reload"]


def test_a_daemon_that_ends_again_and_again_is_given_up_before_its_time_is_up(
    tmp_path: Path, conf: Path, journal: Journal
) -> None:
    with_conf(tmp_path, conf, journal)
    ending = [starting(pid) for pid in (950, 951, 952)]
    for tree, pid in zip(ending, ("950", "951", "952")):
        tree.file("/run/libvirt/qemu/driver.pid", "900")
        tree.file(PID_FILE, pid)
    machine = Machine(tmp_path, [hosts.el9(), *ending, restarted(960)])
    machine.falls, machine.comes_back_by_itself = 2, True
    restart_actor = actor(machine, conf, timeout=60)
    outcome = restart_actor.restart(restart_actor.look(), journal)
    assert machine.looks < 40, "with a pause of 10 ms there would be thousands until its time is up"
    assert outcome.problems
    assert (outcome.restored, outcome.again) == ([str(conf)], [])


def test_a_daemon_that_starts_for_ever_is_restarted_all_the_same(tmp_path: Path, conf: Path, journal: Journal) -> None:
    with_conf(tmp_path, conf, journal)
    machine = Machine(tmp_path, [hosts.el9(), starting(950), restarted(960)])
    restart_actor = actor(machine, conf, timeout=0.5)
    outcome = restart_actor.restart(restart_actor.look(), journal)
    assert (outcome.restored, outcome.again) == ([str(conf)], [])
    assert machine.acts.count("--no-block restart libvirtd.service") == 2


def test_a_unit_that_systemd_is_about_to_start_again_has_not_failed_for_good() -> None:
    text = "Id=libvirtd.service\nLoadState=loaded\nActiveState=failed\nSubState={}\nMainPID=0\nKillMode=process\n"
    states = {sub: daemon_restart.units(text.format(sub))[0].state for sub in ("failed", "failed-before-auto-restart")}
    assert states == {"failed": "failed", "failed-before-auto-restart": "activating"}


def test_old_files_are_read_even_when_systemd_was_too_slow_to_reload(
    tmp_path: Path, conf: Path, journal: Journal
) -> None:
    with_conf(tmp_path, conf, journal)
    dead = hosts.el9()
    del dead.entries["/proc/900/exe"]
    dead.libvirt.clear()
    machine = Machine(tmp_path, [hosts.el9(), dead, restarted()], states=["active", "failed", "active"])
    machine.deaf_to = "daemon-reload"
    restart_actor = actor(machine, conf, timeout=1)
    outcome = restart_actor.restart(restart_actor.look(), journal)
    assert (outcome.restored, outcome.again) == ([str(conf)], [])
    assert machine.acts.count("--no-block restart libvirtd.service") == 2


@pytest.mark.usefixtures("no_hang")
def test_a_daemon_that_never_comes_back(tmp_path: Path, conf: Path, journal: Journal) -> None:
    with_conf(tmp_path, conf, journal)
    machine = Machine(tmp_path, [hosts.el9()], states=["active", "activating"])
    restart_actor = actor(machine, conf, timeout=0.3)
    outcome = restart_actor.restart(restart_actor.look(), journal)
    assert codes(outcome.problems) == ["unit_too_slow"]
    assert outcome.again == outcome.problems


def without_the_guest(pid: int) -> Tree:
    tree = restarted(pid)
    for path in [path for path in tree.entries if path.startswith((f"/proc/{hosts.PID}", "/run/libvirt/qemu/web"))]:
        del tree.entries[path]
    tree.libvirt = hosts.answer(active=False, state="shutoff")
    return tree


def test_a_guest_that_was_lost(tmp_path: Path, conf: Path, journal: Journal) -> None:
    with_conf(tmp_path, conf, journal)
    machine = Machine(tmp_path, [hosts.el9(), without_the_guest(950), without_the_guest(960)])
    restart_actor = actor(machine, conf)
    outcome = restart_actor.restart(restart_actor.look(), journal)
    assert codes(outcome.problems) == ["guest_gone"]
    assert outcome.restored == [str(conf)]
    assert outcome.again == outcome.problems


def test_without_changes_in_the_journal_nothing_is_put_back(tmp_path: Path, conf: Path, journal: Journal) -> None:
    machine = Machine(tmp_path, [hosts.el9()], states=["active", "failed"])
    restart_actor = actor(machine, conf, timeout=0.2)
    outcome = restart_actor.restart(restart_actor.look(), journal)
    assert outcome.problems
    assert (outcome.restored, outcome.again) == ([], [])
    assert machine.acts == ["--no-block restart libvirtd.service"]


def with_conf(tmp_path: Path, conf: Path, journal: Journal) -> None:
    """A change of qemu.conf by a run of its own. The lock is the test's journal's already."""
    other = Journal("libvirt_security", str(tmp_path / "other"))
    with other:
        change_file(str(conf), b"# as it is now\n", other)
    assert other.path is not None
    os.rename(other.path, os.path.join(journal.folder, f"0001{len(journal.runs()):02}-libvirt_security.jsonl"))


def test_only_what_is_the_daemons_and_new_is_put_back(tmp_path: Path, conf: Path, journal: Journal) -> None:
    with_conf(tmp_path, conf, journal)
    old = journal.runs()[0]
    os.utime(old, (1, 1))  # from before the daemon's start
    text = conf.read_text()
    with_conf(tmp_path, conf, journal)
    new = journal.runs()[1]
    with open(new, "ab") as file:
        file.write(b'{"kind":"label","subject":"/srv/a","before":{}}\n')
    machine = Machine(tmp_path, [hosts.el9()], states=["active", "failed"])
    restart_actor = actor(machine, conf, timeout=0.2)
    outcome = restart_actor.restart(restart_actor.look(), journal)
    assert outcome.restored == [str(conf)]
    assert conf.read_text() == text
    assert journal.runs() == [old, new]  # there is more to put back


def test_a_run_that_cannot_be_read_is_reported(tmp_path: Path, conf: Path, journal: Journal) -> None:
    with_conf(tmp_path, conf, journal)
    Path(journal.runs()[0]).write_text("nonsense\n")
    machine = Machine(tmp_path, [hosts.el9()], states=["active", "failed"])
    restart_actor = actor(machine, conf, timeout=0.2)
    outcome = restart_actor.restart(restart_actor.look(), journal)
    assert outcome.restored == []
    assert "line 1" in outcome.kept[0]


def test_ours_are_the_conf_and_the_drop_ins(tmp_path: Path) -> None:
    restart_actor = actor(Machine(tmp_path, [hosts.el9()]))
    ours = {
        "/etc/libvirt/qemu.conf": True,
        f"{DROP_INS}/range.conf": True,
        "/etc/systemd/system/virtqemud.service.d/x.conf": True,
        "/etc/systemd/system/libvirtd.service": False,
        "/etc/default/grub": False,
    }
    assert {path: restart_actor._is_ours(Entry("file", path, {})) for path in ours} == ours
    assert not restart_actor._is_ours(Entry("label", CONF, {}))


def test_systemctl_that_fails_or_is_not_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [hosts.el9()])
    with raised("command_failed", "systemctl no-such-word", "Unknown command verb"):
        actor(machine)._systemctl("no-such-word")
    machine.tools.run_command = None
    with raised("program_missing", "systemctl"):
        actor(machine).reload()
    assert actor(machine).look().units == []


def test_units_from_systemd() -> None:
    text = (
        "Id=libvirtd.service\nMainPID=0\nLoadState=loaded\nActiveState=inactive\nKillMode=process\n"
        "RequiredBy=a.service libvirt-guests.service\nNeedDaemonReload=no\n\n"
        "Id=virtqemud.service\nMainPID=0\nLoadState=not-found\nActiveState=inactive\nKillMode=control-group\n"
    )
    (unit,) = daemon_restart.units(text)
    assert unit == gate.DaemonUnit(
        "libvirtd.service", "inactive", None, "process", followers=("a.service", "libvirt-guests.service")
    )
    assert daemon_restart.units("") == []


def test_the_start_is_known_to_a_hundredth_of_a_second() -> None:
    tree: Tree = hosts.el9()
    tree.file("/proc/uptime", "1000.25 5.0\n")
    daemon = hosts.look(tree).libvirt.daemon
    assert daemon is not None
    result = started_at(CapturedRoot(tree), daemon)  # 900 s after the boot
    assert result is not None
    assert abs(result - (time.time() - 100.25)) < 0.5


def test_a_drop_in_goes_with_its_folder(
    tmp_path: Path, conf: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_restart, "SYSTEMD", str(tmp_path))
    folder = tmp_path / "libvirtd.service.d"
    with Journal("category_range", str(tmp_path / "other")) as other:
        other.record([Entry("path", str(folder), {"link": None})])
        folder.mkdir()
        change_file(str(folder / "60-svirt-fleet.conf"), b"[Service]\n", other)
    assert other.path is not None
    os.rename(other.path, os.path.join(journal.folder, "000100-category_range.jsonl"))
    machine = Machine(tmp_path, [hosts.el9()], states=["active", "failed"])
    restart_actor = actor(machine, conf, timeout=0.2)
    outcome = restart_actor.restart(restart_actor.look(), journal)
    assert outcome.restored == [str(folder / "60-svirt-fleet.conf"), str(folder)]
    assert not folder.exists()
    assert journal.runs() == []
