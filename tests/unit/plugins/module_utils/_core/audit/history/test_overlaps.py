# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Which two guests shared a label, and the storage that decides whether that mattered."""

from __future__ import annotations

import json
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.history import overlaps, report
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.history.assignments import (
    LabelEvent,
    assignments,
    completed,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.history.intervals import (
    GuestNow,
    HostHistory,
    HostLog,
    history,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.sharing import Sharing
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage import host_storage
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux import virt_audit as a
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.virt_audit import VirtEvent
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support import factory

PAIR = "s0:c1,c2"
LOCAL = s.Storage("/", "xfs", "/dev/vda1", labelled=True, identity="uuid:1111")


def events(uuid: str, first: float, last: float | None, level: str = PAIR) -> list[VirtEvent]:
    ran = [
        VirtEvent(first, a.LABEL, uuid, uuid, f"u:r:svirt_t:{level}"),
        VirtEvent(first, a.START, uuid, uuid, pid=5, reason="booted"),
    ]
    return ran + ([VirtEvent(last, a.STOP, uuid, uuid, reason="shutdown")] if last is not None else [])


def past(
    host: str, *logs: list[VirtEvent], running: t.Sequence[GuestNow] | None = (), until: float = 1000.0
) -> HostHistory:
    merged = sorted((event for log in logs for event in log), key=lambda event: event.at)
    return history(HostLog(host, merged, 0.0, until, running))


def mount(source: str) -> s.Storage:
    return s.Storage("/mnt/share", "nfs4", source, remote=True, labelled=True, identity=f"nfs:{source}")


def read_host(name: str, storage: s.Storage | None) -> s.Snapshot:
    entries = [LOCAL, storage] if storage else [LOCAL]
    return replace(factory.host(), host=s.Host(name=name), guests=[], storage=entries)


def sharing(**hosts: s.Storage | None) -> Sharing:
    return Sharing([host_storage(name, read_host(name, entry)) for name, entry in hosts.items()])


ONE_SHARE = sharing(kvm1=mount("nas:/vms"), kvm2=mount("nas:/vms"))
TWO_SHARES = sharing(kvm1=mount("nas:/vms"), kvm2=mount("nas:/other"))
TWO_NAMES = sharing(kvm1=mount("nas:/vms"), kvm2=mount("10.0.0.1:/vms"))


def pairs(*histories: HostHistory, storage: Sharing = ONE_SHARE) -> list[tuple[t.Any, ...]]:
    found = overlaps.meetings(histories, storage).pairs
    return [(pair.first.uuid, pair.second.uuid, pair.relation, pair.storage, pair.is_sure) for pair in found]


def test_two_guests_of_one_host_that_are_both_gone() -> None:
    seen = past("kvm1", events("a", 10, 50), events("b", 20, 60))
    assert pairs(seen) == [("a", "b", "equal", "same_host", True)]
    (pair,) = overlaps.meetings([seen], ONE_SHARE).pairs
    assert (pair.reach, pair.periods) == ("E1", [overlaps.Period(20, 50, True)])


def test_one_after_the_other_shares_nothing() -> None:
    assert pairs(past("kvm1", events("a", 10, 50), events("b", 60, 90))) == []


def test_two_hosts_that_share_storage() -> None:
    histories = past("kvm1", events("a", 10, 50)), past("kvm2", events("b", 20, 60))
    assert pairs(*histories) == [("a", "b", "equal", "shared", True)]
    assert overlaps.meetings(histories, ONE_SHARE).pairs[0].reach == "E2"
    assert pairs(*histories, storage=TWO_SHARES) == []
    assert overlaps.meetings(histories, TWO_SHARES).without_storage == 1
    assert pairs(*histories, storage=TWO_NAMES) == [("a", "b", "equal", "open", False)]
    assert pairs(*histories, storage=sharing(kvm1=None)) == [("a", "b", "equal", "unread", False)]


def test_clocks_of_two_hosts_differ() -> None:
    one = past("kvm1", events("a", 10, 50))
    for first, expected in ((40, [True]), (46, [False]), (53, [False]), (56, [])):
        found = pairs(one, past("kvm2", events("b", first, 90)))
        assert [sure for *_rest, sure in found] == expected, first


def test_a_guest_that_migrates_is_one_guest() -> None:
    assert pairs(past("kvm1", events("a", 10, 50)), past("kvm2", events("a", 40, 90))) == []


def test_a_label_that_contains_another_reaches_it() -> None:
    seen = past("kvm1", events("small", 10, 50), events("large", 20, 60, "s0:c1,c2,c3"))
    assert pairs(seen) == [("large", "small", "reaches", "same_host", True)]
    assert pairs(past("kvm1", events("x", 10, 50, "s0:c1,c9"), events("y", 20, 60))) == []


def test_what_may_have_been_is_not_sure() -> None:
    lost = [*events("a", 10, None), *events("a", 80, 90, "s0:c7,c8")]
    seen = past("kvm1", lost, events("b", 20, 60))
    assert pairs(seen) == [("a", "b", "equal", "same_host", False)]


def test_a_label_that_is_none_is_a_doubt() -> None:
    found = overlaps.meetings([past("kvm1", events("a", 10, 50, "SystemLow"))], ONE_SHARE)
    assert [(item.reason.code, item.uuid) for item in found.doubts] == [("label_invalid", "a")]


def test_pairs_are_bounded() -> None:
    seen = past("kvm1", *(events(str(number), 10, 500, "s0") for number in range(30)))
    found = overlaps.meetings([seen], ONE_SHARE, budget=50)
    assert [item.reason.code for item in found.doubts] == ["too_many"]
    assert len(found.pairs) == 51


def test_comparisons_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlaps, "MAX_WORK", 100)
    # Guests of one host are compared with those of the other only, and there is one of them.
    one = past("kvm1", *(events(str(number), 10, 500, f"s0:c{number},c1000") for number in range(3)))
    many = past("kvm1", *(events(str(number), 10, 500) for number in range(60)))
    other = past("kvm2", events("x", 10, 500))
    assert overlaps.meetings([one, other], ONE_SHARE).doubts == []
    doubts = overlaps.meetings([many, other], ONE_SHARE).doubts
    assert [(item.host, item.reason.code) for item in doubts] == [("kvm1", "too_many"), ("kvm2", "too_many")]


def test_periods_of_one_pair_are_bounded() -> None:
    meetings = [events("b", 10 + number * 10, 15 + number * 10) for number in range(30)]
    (pair,) = overlaps.meetings([past("kvm1", events("a", 5, 900), *meetings)], ONE_SHARE).pairs
    assert (len(pair.periods), pair.more_periods) == (20, 10)


def test_the_ledger_has_the_label_that_the_log_lacks() -> None:
    given_labels = assignments(
        [
            LabelEvent(1, "d", "a", "reserve", PAIR),
            LabelEvent(2, "d", "a", "publish", "published"),
            LabelEvent(700, "d", "a", "release", "released"),
            LabelEvent(1, "d", "z", "observe", "observed"),
        ]
    )
    assert set(given_labels) == {"a"}
    seen = past("kvm1", [VirtEvent(50, a.STOP, "a", "a", reason="shutdown")], events("b", 20, 60))
    seen.intervals = [completed(item, given_labels) for item in seen.intervals]
    assert pairs(seen) == [("a", "b", "equal", "same_host", False)]
    late = past("kvm1", [VirtEvent(800, a.START, "a", "a"), VirtEvent(900, a.STOP, "a", "a")])
    assert completed(late.intervals[0], given_labels).label == ""


RUNS = st.lists(
    st.tuples(
        st.sampled_from(("kvm1", "kvm2")),
        st.sampled_from("abcd"),
        st.integers(1, 60),
        st.integers(1, 20),
        st.sampled_from((PAIR, "s0:c1", "s0:c3,c4", "s0")),
    ),
    max_size=12,
)
REACHED = {(PAIR, "s0:c1"), (PAIR, "s0"), ("s0:c1", "s0"), ("s0:c3,c4", "s0")}


@given(RUNS)
def test_pairs_are_those_of_a_simple_model(runs: list[tuple[str, str, int, int, str]]) -> None:
    """Every two runs compared with one another, each run of a guest on a host after its last one."""
    placed: list[tuple[str, str, int, int, str]] = []
    free: dict[tuple[str, str], int] = {}
    for host, uuid, first, length, level in runs:
        begin = max(first * 10, free.get((host, uuid), 0) + 10)
        free[host, uuid] = begin + length * 10
        placed.append((host, uuid, begin, begin + length * 10, level))
    histories = [
        past(host, *(events(uuid, *rest) for place, uuid, *rest in placed if place == host), until=10_000.0)  # type: ignore[arg-type]
        for host in ("kvm1", "kvm2")
    ]
    expected: set[tuple[str, ...]] = set()
    touching: set[tuple[str, ...]] = set()
    for host, uuid, first, last, level in placed:
        for place, other, begin, end, theirs in placed:
            overlap = min(last, end) - max(first, begin)
            if uuid == other or overlap < 0 or (overlap == 0 and host != place):
                continue
            # Of two runs of one host that touch, the log has one event before the other: either order is right.
            pair = expected if overlap else touching
            if (level, theirs) in REACHED:
                pair.add((host, uuid, place, other, "reaches"))
            elif level == theirs:
                pair.add((*min((host, uuid), (place, other)), *max((host, uuid), (place, other)), "equal"))
    found = overlaps.meetings(histories, ONE_SHARE).pairs
    sure = {
        (pair.first.host, pair.first.uuid, pair.second.host, pair.second.uuid, pair.relation)
        for pair in found
        if pair.is_sure
    }
    assert expected <= sure <= expected | touching


# -- the document ------------------------------------------------------------------------------------------------------


def told(*histories: HostHistory, since: float | None = None, unread: tuple[str, ...] = ()) -> dict[str, t.Any]:
    scope = report.PastScope(since, 2000.0, tuple(report.UnreadHost(host, "it is down") for host in unread))
    found = overlaps.meetings(histories, ONE_SHARE)
    whole = report.document(histories, found, scope)
    return t.cast("dict[str, t.Any]", json.loads(json.dumps(whole)))


QUIET = past("kvm1", events("a", 10, 50))


def test_verdicts() -> None:
    assert told(QUIET)["verdict"] == "pass"
    assert told(QUIET, unread=("kvm2",))["verdict"] == "unknown"
    assert told()["verdict"] == "unknown"
    assert told(past("kvm1", [VirtEvent(5, a.DAMAGED)]))["verdict"] == "unknown"
    assert told(past("kvm1", events("a", 10, 50), events("b", 20, 60)), unread=("kvm2",))["verdict"] == "fail"
    assert told(QUIET, since=-5.0)["verdict"] == "unknown", "its log begins later"
    assert told(QUIET, since=5.0)["verdict"] == "pass"


def test_only_the_time_asked_for_counts() -> None:
    seen = past("kvm1", events("a", 10, 50), events("b", 20, 60), [VirtEvent(70, a.DAMAGED)])
    assert told(seen, since=65.0)["verdict"] == "unknown"
    later = told(seen, since=80.0)
    assert (later["verdict"], later["collisions"], later["doubts"], later["guests"]) == ("pass", [], [], [])


def test_the_terminal_shows_no_control_character() -> None:
    hostile = "web\x1b[2J\n\u202e"
    seen = past("kvm1", events("a", 10, 50), events("b", 20, 60), [VirtEvent(70, a.DAMAGED, "c", hostile)])
    seen.intervals = [item.__class__(**{**vars(item), "name": hostile}) for item in seen.intervals]
    shown = list(report.lines(told(seen, unread=("kvm2",))))
    assert len(shown) == 3
    assert shown[0].startswith("E1 web")
    assert all(line.isprintable() and "\u202e" not in line for line in shown)


@pytest.mark.parametrize(
    ("at", "text"), [(0.0, "1970-01-01T00:00:00Z"), (-9e9, "1970-01-01T00:00:00Z"), (1e300, "9999-12-31T23:59:59Z")]
)
def test_times_that_no_calendar_has(at: float, text: str) -> None:
    assert report.when(at) == text
