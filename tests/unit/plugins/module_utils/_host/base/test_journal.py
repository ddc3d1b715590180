# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: nothing is lost that was written down, and one run at a time works on a host."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import JournalError
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import (
    UNDONE,
    Entry,
    Journal,
    entries_of,
    runs_in,
)

from tests.unit.support.errors import raised

FIRST = Entry("file", "/etc/a", {"content": None})
SECOND = Entry("label", "/srv/b \udcff\n", {"label": "system_u:object_r:virt_image_t:s0", "link": 1})


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "journal")


def test_entries_come_back_in_their_order(folder: str) -> None:
    with Journal("image_label", folder) as journal:
        assert journal.runs() == []
        journal.record([])
        assert journal.path is None
        journal.record([FIRST, SECOND])
        journal.record(entry for entry in [FIRST])
        assert journal.runs() == [journal.path] == [f"{folder}/000001-image_label.jsonl"]
    assert entries_of(runs_in(folder)[0]) == [FIRST, SECOND, FIRST]


def test_what_it_holds_is_for_root_only(folder: str) -> None:
    with Journal("image_label", folder) as journal:
        journal.record([FIRST])
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert os.stat(runs_in(folder)[0]).st_mode & 0o777 == 0o600


def test_runs_are_numbered_and_retired(folder: str) -> None:
    for _run in range(3):
        with Journal("guest_seclabel", folder) as journal:
            journal.record([FIRST])
    Path(folder, "notes.txt").write_text("not a run")
    with Journal("svirt_rollback", folder) as journal:
        names = [os.path.basename(path) for path in journal.runs()]
        assert names == [f"00000{number}-guest_seclabel.jsonl" for number in (1, 2, 3)]
        journal.retire(journal.runs()[1])
        journal.record([SECOND])
        assert [os.path.basename(path)[:6] for path in journal.runs()] == ["000001", "000003", "000004"]
    (aside,) = Path(folder, UNDONE).iterdir()
    assert aside.name.endswith("-000002-guest_seclabel.jsonl")
    assert entries_of(str(aside)) == [FIRST]


def test_a_run_that_cannot_be_retired_is_told(folder: str) -> None:
    with Journal("svirt_rollback", folder) as journal, raised("journal_not_retired", "000009-file.jsonl"):
        journal.retire(f"{folder}/000009-file.jsonl")


def test_no_journal_has_no_runs(folder: str) -> None:
    assert runs_in(folder) == []
    assert not os.path.exists(folder)


def test_a_line_that_was_cut_off_is_passed_over(folder: str) -> None:
    with Journal("image_label", folder) as journal:
        journal.record([FIRST, SECOND])
    (path,) = runs_in(folder)
    whole = Path(path).read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(len(whole) + 1):
        Path(path).write_bytes(whole[:end])
        assert entries_of(path) == ([FIRST, SECOND] if end == len(whole) else [FIRST] if end >= first else [])


@pytest.mark.parametrize("line", ["{}", "[1]", "null", "x", '{"kind":"a","subject":"b","before":{},"more":1}'])
def test_a_line_that_is_no_entry_is_an_error(folder: str, line: str) -> None:
    os.makedirs(folder)
    path = Path(folder, "000001-x.jsonl")
    path.write_text(f"{json.dumps({'kind': 'a', 'subject': 'b', 'before': {}})}\n{line}\n")
    with raised("journal_malformed", path, "line 2"):
        entries_of(str(path))


def test_a_file_that_cannot_be_read(folder: str) -> None:
    with raised("journal_unreadable", "000001-x.jsonl"):
        entries_of(f"{folder}/000001-x.jsonl")


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file is in the way")
    with raised("journal_unusable"):
        Journal("x", str(tmp_path / "state" / "journal"))
    with raised("journal_unreadable"):
        runs_in(str(tmp_path / "state" / "journal"))


@pytest.mark.usefixtures("no_hang")
def test_one_run_at_a_time(folder: str) -> None:
    with Journal("x", folder), raised("journal_locked", "0.3 s", f"{folder}/lock"):
        Journal("y", folder, wait=0.3)
    Journal("y", folder, wait=0).close()


def test_the_next_run_waits_for_the_lock(folder: str) -> None:
    first = Journal("x", folder)
    threading.Timer(0.3, first.close).start()
    with Journal("y", folder, wait=10) as second:
        second.record([FIRST])
    first.close()  # again, which does nothing


def test_a_run_that_records_changes_is_waited_for(folder: str) -> None:
    first = Journal("x", folder)
    for delay in (0.5, 1.0, 1.5, 2.0):
        threading.Timer(delay, first.record, [[FIRST]]).start()
    threading.Timer(2.5, first.close).start()
    with Journal("y", folder, wait=1.8) as second:
        second.record([SECOND])
    assert len(entries_of(runs_in(folder)[0])) == 4


def test_whoever_dies_lets_go_of_the_lock(folder: str) -> None:
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        Journal("x", folder).record([FIRST])
        os.write(told, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    os.close(told)
    with pytest.raises(JournalError):
        Journal("y", folder, wait=0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with Journal("y", folder, wait=5) as journal:
        assert [entries_of(path) for path in journal.runs()] == [[FIRST]]


def in_a_child(work: t.Callable[[], None]) -> int:
    """Do the work in a child; its exit status, 1 when it raised."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_record_that_does_not_fit_leaves_no_half_line(folder: str) -> None:
    def work() -> None:
        journal = Journal("x", folder)
        journal.record([FIRST])
        assert journal.path is not None
        size = os.stat(journal.path).st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
        with raised("journal_not_written", os.strerror(errno.EFBIG)):
            journal.record([SECOND])
        assert os.stat(journal.path).st_size == size
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        journal.record([SECOND])

    assert in_a_child(work) == 0
    assert entries_of(runs_in(folder)[0]) == [FIRST, SECOND]


def test_a_first_record_that_does_not_fit_leaves_no_run(folder: str) -> None:
    def work() -> None:
        journal = Journal("x", folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        for _attempt in range(2):
            with raised("journal_not_written", os.strerror(errno.EFBIG)):
                journal.record([FIRST])
            assert os.listdir(folder) == ["lock"]
            assert journal.path is None
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        journal.record([SECOND])
        journal.close()

    assert in_a_child(work) == 0
    assert [entries_of(path) for path in runs_in(folder)] == [[SECOND]]


def test_words(folder: str, tmp_path: Path) -> None:
    """The one test of wording: all other tests assert codes."""
    os.makedirs(folder)
    Path(folder, "000001-x.jsonl").write_text("{}\n")
    blocked = tmp_path / "file"
    blocked.write_text("")
    words = {}
    with Journal("x", folder) as journal:
        for fail in (
            lambda: Journal("y", folder, wait=0),
            lambda: Journal("y", f"{blocked}/journal"),
            lambda: runs_in(f"{blocked}/journal"),
            lambda: entries_of(f"{folder}/000001-x.jsonl"),
            lambda: journal.retire(f"{folder}/000009-x.jsonl"),
        ):
            with pytest.raises(JournalError) as error:
                fail()
            words[error.value.code] = str(error.value).replace(str(blocked), "FILE").replace(folder, "FOLDER")
    assert words == {
        "journal_locked": (
            "another run has been changing this host and has recorded nothing for 0 s; it holds FOLDER/lock"
        ),
        "journal_unusable": "the journal FILE/journal cannot be opened: FILE/journal: Not a directory",
        "journal_unreadable": "the journal FILE/journal cannot be read: FILE/journal: Not a directory",
        "journal_malformed": (
            "FOLDER/000001-x.jsonl, line 1, is no entry of the journal: it must have the keys kind, subject, before"
        ),
        "journal_not_retired": (
            "FOLDER/000009-x.jsonl was put back and cannot be put aside: FOLDER/000009-x.jsonl: "
            "No such file or directory"
        ),
    }
