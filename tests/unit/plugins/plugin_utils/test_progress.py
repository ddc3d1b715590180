# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of progress: every host is counted once, and those at work longest are named."""

from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.plugin_utils._progress import TaskProgress
from hypothesis import given
from hypothesis import strategies as st


def test_line_names_the_hosts_at_work_longest() -> None:
    task = TaskProgress("svirt_info", 6, 100.0)
    for second, host in enumerate(("kvm1", "kvm2", "kvm3", "kvm4", "kvm5")):
        task.started(host, 100.0 + second)
    task.ended("kvm2")
    assert task.line(111.0) == (
        "svirt_info: 1 of 6 hosts done after 11 s; at work: kvm1 (11 s), kvm3 (9 s), kvm4 (8 s) and 1 more"
    )


def test_no_host_at_work_no_line() -> None:
    task = TaskProgress("svirt_info", 1, 0.0)
    assert task.line(10.0) == ""
    task.started("kvm1", 0.0)
    task.ended("kvm1")
    assert task.line(10.0) == ""


def test_host_name_cannot_write_to_the_terminal() -> None:
    task = TaskProgress("svirt_info", 1, 0.0)
    task.started("kvm\x1b[2J\n1", 0.0)
    assert task.line(1.0).isprintable()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_every_host_is_counted_once(events: list[tuple[str, bool]]) -> None:
    task, at_work, done = TaskProgress("svirt_info", 3, 0.0), set[str](), 0
    for host, starts in events:
        if starts:
            task.started(host, 0.0)
            at_work.add(host)
        else:
            task.ended(host)
            done += host in at_work
            at_work.discard(host)
    line = task.line(0.0)
    assert (f": {done} of 3 hosts done" in line) == bool(at_work)


def test_lines_come_less_often() -> None:
    task = TaskProgress("svirt_info", 1, 0.0, after=10.0)
    task.started("kvm1", 0.0)
    waits = [(task.wait(), task.line(0.0))[0] for _number in range(8)]
    assert waits == [10, 20, 30, 40, 50, 60, 60, 60]
