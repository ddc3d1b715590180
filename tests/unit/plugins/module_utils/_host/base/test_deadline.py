# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostReadError
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._host.base import deadline
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.deadline import Job, alive

from tests.unit.support.hang import WAITING

pytestmark = pytest.mark.usefixtures("no_hang")


def code(job: Job) -> str:
    """Code of how the work ended."""
    return job.problem.code if job.problem else ""


def test_items_come_in_order_and_whole() -> None:
    big = "x" * 3_000_000  # many times what a pipe holds
    job = Job(lambda: iter(({"a": 1}, big, None)), 20)
    assert list(job.items()) == [{"a": 1}, big, None]
    assert (job.problem, job.bug) == (None, False)


def test_what_came_before_a_hang_is_kept() -> None:
    def work() -> t.Iterator[str]:
        yield "first"
        time.sleep(60)
        yield "never"

    job = Job(work, 0.3)
    assert list(job.items()) == ["first"]
    assert code(job) == "timed_out"
    assert _gone(job)


def test_a_child_that_dies_is_noticed() -> None:
    def work() -> t.Iterator[int]:
        yield 1
        os.kill(os.getpid(), 9)

    job = Job(work, 20)
    assert list(job.items()) == [1]
    assert job.problem == Reason("reader_ended", "the reader was killed by signal 9 (SIGKILL) before it was done")


def test_a_child_that_exits_early_is_reported_by_its_status() -> None:
    def work() -> t.Iterator[int]:
        yield 1
        os._exit(3)

    job = Job(work, 20)
    assert list(job.items()) == [1]
    assert job.problem == Reason("reader_ended", "the reader ended with status 3 before it was done")


def test_a_child_that_its_own_time_limit_ended_was_too_slow() -> None:
    """The parent may look too late to see more than the end of the pipe."""

    def work() -> t.Iterator[int]:
        os.kill(os.getpid(), 14)
        yield 1

    job = Job(work, 20, again=str)
    assert list(job.items()) == []
    assert job.problem == Reason("timed_out", "no answer within 20 s")


def test_work_whose_child_was_killed_is_done_again(tmp_path: Path) -> None:
    def work() -> t.Iterator[int]:
        with (tmp_path / "runs").open("a") as file:
            file.write("x")
        yield 1
        if (tmp_path / "runs").read_text() != "xxx":
            os.kill(os.getpid(), 9)
        yield 2

    job = Job(work, 20, again=str)
    assert (list(job.items()), job.problem) == ([1, 2], None)
    assert (tmp_path / "runs").read_text() == "xxx"


def test_work_is_done_again_until_its_time_is_up() -> None:
    def work() -> t.Iterator[int]:
        yield 1
        os.kill(os.getpid(), 15)  # a signal that writes no core file

    job = Job(work, 0.7, again=str)
    assert list(job.items()) == [1]
    assert code(job) in ("reader_ended", "timed_out")  # the last attempt may have no time left
    assert "signal 15 (SIGTERM)" in str(job.problem)


def test_a_retry_that_runs_out_of_time_still_names_the_signal(tmp_path: Path) -> None:
    def work() -> t.Iterator[int]:
        if not (tmp_path / "ran").exists():
            (tmp_path / "ran").touch()
            os.kill(os.getpid(), 15)
        time.sleep(60)
        yield 1

    job = Job(work, 3, again=str)
    assert list(job.items()) == []
    assert code(job) == "timed_out"
    assert "signal 15 (SIGTERM)" in str(job.problem)


def test_errors_are_not_tried_again(tmp_path: Path) -> None:
    def work() -> t.Iterator[int]:
        with (tmp_path / "runs").open("a") as file:
            file.write("x")
        yield 1
        raise HostReadError("no")

    job = Job(work, 20, again=str)
    assert (list(job.items()), job.problem) == ([1], Reason("unreadable", "no"))
    assert (tmp_path / "runs").read_text() == "x"


def test_an_endless_answer_is_cut_off() -> None:
    def work() -> t.Iterator[str]:
        while True:
            yield "x" * 1000

    job = Job(work, 20, limit=50_000)
    assert len(list(job.items())) <= 50
    assert job.problem == Reason("answer_too_large", "the answer is larger than the probe takes")
    assert _gone(job)


@pytest.mark.parametrize(
    ("error", "problem", "bug"),
    [
        (HostReadError("libvirt says no"), ("unreadable", "libvirt says no"), False),
        (HostReadError("libvirt says no", "libvirt_error"), ("libvirt_error", "libvirt says no"), False),
        (PermissionError(13, "Permission denied", "/x"), ("unreadable", "/x: Permission denied"), False),
        (KeyError("oops"), ("unexpected_error", "KeyError: 'oops'"), True),
        (ModuleNotFoundError("no libvirt"), ("unexpected_error", "ModuleNotFoundError: no libvirt"), True),
    ],
)
def test_errors_of_the_child_are_told(error: Exception, problem: tuple[str, str], bug: bool) -> None:
    def work() -> t.Iterator[int]:
        yield from ()
        raise error

    job = Job(work, 20)
    assert list(job.items()) == []
    assert (job.problem, job.bug) == (Reason(*problem), bug)


def test_a_reader_that_stops_early_ends_the_child() -> None:
    def work() -> t.Iterator[int]:
        yield 1
        time.sleep(60)

    job = Job(work, 50)
    items = job.items()
    assert next(items) == 1
    items.close()  # type: ignore[attr-defined]
    assert _gone(job)


def test_the_child_has_none_of_our_descriptors(tmp_path: Path) -> None:
    with (tmp_path / "held").open("w"):

        def work() -> t.Iterator[str]:
            for name in os.listdir("/proc/self/fd"):
                with contextlib.suppress(FileNotFoundError):  # the listing's own
                    yield os.readlink(f"/proc/self/fd/{name}")

        seen = list(Job(work, 20).items())
    assert seen[:3] == ["/dev/null"] * 3
    assert not [path for path in seen if path.endswith("held")]


def test_a_child_whose_parent_died_keeps_to_its_deadline_and_lets_go(tmp_path: Path) -> None:
    lock = tmp_path / "lock"

    def work() -> t.Iterator[int]:
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            (tmp_path / "held").touch()
            time.sleep(2 * WAITING)
        yield 1

    parent = os.fork()
    if parent == 0:
        Job(work, 1)
        while not (tmp_path / "held").exists():
            time.sleep(0.01)
        os._exit(0)
    os.waitpid(parent, 0)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def test_many_children_work_side_by_side(tmp_path: Path) -> None:
    def work(number: int) -> t.Iterator[int]:
        (tmp_path / str(number)).touch()
        while len(list(tmp_path.iterdir())) < 5:  # none ends before all have begun
            time.sleep(0.01)
        yield number

    jobs = [Job(functools.partial(work, number), 60) for number in range(5)]
    assert [list(job.items()) for job in jobs] == [[number] for number in range(5)]


def _gone(job: Job) -> bool:
    with pytest.raises(ChildProcessError):
        os.waitpid(job._pid, os.WNOHANG)
    return True


def test_the_time_limit_counts_from_the_last_step_that_was_reported() -> None:
    def work() -> t.Iterator[str]:
        for number in range(4):
            alive(f"starting guest {number}")
            time.sleep(0.4)
        yield "done"

    job = Job(work, 1.0)
    assert list(job.items()) == ["done"]
    assert job.problem is None


def test_a_hang_is_named_by_its_step() -> None:
    def work() -> t.Iterator[str]:
        alive("starting guest web")
        time.sleep(60)
        yield "never"

    job = Job(work, 0.3)
    assert list(job.items()) == []
    assert job.problem == Reason("timed_out", "no answer within 0.3 s (starting guest web)")
    assert _gone(job)


def test_a_step_may_have_a_longer_time_limit_of_its_own() -> None:
    def work() -> t.Iterator[str]:
        alive("getCapabilities", 30.0)
        time.sleep(3.0)
        yield "capabilities"
        alive("next")
        time.sleep(60)

    job = Job(work, 2.0)
    assert list(job.items()) == ["capabilities"]
    assert job.problem == Reason("timed_out", "no answer within 2 s (next)")
    assert _gone(job)


def test_a_hang_in_a_step_with_a_limit_of_its_own_is_named_with_that_limit() -> None:
    def work() -> t.Iterator[str]:
        alive("getCapabilities", 3.0)
        time.sleep(60)
        yield "never"

    job = Job(work, 2.5)
    assert list(job.items()) == []
    assert job.problem == Reason("timed_out", "no answer within 3 s (getCapabilities)")
    assert _gone(job)


def test_the_time_limit_counts_from_the_last_item() -> None:
    def work() -> t.Iterator[int]:
        for number in range(4):
            time.sleep(0.4)
            yield number

    job = Job(work, 1.0)
    assert list(job.items()) == [0, 1, 2, 3]
    assert job.problem is None


def test_items_without_end_have_one() -> None:
    def work() -> t.Iterator[int]:
        while True:
            time.sleep(0.05)
            yield 1

    job = Job(work, 0.5)
    assert set(job.items()) <= {1}  # none where the machine is so busy that the first comes too late
    assert code(job) == "timed_out"
    assert _gone(job)


def test_a_report_goes_to_the_parent_of_its_own_child_alone() -> None:
    alive("starting guest web")  # no child: nobody waits

    def work() -> t.Iterator[int]:
        alive("starting guest db")
        yield 1

    assert list(Job(work, 20).items()) == [1]
    assert deadline._reports == []
