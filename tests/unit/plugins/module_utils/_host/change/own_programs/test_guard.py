# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Real files in a folder, below what the kernel of a captured host says."""

from __future__ import annotations

import os
import stat
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostWriteError, PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import guard as plan
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.guard import (
    SCRIPT,
    GuardOptions,
    GuardStep,
    GuardView,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.own_files import LINK, PROGRAM, SETTINGS
from ansible_collections.svirt.fleet.plugins.module_utils._host.base import file_write
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Journal, entries_of
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import folders_and_links
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.own_programs.guard import Guard

from tests.unit.support import hosts
from tests.unit.support.captured import Tree
from tests.unit.support.hooks import DOMAIN, HostRoot, answer, tree

OPTIONS = GuardOptions("print('guard')\n")


class Commands:
    """Stands for Ansible's run_command."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.calls: list[tuple[list[str], bytes | None]] = []

    def __call__(
        self, command: list[str], data: bytes | None = None, binary_data: bool = False
    ) -> tuple[int, str, str]:
        assert binary_data
        self.calls.append((command, data))
        status = self.statuses.pop(0) if self.statuses else 0
        return status, "", "SyntaxError: oh\n" if status else ""


def guard(tmp_path: Path, files: Tree | None = None, commands: Commands | None = None) -> Guard:
    top = tmp_path / "host"
    (top / "usr/local/lib").mkdir(parents=True, exist_ok=True)
    (top / "usr/sbin").mkdir(parents=True, exist_ok=True)
    (top / "etc/libvirt").mkdir(parents=True, exist_ok=True)
    return Guard(HostRoot(files or tree(), answer), commands or Commands(), str(top))


@pytest.fixture
def journal(tmp_path: Path) -> t.Iterator[Journal]:
    with Journal("guard_hook", str(tmp_path / "journal")) as opened:
        yield opened


def install(found: Guard, journal: Journal, options: GuardOptions = OPTIONS) -> list[GuardStep]:
    steps = plan.install(options, found.look())
    found.install(steps, journal)
    return steps


def everything(top: str) -> dict[str, t.Any]:
    """Every file, link and folder with all that counts."""
    states: dict[str, t.Any] = {}
    for path in sorted(Path(top).rglob("*")):
        facts = path.lstat()
        if path.is_symlink():
            states[str(path)] = os.readlink(path)
        else:
            xattrs = {name: os.getxattr(path, name) for name in os.listxattr(path)}
            states[str(path)] = (facts.st_mode, facts.st_uid, xattrs, path.read_bytes() if path.is_file() else None)
    return states


def test_the_guard_is_put_in_place_and_a_second_run_finds_nothing_to_do(tmp_path: Path, journal: Journal) -> None:
    actor = guard(tmp_path)
    seen = actor.look()
    assert seen.missing_folders == (
        "/usr/local/lib/svirt-fleet",
        "/etc/svirt-fleet",
        "/etc/libvirt/hooks",
        "/etc/libvirt/hooks/qemu.d",
    )
    steps = install(actor, journal)
    after = actor.look()
    assert plan.summary(after) == plan.summary(plan.applied(seen, steps))
    assert plan.install(OPTIONS, after) == []
    assert os.readlink(actor.top + LINK) == PROGRAM
    assert stat.S_IMODE(os.stat(actor.top + PROGRAM).st_mode) == 0o755
    assert os.getxattr(actor.top + PROGRAM, "security.selinux") == b"system_u:object_r:bin_t:s0\0"
    assert os.getxattr(actor.top + SCRIPT, "security.selinux") == b"system_u:object_r:lib_t:s0\0"


def test_the_program_is_tried_before_libvirt_sees_it(tmp_path: Path, journal: Journal) -> None:
    class Looking(Commands):
        def __call__(
            self, command: list[str], data: bytes | None = None, binary_data: bool = False
        ) -> tuple[int, str, str]:
            seen.append((command, os.path.lexists(top + LINK), os.path.exists(top + SCRIPT)))
            return super().__call__(command, data, binary_data)

    seen: list[tuple[list[str], bool, bool]] = []
    top = str(tmp_path / "host")
    install(guard(tmp_path, commands=Looking()), journal)
    assert seen == [([top + PROGRAM, "--self-test"], False, True)]


def test_a_guard_that_does_not_work_is_not_put_in_place(tmp_path: Path, journal: Journal) -> None:
    actor = guard(tmp_path, commands=Commands(1))
    with pytest.raises(HostWriteError, match="SyntaxError: oh") as caught:
        install(actor, journal)
    assert caught.value.code == "self_test_failed"
    assert not os.path.lexists(actor.top + LINK)
    assert not os.path.exists(actor.top + PROGRAM)
    assert not os.path.exists(actor.top + SCRIPT)


def test_an_update_that_does_not_work_leaves_the_guard_as_it_was(tmp_path: Path, journal: Journal) -> None:
    actor = guard(tmp_path, commands=Commands(0, 1))
    install(actor, journal)
    before = everything(actor.top)
    with pytest.raises(HostWriteError):
        install(actor, journal, GuardOptions("print('worse')\n", errors="refuse"))
    assert everything(actor.top) == before


def test_the_script_is_tried_before_anything_is_written(tmp_path: Path) -> None:
    commands = Commands(1)
    actor = guard(tmp_path, commands=commands)
    with pytest.raises(HostWriteError) as caught:
        actor.test(b"print()")
    assert caught.value.code == "self_test_failed"
    assert commands.calls == [([plan.PYTHON, "-ISB", "-", "--self-test"], b"print()")]


def test_taking_it_away_and_putting_back(tmp_path: Path, journal: Journal) -> None:
    actor = guard(tmp_path)
    pristine = everything(actor.top)
    install(actor, journal)
    there = everything(actor.top)
    assert journal.path is not None
    made = entries_of(journal.path)
    actor.remove(plan.remove(actor.look()), journal)
    assert not any(os.path.lexists(actor.top + path) for path in (LINK, PROGRAM, SCRIPT, SETTINGS))
    taken = entries_of(journal.path)[len(made) :]
    for entry in reversed(taken):
        (folders_and_links if entry.kind == folders_and_links.KIND else file_write).restore(entry)
    assert everything(actor.top) == there
    for entry in reversed(made):
        (folders_and_links if entry.kind == folders_and_links.KIND else file_write).restore(entry)
    assert everything(actor.top) == pristine
    for entry in reversed(made):  # a rollback that is done twice
        (folders_and_links if entry.kind == folders_and_links.KIND else file_write).restore(entry)
    assert everything(actor.top) == pristine


def test_a_folder_that_others_use_by_now_stays(tmp_path: Path, journal: Journal) -> None:
    actor = guard(tmp_path)
    install(actor, journal)
    other = Path(actor.top + LINK).parent / "other"
    other.write_text("#!/bin/sh\n")
    assert journal.path is not None
    for entry in reversed(entries_of(journal.path)):
        (folders_and_links if entry.kind == folders_and_links.KIND else file_write).restore(entry)
    assert sorted(path.name for path in other.parent.iterdir()) == ["other"]


def test_a_link_of_another_is_not_replaced_by_a_rollback(tmp_path: Path, journal: Journal) -> None:
    actor = guard(tmp_path)
    install(actor, journal)
    actor.remove(plan.remove(actor.look()), journal)
    os.symlink("/opt/hook", actor.top + LINK)
    assert journal.path is not None
    entry = next(entry for entry in entries_of(journal.path) if entry.before.get("link"))
    with pytest.raises(PlanError) as caught:
        folders_and_links.restore(entry)
    assert caught.value.code == "not_ours"


def test_a_wrong_label_owner_and_mode_are_put_right(tmp_path: Path, journal: Journal) -> None:
    actor = guard(tmp_path)
    install(actor, journal)
    os.setxattr(actor.top + PROGRAM, "security.selinux", b"system_u:object_r:virt_etc_rw_t:s0\0")
    os.chown(actor.top + PROGRAM, 1000, 1000)
    os.chmod(actor.top + PROGRAM, 0o777)  # noqa: S103 - the fault
    assert [step.path for step in install(actor, journal)] == [PROGRAM]
    facts = os.stat(actor.top + PROGRAM)
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (0, 0, 0o755)
    assert os.getxattr(actor.top + PROGRAM, "security.selinux") == b"system_u:object_r:bin_t:s0\0"


def test_a_file_in_the_links_place_is_anothers(tmp_path: Path) -> None:
    actor = guard(tmp_path)
    Path(actor.top + LINK).parent.mkdir(parents=True)
    Path(actor.top + LINK).write_text("#!/bin/sh\n")
    with pytest.raises(PlanError, match="is not the guard's link"):
        plan.install(OPTIONS, actor.look())


def test_a_host_whose_daemon_may_run_the_guard(tmp_path: Path) -> None:
    actor = guard(tmp_path)
    os.setxattr(actor.top + "/etc/libvirt", "security.selinux", b"system_u:object_r:virt_etc_t:s0\0")
    assert actor.objections(actor.look()) == []


def test_a_daemon_that_may_not_is_an_objection(tmp_path: Path) -> None:
    actor = guard(tmp_path, tree(bin_type="shadow_t"))
    os.setxattr(actor.top + "/etc/libvirt", "security.selinux", b"system_u:object_r:user_home_t:s0\0")
    objections = actor.objections(actor.look())
    assert [reason.code for reason in objections] == ["denied"] * 3
    assert [sum(name in reason.text for reason in objections) for name in ("shadow_t", "user_home_t")] == [2, 1]
    permissive = guard(tmp_path, tree(domain="system_u:system_r:virtqemud_t:s0", bin_type="shadow_t"))
    assert permissive.objections(permissive.look()) == []


def test_a_guard_whose_daemon_may_read_guests_has_no_limits(tmp_path: Path) -> None:
    assert guard(tmp_path).view() == GuardView(("svirt_t",), ask=False)


def test_a_daemon_that_may_read_its_own_domain_reads_guests_that_are_not_confined(tmp_path: Path) -> None:
    actor = guard(tmp_path, tree(domain="system_u:system_r:svirt_t:s0"))  # a domain that the policy lets be read
    assert actor.view().readable == ("svirt_t",)
    assert "virtd_t" not in guard(tmp_path).view().readable


def test_types_that_the_daemon_may_not_read_are_judged_by_status_and_named(tmp_path: Path) -> None:
    files = tree()
    files.file("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=targeted\n")
    contexts = "system_u:system_r:svirt_t:s0\nsystem_u:system_r:my_svirt_t:s0\n"
    files.file("/etc/selinux/targeted/contexts/virtual_domain_context", contexts)
    view = guard(tmp_path, files).view()
    assert view.readable == ("svirt_t",)
    assert [limit.code for limit in view.limits] == ["judged_by_status"]
    assert "my_svirt_t" in view.limits[0].text
    assert "svirt_tcg_t" not in view.limits[0].text, "the policy has no such type, so no guest has it"


def test_a_permissive_daemon_would_leave_denials_so_it_reads_nothing(tmp_path: Path) -> None:
    files = tree(domain="system_u:system_r:virtqemud_t:s0")
    files.folder("/proc", "system_u:object_r:proc_t:s0")
    files.file("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=targeted\n")
    contexts = "system_u:system_r:my_svirt_t:s0\n"
    files.file("/etc/selinux/targeted/contexts/virtual_domain_context", contexts)
    assert "my_svirt_t" not in guard(tmp_path, files).view().readable


def test_a_daemon_that_may_ask_the_policy_and_one_that_may_not_log(tmp_path: Path) -> None:
    files = tree()
    files.entries["/sys/fs/selinux/access"].xattrs["security.selinux"] = b"system_u:object_r:proc_t:s0\0"  # all allowed
    files.entries["/run/systemd/journal/dev-log"].xattrs["security.selinux"] = b"system_u:object_r:shadow_t:s0\0"
    view = guard(tmp_path, files).view()
    assert view.ask is True
    assert [limit.code for limit in view.limits] == ["not_logged"]


def test_a_daemon_that_may_not_read_status_files_gets_no_guard(tmp_path: Path) -> None:
    files = tree()
    files.folder("/run/libvirt/qemu", "system_u:object_r:shadow_t:s0")
    actor = guard(tmp_path, files)
    assert len(actor.objections(actor.look())) == 2


def test_without_selinux_nothing_is_known_of_what_the_guard_may_see(tmp_path: Path) -> None:
    assert guard(tmp_path, hosts.apparmor()).view() == GuardView()


def test_a_daemon_that_sleeps_is_judged_by_the_label_that_it_would_get(tmp_path: Path) -> None:
    actor = guard(tmp_path, tree(started_at=None, bin_type="shadow_t"))
    first = actor.objections(actor.look())[0]
    assert first.code == "denied"
    assert DOMAIN in first.text
    files = tree(started_at=None)
    del files.entries["/usr/sbin/libvirtd"]
    assert guard(tmp_path, files).objections(actor.look()) == [
        Reason(
            "daemon_domain_unknown",
            "the domain of libvirt's daemon is not known: it does not run, and no program of it was found",
        )
    ]


def test_without_selinux_there_are_no_objections_and_no_labels(tmp_path: Path, journal: Journal) -> None:
    actor = guard(tmp_path, hosts.apparmor())
    assert actor.objections(actor.look()) == []
    refusal = actor.refusal()
    assert refusal is not None
    assert refusal.code == "selinux_off"
    assert guard(tmp_path).refusal() is None
    install(actor, journal)
    assert "security.selinux" not in os.listxattr(actor.top + PROGRAM)


def test_when_the_daemon_calls_the_guard(tmp_path: Path, journal: Journal) -> None:
    actor = guard(tmp_path)
    install(actor, journal)
    why = Reason("daemon_restart", "libvirtd looks for hooks when it starts, and it started before the guard was there")
    assert actor.pending(now=True) == why
    assert actor.pending(now=False) == why
    later = guard(tmp_path, tree(started_at=time.time() + 60))
    assert later.pending(now=False) is None
    assert later.pending(now=True) == why  # whatever the clock says
    asleep = guard(tmp_path, tree(started_at=None))
    assert asleep.pending(now=True) is None


def test_a_daemon_that_started_with_another_hook_looks_anew_each_time(tmp_path: Path, journal: Journal) -> None:
    actor = guard(tmp_path, tree(started_at=time.time() + 60))
    install(actor, journal)
    other = Path(actor.top + LINK).parent / "other"
    other.write_text("#!/bin/sh\n")
    assert actor.pending(now=True) is not None  # it cannot be executed
    other.chmod(0o755)
    assert actor.pending(now=True) is None
    other.unlink()
    main = Path(actor.top + LINK).parent.parent / "qemu"
    main.write_text("#!/bin/sh\n")
    main.chmod(0o755)
    assert actor.pending(now=True) is None
    assert guard(tmp_path).pending(now=True) is not None  # the hook is younger than the daemon
