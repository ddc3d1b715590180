# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which two guests had labels at one time of which one reaches the other, while their hosts share storage.

One guest of two surely reached the other where their sure spans overlap and their storage is shared; it may have where
only the possible spans do, or where it is open whether the storage is shared. Storage is compared as it is now.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass, field

from ...errors import LabelError
from ...facts.sharing import Sharing
from ...result import Reason
from ...selinux.context import Level, parse_level, read_context
from ...selinux.dominance import compare, few
from .intervals import LEDGER, Doubt, HostHistory, Interval, Span

#: Seconds by which the clocks of two hosts may differ.
SKEW = 5.0
#: Pairs of intervals that overlap in one fleet, above which no more are compared.
MAX_PAIRS = 100_000
#: Comparisons of intervals in one fleet: a hostile host may name any labels, and must not keep others from an answer.
MAX_WORK = 5_000_000
#: Periods that are kept of one pair of guests.
MAX_PERIODS = 20

EQUAL, REACHES = "equal", "reaches"
SAME_HOST, SHARED, OPEN, DIFFERENT, UNREAD = "same_host", "shared", "open", "different", "unread"


class Period(t.NamedTuple):
    """A time at which two guests met."""

    since: float
    until: float
    sure: bool


@dataclass
class PastReach:
    """Two guests; the first reached the second."""

    first: Interval
    second: Interval
    #: EQUAL: each reached the other.
    relation: str
    #: SAME_HOST, SHARED, OPEN or UNREAD.
    storage: str
    #: The storage, or why it is not known.
    evidence: str
    periods: list[Period] = field(default_factory=list)
    more_periods: int = 0

    @property
    def is_sure(self) -> bool:
        """Whether it happened, as opposed to may have happened."""
        return self.storage in (SAME_HOST, SHARED) and any(period.sure for period in self.periods)

    @property
    def reach(self) -> str:
        """Class of reach."""
        return "E1" if self.storage == SAME_HOST else "E2"


@dataclass
class FleetPast:
    """All pairs of a fleet."""

    pairs: list[PastReach]
    doubts: list[Doubt]
    #: Pairs of guests that met by their labels only, on hosts that share no storage.
    without_storage: int = 0


@dataclass(frozen=True)
class _Entry:
    level: Level
    bits: tuple[int, ...]
    intervals: list[Interval]


class StorageNow:
    """Whether two hosts share storage, by their snapshots."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self._known: dict[tuple[str, str], tuple[str, str]] = {}

    def between(self, one: str, other: str) -> tuple[str, str]:
        """One of the constants above, and the evidence."""
        if one == other:
            return SAME_HOST, ""
        pair = (min(one, other), max(one, other))
        if pair not in self._known:
            self._known[pair] = self._between(*pair)
        return self._known[pair]

    def _between(self, one: str, other: str) -> tuple[str, str]:
        sharing = self._sharing
        unread = [host for host in (one, other) if not sharing.knows(host)]
        if unread:
            return UNREAD, f"the storage of {' and '.join(unread)} was not read"
        common = sharing.keys_of_files(one, None) & sharing.keys_of(other)
        common |= sharing.keys_of_files(other, None) & sharing.keys_of(one)
        if common:
            return SHARED, min(common)
        pair = sharing.open_pair(one, sharing.places_of(one), besides=_AllBut(other))
        return (OPEN, str(pair)) if pair is not None else (DIFFERENT, "")


@dataclass(frozen=True)
class _AllBut:
    """All hosts but one."""

    host: str

    def __contains__(self, host: object) -> bool:
        return host != self.host


def meetings(histories: t.Sequence[HostHistory], sharing: Sharing, budget: int = MAX_PAIRS) -> FleetPast:
    """The pairs of a fleet, the sure ones first."""
    levels, doubts = _levels(histories)
    collector = _Collector(StorageNow(sharing), budget)
    dominance = compare(levels)
    for key, entry in levels.items():
        collector.within(entry.intervals)
        for lower in dominance.below.get(key, ()):
            collector.between(entry.intervals, levels[lower].intervals)
    hosts = {item.host for key in dominance.skipped for item in levels[key].intervals}
    if collector.exhausted:
        hosts |= {history.host for history in histories}
    reason = Reason("too_many", "more guests had labels that meet than are compared")
    doubts += [
        Doubt(history.host, history.since, history.until, reason) for history in histories if history.host in hosts
    ]
    pairs = sorted(collector.pairs.values(), key=_order)
    return FleetPast(pairs, doubts, len(collector.apart))


def _order(pair: PastReach) -> tuple[bool, str, float, str, str]:
    return not pair.is_sure, pair.reach, pair.periods[0].since, pair.first.uuid, pair.second.uuid


def _levels(histories: t.Iterable[HostHistory]) -> tuple[dict[str, _Entry], list[Doubt]]:
    """Intervals by level, and labels that are none."""
    levels: dict[str, _Entry] = {}
    doubts: list[Doubt] = []
    reason = Reason("label_invalid", "the label in the log is none that can be compared")
    for history in histories:
        for item in history.intervals:
            level = _level(item)
            if level is not None:
                key = str(level)
                if key not in levels:
                    levels[key] = _Entry(level, few(level.categories), [])
                levels[key].intervals.append(item)
            elif item.label:
                span = item.possible
                doubts.append(Doubt(item.host, span.first.at, span.last.at, reason, item.uuid, item.name))
    return levels, doubts


def _level(item: Interval) -> Level | None:
    """The level that decides what the guest reaches; None where its label is not known or is none."""
    if item.source != LEDGER:
        context = read_context(item.label)
        return context.high if context is not None else None
    try:
        return parse_level(item.label)
    except LabelError:
        return None


class _Collector:
    """Finds overlaps of intervals, by a sweep over their beginnings."""

    def __init__(self, storage: StorageNow, budget: int) -> None:
        self.budget, self.work = budget, MAX_WORK
        self.pairs: dict[tuple[str, ...], PastReach] = {}
        self.apart: set[tuple[str, ...]] = set()
        self._storage = storage

    @property
    def exhausted(self) -> bool:
        """Not all intervals were compared."""
        return self.budget < 0 or self.work < 0

    def within(self, intervals: t.Sequence[Interval]) -> None:
        """Pairs of intervals of one level."""
        self._sweep([(item, True, True) for item in intervals], EQUAL)

    def between(self, upper: t.Sequence[Interval], lower: t.Sequence[Interval]) -> None:
        """Pairs of an interval of a level and one of a level that it dominates."""
        self._sweep([(item, True, False) for item in upper] + [(item, False, True) for item in lower], REACHES)

    def _sweep(self, parties: list[tuple[Interval, bool, bool]], relation: str) -> None:
        """``parties``: an interval, whether it may be the first of a pair, and whether it may be the second."""
        by_host: dict[str, list[tuple[Interval, bool, bool]]] = defaultdict(list)
        for party in parties:
            by_host[party[0].host].append(party)
        for own in by_host.values():
            self._overlaps(own, relation, local=True)
        if len(by_host) > 1:
            self._overlaps(parties, relation, local=False)

    def _overlaps(self, parties: t.Iterable[tuple[Interval, bool, bool]], relation: str, local: bool) -> None:
        def place(party: tuple[Interval, bool, bool]) -> float:
            first = party[0].possible.first
            return first.order if local else first.at

        active: list[tuple[Interval, bool, bool]] = []
        for party in sorted(parties, key=place):
            begin = place(party)
            active = [old for old in active if _end(old[0], local) >= begin]
            self.work -= len(active)
            for old in active:
                if self.exhausted:
                    return
                self._pair(old, party, relation, local)
            active.append(party)

    def _pair(
        self, one: tuple[Interval, bool, bool], other: tuple[Interval, bool, bool], relation: str, local: bool
    ) -> None:
        if one[0].uuid == other[0].uuid or (one[0].host == other[0].host) != local:
            return
        first, second = (one, other) if one[1] and other[2] else (other, one)
        if not (first[1] and second[2]):
            return  # both of the upper level, or both of the lower
        self.budget -= 1
        self._add(first[0], second[0], relation, local)

    def _add(self, first: Interval, second: Interval, relation: str, local: bool) -> None:
        storage, evidence = self._storage.between(first.host, second.host)
        if relation == EQUAL and (second.host, second.uuid) < (first.host, first.uuid):
            first, second = second, first
        key = (relation, first.host, first.uuid, second.host, second.uuid)
        if storage == DIFFERENT:
            self.apart.add(key)
            return
        pair = self.pairs.setdefault(key, PastReach(first, second, relation, storage, evidence))
        if len(pair.periods) >= MAX_PERIODS:
            pair.more_periods += 1
            return
        pair.periods.append(_period(first, second, local))


def _end(item: Interval, local: bool) -> float:
    last = item.possible.last
    return last.order if local else last.at + SKEW


def _period(first: Interval, second: Interval, local: bool) -> Period:
    """When two intervals overlap, possibly or surely."""
    sure = first.sure is not None and second.sure is not None and _surely(first.sure, second.sure, local)
    spans = (first.sure, second.sure) if sure else (first.possible, second.possible)
    known = [span for span in spans if span is not None]
    since, until = max(span.first.at for span in known), min(span.last.at for span in known)
    return Period(since, max(since, until), sure)


def _surely(one: Span, other: Span, local: bool) -> bool:
    if local:
        return max(one.first.order, other.first.order) <= min(one.last.order, other.last.order)
    return min(one.last.at, other.last.at) - max(one.first.at, other.first.at) > SKEW
