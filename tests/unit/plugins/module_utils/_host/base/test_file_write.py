# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that change whole or not at all: killed at every step, on full and on read-only storage."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import random
import signal
import stat
import sys
import time
import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostWriteError, JournalError
from ansible_collections.svirt.fleet.plugins.module_utils._host.base import file_write
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.file_write import FileState, change_file, state_of
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Entry, Journal, entries_of, runs_in

from tests.unit.support.errors import raised

OLD, NEW = b"old\n" * 3000, b"new\n" * 5000
LABEL = "system_u:object_r:virt_etc_t:s0"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do this")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """The journal's."""
    return str(tmp_path / "journal")


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A file of configuration."""
    path = tmp_path / "etc" / "qemu.conf"
    path.parent.mkdir()
    path.write_bytes(OLD)
    path.chmod(0o640)
    return path


def undo(folder: str) -> None:
    for run in reversed(runs_in(folder)):
        for entry in reversed(entries_of(run)):
            file_write.restore(entry)


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def test_a_file_changes_and_is_put_back(conf: Path, folder: str) -> None:
    before = state_of(str(conf))
    with Journal("x", folder) as journal:
        assert change_file(str(conf), NEW, journal) == before
    assert conf.read_bytes() == NEW
    assert stat.S_IMODE(conf.stat().st_mode) == 0o640
    assert names(conf.parent) == ["qemu.conf"]
    undo(folder)
    assert state_of(str(conf)) == before


def test_a_new_file_and_a_removed_one(conf: Path, folder: str) -> None:
    new = conf.with_name("new.conf")
    with Journal("x", folder) as journal:
        assert change_file(str(new), NEW, journal, mode=0o600) == FileState(None)
        change_file(str(conf), None, journal)
        change_file(str(conf.with_name("none")), None, journal)
    assert names(conf.parent) == ["new.conf"]
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    undo(folder)
    assert names(conf.parent) == ["qemu.conf"]
    assert conf.read_bytes() == OLD


def test_a_link_stays_a_link(conf: Path, folder: str, tmp_path: Path) -> None:
    link = tmp_path / "qemu.conf"
    link.symlink_to("etc/qemu.conf")
    with Journal("x", folder) as journal:
        change_file(str(link), NEW, journal)
    assert os.readlink(link) == "etc/qemu.conf"
    assert conf.read_bytes() == NEW
    undo(folder)
    assert conf.read_bytes() == OLD


def test_extended_attributes_stay(conf: Path, folder: str) -> None:
    os.setxattr(conf, "user.origin", b"lab\0\xff")
    before = state_of(str(conf))
    with Journal("x", folder) as journal:
        change_file(str(conf), NEW, journal, mode=0o600)
        assert os.getxattr(conf, "user.origin") == b"lab\0\xff"
        change_file(str(conf), None, journal)
    undo(folder)
    assert state_of(str(conf)) == before


@as_root
def test_owner_and_label_stay(conf: Path, folder: str) -> None:
    os.chown(conf, 107, 36)
    os.setxattr(conf, file_write.LABEL, LABEL.encode() + b"\0")
    new = conf.with_name("new.conf")
    with Journal("x", folder) as journal:
        change_file(str(conf), NEW, journal, label="system_u:object_r:etc_t:s0")
        change_file(str(new), NEW, journal, label=LABEL)
    facts = conf.stat()
    assert (facts.st_uid, facts.st_gid) == (107, 36)
    assert os.getxattr(conf, file_write.LABEL) == LABEL.encode() + b"\0"
    assert os.getxattr(new, file_write.LABEL) == LABEL.encode() + b"\0"


def test_what_is_no_plain_file_is_left_alone(tmp_path: Path, folder: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", file_write.MAX_FILE + 1)
    with Journal("x", folder) as journal:
        for name in (".", "fifo", "large"):
            with raised(file_write.NOT_PLAIN, tmp_path / name):
                change_file(str(tmp_path / name), NEW, journal)
        for name in ("loop", "none/file"):
            with pytest.raises(HostWriteError):
                change_file(str(tmp_path / name), NEW, journal)
    assert not (tmp_path / "none").exists()


def test_nothing_changes_without_a_journal(conf: Path, folder: str) -> None:
    with Journal("x", folder) as journal:
        Path(folder, "lock").unlink()
        os.rmdir(folder)
        with pytest.raises(JournalError):
            change_file(str(conf), NEW, journal)
    assert conf.read_bytes() == OLD


# ------------------------------------------------------------------------------------------------- killed in the middle


def killed_at(step: int, work: t.Callable[[], object]) -> bool:
    """Do the work in a child that kills itself at this step; whether it got there. Each call into C is two steps."""
    child = os.fork()
    if child == 0:
        left = step

        def count(_frame: types.FrameType, event: str, _argument: object) -> None:
            nonlocal left
            left -= event in ("c_call", "c_return")
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        try:
            work()
        finally:
            sys.setprofile(None)
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("there", [True, False])
def test_killed_at_every_step_the_file_is_old_or_new_and_can_be_put_back(conf: Path, folder: str, there: bool) -> None:
    if not there:
        conf.unlink()
    before = state_of(str(conf))

    def work() -> None:
        with Journal("x", folder) as journal:
            change_file(str(conf), NEW, journal, mode=0o640)

    seen = set()
    step = 1
    while killed_at(step, work):
        after = state_of(str(conf))
        seen.add(after.content)
        assert after in (before, FileState(NEW, 0o640, os.geteuid(), os.getegid()))
        assert set(names(conf.parent)) <= {"qemu.conf", ".qemu.conf.svirt-fleet-new"}
        with Journal("y", folder, wait=5) as journal:  # the lock is free
            runs = journal.runs()
            undo(folder)
            assert state_of(str(conf)) == before
            for run in runs:
                journal.retire(run)
        step += 1
    assert seen == {before.content, NEW}
    assert step > 50
    assert conf.read_bytes() == NEW
    assert names(conf.parent) == ["qemu.conf"]


def test_killed_at_any_time_the_file_is_one_of_those_written(conf: Path, folder: str) -> None:
    chance = random.Random(3)  # noqa: S311 - no secret
    contents = {bytes([number]) * 20000 for number in range(97, 123)}
    for _kill in range(15):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException), Journal("x", folder) as journal:
                while True:
                    for content in sorted(contents):
                        change_file(str(conf), content, journal)
            os._exit(1)
        time.sleep(chance.random() * 0.06)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert conf.read_bytes() in contents | {OLD}
    undo(folder)
    assert conf.read_bytes() == OLD


# ------------------------------------------------------------------------------------------- storage that does not take


class Mount:
    """A small file system of its own."""

    _READ_ONLY, _REMOUNT = 1, 32

    def __init__(self, path: Path) -> None:
        self.path = path
        self._libc = ctypes.CDLL(None, use_errno=True)
        path.mkdir()
        if self._mount(0) != 0:
            pytest.skip(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")

    def _mount(self, flags: int) -> int:
        return int(self._libc.mount(b"none", bytes(self.path), b"tmpfs", flags, b"size=128k"))

    def read_only(self, on: bool = True) -> None:
        assert self._mount(self._REMOUNT | (self._READ_ONLY if on else 0)) == 0

    def fill(self) -> None:
        with contextlib.suppress(OSError), (self.path / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    def close(self) -> None:
        self._libc.umount2(bytes(self.path), 2)


@pytest.fixture
def small(tmp_path: Path) -> t.Iterator[Mount]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    mount = Mount(tmp_path / "small")
    yield mount
    mount.close()


def test_a_full_disk(small: Mount, folder: str) -> None:
    conf = small.path / "qemu.conf"
    conf.write_bytes(OLD)
    small.fill()
    with Journal("x", folder) as journal:
        with raised("not_writable", os.strerror(errno.ENOSPC)):
            change_file(str(conf), NEW, journal)
        assert conf.read_bytes() == OLD
        assert names(small.path) == ["filler", "qemu.conf"]
        (small.path / "filler").unlink()
        change_file(str(conf), NEW, journal)
    assert conf.read_bytes() == NEW


def test_a_full_disk_under_the_journal(small: Mount, conf: Path) -> None:
    with Journal("x", str(small.path / "journal")) as journal:
        journal.record([Entry("label", "a", {})])
        small.fill()
        with raised("journal_not_written", os.strerror(errno.ENOSPC)):
            change_file(str(conf), NEW, journal)
        assert conf.read_bytes() == OLD
        (small.path / "filler").unlink()
        change_file(str(conf), NEW, journal)
    (run,) = runs_in(str(small.path / "journal"))
    assert [entry.kind for entry in entries_of(run)] == ["label", "file"]


def test_a_read_only_folder(small: Mount, folder: str) -> None:
    conf = small.path / "qemu.conf"
    conf.write_bytes(OLD)
    small.read_only()
    with Journal("x", folder) as journal:
        for content in (NEW, None):
            with raised("not_writable", os.strerror(errno.EROFS)):
                change_file(str(conf), content, journal)
    assert conf.read_bytes() == OLD
    # The journal now has a change that never happened: restoring it changes nothing.
    small.read_only(on=False)
    undo(folder)
    assert conf.read_bytes() == OLD
    assert names(small.path) == ["qemu.conf"]
