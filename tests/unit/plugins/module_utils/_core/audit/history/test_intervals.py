# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Intervals of a host's guests: ends that the log does not show, gaps, boots, changes of the clock, and a model."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.history.intervals import (
    GuestNow,
    HostHistory,
    HostLog,
    Interval,
    history,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux import virt_audit as a
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.virt_audit import VirtEvent
from hypothesis import given
from hypothesis import strategies as st

A, B = "u:r:svirt_t:s0:c1,c2", "u:r:svirt_t:s0:c3,c4"


def label(at: float, uuid: str, text: str = A) -> VirtEvent:
    return VirtEvent(at, a.LABEL, uuid, uuid, text)


def start(at: float, uuid: str, pid: int = 7) -> VirtEvent:
    return VirtEvent(at, a.START, uuid, uuid, pid=pid, reason="booted")


def stop(at: float, uuid: str, reason: str = "shutdown") -> VirtEvent:
    return VirtEvent(at, a.STOP, uuid, uuid, reason=reason)


def at(number: float, kind: str, reason: str = "") -> VirtEvent:
    return VirtEvent(number, kind, reason=reason)


def read(*events: VirtEvent, running: t.Sequence[GuestNow] | None = (), until: float = 100.0) -> HostHistory:
    return history(HostLog("kvm1", events, 0.0, until, running))


def spans(seen: HostHistory) -> list[tuple[str, str, tuple[float, float], tuple[float, float] | None]]:
    return [(item.uuid, item.end, times(item.possible), times(item.sure) if item.sure else None) for item in rows(seen)]


def rows(seen: HostHistory) -> list[Interval]:
    return seen.intervals


def times(span: t.Any) -> tuple[float, float]:
    return span.first.at, span.last.at


def codes(seen: HostHistory) -> list[str]:
    return [doubt.reason.code for doubt in seen.doubts]


def test_a_guest_has_its_label_from_the_choice_to_the_stop() -> None:
    seen = read(label(10, "g"), start(11, "g"), stop(20, "g"))
    assert spans(seen) == [("g", "shutdown", (10, 20), (10, 20))]
    assert (rows(seen)[0].label, rows(seen)[0].start, codes(seen)) == (A, "seen", [])


def test_a_start_that_failed_had_a_label_all_the_same() -> None:
    failed = VirtEvent(12, a.START_FAILED, "g", "g", reason="booted")
    seen = read(label(10, "g"), failed, stop(12, "g", "failed"))
    assert spans(seen) == [("g", "failed", (10, 12), (10, 12))]
    assert codes(seen) == []


def test_a_guest_that_runs_still() -> None:
    events = label(10, "g"), start(11, "g", 99)
    assert spans(read(*events, running=[GuestNow("g", "g", 99, A)])) == [("g", "running", (10, 100), (10, 100))]
    assert spans(read(*events, running=None)) == [("g", "running", (10, 100), (10, 100))]


def test_a_guest_that_runs_since_before_the_log() -> None:
    seen = read(running=[GuestNow("g", "g", 99, A)])
    assert spans(seen) == [("g", "running", (0, 100), (0, 100))]
    assert (rows(seen)[0].start, rows(seen)[0].source, codes(seen)) == ("before_log", "process", [])


def test_a_stop_without_a_start_has_no_label() -> None:
    seen = read(stop(20, "g"))
    assert spans(seen) == [("g", "shutdown", (0, 20), (0, 20))]
    assert (rows(seen)[0].label, codes(seen)) == ("", ["label_unknown"])


def test_a_start_without_a_stop() -> None:
    seen = read(label(10, "g"), start(11, "g"), label(30, "g", B), start(31, "g"), stop(40, "g"))
    assert spans(seen) == [("g", "unseen", (10, 30), (10, 10)), ("g", "shutdown", (30, 40), (30, 40))]
    assert codes(seen) == ["stop_missing"]
    gone = read(label(10, "g"), start(11, "g"))
    assert (spans(gone), codes(gone)) == ([("g", "unseen", (10, 100), (10, 10))], ["stop_missing"])


def test_a_second_stop_is_a_start_that_the_log_lacks() -> None:
    seen = read(label(10, "g"), start(11, "g"), stop(20, "g"), stop(30, "g"))
    assert spans(seen)[1] == ("g", "shutdown", (20, 30), (30, 30))
    assert set(codes(seen)) == {"start_missing", "label_unknown"}


def test_a_boot_ends_all_guests_and_is_no_gap() -> None:
    seen = read(
        *(label(10, "g"), start(11, "g"), at(20, a.SHUTDOWN), at(21, a.LOG_OFF), at(5000, a.LOG_ON), at(5001, a.BOOT)),
        *(label(5010, "g", B), start(5011, "g"), stop(5020, "g")),
        until=6000,
    )
    assert spans(seen) == [("g", "boot", (10, 5001), (10, 21)), ("g", "shutdown", (5010, 5020), (5010, 5020))]
    assert codes(seen) == []


def test_a_log_that_was_off_long_before_the_boot_is_a_gap() -> None:
    seen = read(label(10, "g"), start(11, "g"), at(20, a.LOG_OFF), at(5000, a.LOG_ON), at(5001, a.BOOT), until=6000)
    assert codes(seen) == ["log_off"]
    assert (seen.doubts[0].since, seen.doubts[0].until) == (20, 5001)


def test_a_crash_ends_all_guests() -> None:
    seen = read(label(10, "g"), start(11, "g"), at(30, a.LOG_ON), at(31, a.BOOT))
    assert (spans(seen), codes(seen)) == ([("g", "boot", (10, 31), (10, 11))], [])


def test_a_gap_is_never_green() -> None:
    events = label(10, "g"), start(11, "g", 99), at(20, a.LOG_OFF), at(30, a.LOG_ON), stop(40, "g")
    seen = read(*events)
    assert spans(seen) == [("g", "shutdown", (10, 40), (10, 20))]
    assert codes(seen) == ["log_off"]
    # One process ran all the time, so the gap did not change its label.
    bridged = read(*events[:-1], running=[GuestNow("g", "g", 99, A)])
    assert spans(bridged) == [("g", "running", (10, 100), (10, 100))]
    other = read(*events[:-1], running=[GuestNow("g", "g", 98, A)])
    assert spans(other) == [("g", "running", (10, 100), (10, 20))]


def test_a_log_that_is_off_now_is_a_gap_up_to_now() -> None:
    seen = read(at(20, a.LOG_OFF))
    assert [(item.reason.code, item.since, item.until) for item in seen.doubts] == [("log_off", 20, 100)]


def test_a_restart_of_the_log_without_an_end() -> None:
    seen = read(label(10, "g"), start(11, "g"), at(30, a.LOG_ON), stop(40, "g"))
    assert (codes(seen), spans(seen)) == (["log_off"], [("g", "shutdown", (10, 40), (10, 11))])


def test_a_clock_that_was_set_back() -> None:
    seen = read(label(50, "g"), start(51, "g"), stop(20, "g"))
    assert codes(seen) == ["clock_set_back"]
    (item,) = rows(seen)
    assert times(item.possible) == (19, 20)
    assert item.possible.first.order < item.possible.last.order
    assert item.sure is not None
    assert item.sure.first.at > item.sure.last.at, "no moment is sure to other hosts"


def test_a_damaged_record_and_another_label_now() -> None:
    seen = read(
        *(VirtEvent(5, a.DAMAGED, "g", "g"), label(10, "g"), start(11, "g", 99)),
        running=[GuestNow("g", "g", 99, B)],
    )
    assert codes(seen) == ["record_damaged", "label_differs"]
    assert [(item.label, times(item.possible), item.sure and times(item.sure)) for item in rows(seen)] == [
        (A, (10, 100), (10, 10)),
        (B, (10, 100), None),
    ]


def test_doubts_are_bounded() -> None:
    seen = read(*(VirtEvent(5, a.DAMAGED) for _number in range(1500)))
    assert (len(seen.doubts), seen.more_doubts) == (1000, 500)


# -- a model -----------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    uuid: str
    label: str
    first: int
    last: int


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.sampled_from("gh"), st.sampled_from((A, B))),
        st.tuples(st.just("end"), st.sampled_from("gh")),
        st.tuples(st.just("boot")),
        st.tuples(st.just("off")),
        st.tuples(st.just("on")),
    ),
    max_size=25,
)


class Host:
    """A host that does as it is told, and what its log has of that."""

    def __init__(self) -> None:
        self.clock, self.logging = 0, True
        self.events: list[VirtEvent] = []
        self.runs: list[Run] = []
        self.alive: dict[str, Run] = {}

    def act(self, action: tuple[str, ...]) -> None:
        self.clock += 10
        getattr(self, action[0])(*action[1:])

    def log(self, event: VirtEvent) -> None:
        if self.logging:
            self.events.append(event)

    def run(self, uuid: str, text: str) -> None:
        if uuid not in self.alive:
            self.alive[uuid] = Run(uuid, text, self.clock, -1)
            self.runs.append(self.alive[uuid])
            self.log(label(self.clock, uuid, text))
            self.log(start(self.clock + 1, uuid, self.clock))

    def end(self, uuid: str) -> None:
        if uuid in self.alive:
            self.alive.pop(uuid).last = self.clock
            self.log(stop(self.clock, uuid))

    def boot(self) -> None:
        for run in self.alive.values():
            run.last = self.clock
        self.alive.clear()
        if not self.logging:
            self.clock += 1000  # longer than a host takes to go down
        self.logging = True
        self.log(at(self.clock, a.LOG_ON))
        self.log(at(self.clock, a.BOOT))

    def off(self) -> None:
        self.log(at(self.clock, a.LOG_OFF))
        self.logging = False

    def on(self) -> None:
        if not self.logging:
            self.logging = True
            self.log(at(self.clock, a.LOG_ON))

    def read(self) -> HostHistory:
        self.clock += 10
        for run in self.alive.values():
            run.last = self.clock
        running = [GuestNow(run.uuid, run.uuid, run.first, run.label) for run in self.alive.values()]
        return read(*self.events, running=running, until=self.clock)


@given(ACTIONS)
def test_a_log_without_gaps_gives_exactly_what_happened(actions: list[tuple[str, ...]]) -> None:
    host = Host()
    for action in actions:
        if action[0] not in ("off", "on"):
            host.act(action)
    seen = host.read()
    assert codes(seen) == []
    truth = sorted((run.uuid, run.label, run.first, run.last) for run in host.runs)
    assert sorted((row.uuid, row.label, *times(row.possible)) for row in rows(seen)) == truth
    for row in rows(seen):
        assert row.sure is not None
        assert row.sure == row.possible or row.end == "boot"


@given(ACTIONS)
def test_with_gaps_nothing_sure_is_wrong_and_nothing_is_lost_in_silence(actions: list[tuple[str, ...]]) -> None:
    host = Host()
    for action in actions:
        host.act(action)
    seen = host.read()
    for row in rows(seen):
        if row.sure is None or not row.label:
            continue
        first, last = times(row.sure)
        holders = [run for run in host.runs if run.uuid == row.uuid and run.label == row.label]
        assert any(run.first <= first and last <= run.last for run in holders), (row, host.runs)
    gaps = [(doubt.since, doubt.until) for doubt in seen.doubts if doubt.reason.code == "log_off"]
    for run in host.runs:
        inside = any(row.uuid == run.uuid and covers(times(row.possible), run) for row in rows(seen))
        assert inside or any(since <= run.last and run.first <= until for since, until in gaps), (run, rows(seen))


def covers(span: tuple[float, float], run: Run) -> bool:
    return span[0] <= run.first and run.last <= span[1]


@given(st.lists(st.builds(VirtEvent, st.floats(0, 1e6), st.sampled_from(a.KINDS), st.sampled_from("gh"), st.just("n"))))
def test_any_log_is_read(events: list[VirtEvent]) -> None:
    seen = read(*events, running=[GuestNow("g", "n", 3, A)])
    for row in rows(seen):
        assert row.possible.first.order <= row.possible.last.order
        assert row.sure is None or row.possible.first.order <= row.sure.first.order
