# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as a whole: what of each host is compared, and what comes of it.

libvirt keeps category pairs apart inside one daemon only. Here all that carries categories in the fleet is laid side by
side: a directed graph, in which one reaches another when its level dominates the other's and it can come to the
other's files.

- who stands where: placed.py; which level dominates which: dominance.py; which hosts meet: sharing.py, neighbours.py
- classes E1 and E2, now: reach.py; E3, once guests meet: meeting.py; E4, by chance: chance.py
- one uuid on two hosts: twofold.py; ranges of daemons: range_use.py; labels that went astray: strays.py
- labels of no guest on shared storage: orphans.py; what the loaded policy says: confirmation.py

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from . import chance, meeting, orphans, range_use, reach, strays, twofold
from . import finding as f
from .allocation import Row
from .confirmation import Answers, Confirmation
from .dominance import compare
from .fleet_rules import ENGINES, LOCAL, MEETING, RULES, SHARED
from .neighbours import Neighbours
from .orphans import Stock
from .placed import Placed, place
from .range_use import RangeUse
from .rules.image import ORPHAN
from .sharing import HostStorage, Sharing, host_storage
from .snapshot import Snapshot

__all__ = ["LOCAL", "RULES", "SHARED", "Fleet", "Placed", "View", "judge", "view"]

_TOO_MANY = "guests here have labels of so many categories, or so many alike, that not all could be compared"


@dataclass(frozen=True)
class View:
    """What comparing a host with others needs: small, so that a fleet's snapshots need not be held."""

    host: str
    guests: tuple[Placed, ...]
    storage: HostStorage
    stock: Stock
    #: Why guests here could not be compared; empty when all were.
    doubts: tuple[str, ...] = ()
    statics: tuple[Placed, ...] = ()
    at_rest: tuple[Placed, ...] = ()
    containers: tuple[Placed, ...] = ()
    in_use: frozenset[tuple[str, int]] = frozenset()
    range: RangeUse | None = None


@dataclass(frozen=True)
class Fleet:
    """What the rules across hosts say."""

    findings: tuple[f.Finding, ...] = ()
    #: By host, what could not be judged.
    outcomes: t.Mapping[str, tuple[f.Outcome, ...]] = field(default_factory=dict)
    #: Guests compared, each counted once.
    guests: int = 0
    equal_by_chance: int = 0
    expected_by_chance: float = 0.0
    #: By host, what to ask its loaded policy, as isolation_check takes it.
    questions: t.Mapping[str, list[dict[str, t.Any]]] = field(default_factory=dict)


def view(host: str, snapshot: Snapshot) -> View:
    """The host's part in the comparison. ``host`` is its name in the inventory."""
    placed = place(host, snapshot)
    stock = orphans.stock(host, snapshot, (one.level for one in placed.guests), bool(placed.doubts))
    return View(
        host,
        placed.guests,
        host_storage(host, snapshot),
        stock,
        placed.doubts,
        placed.statics,
        placed.at_rest,
        placed.containers,
        placed.in_use,
        range_use.use(snapshot, placed.guests),
    )


def judge(
    views: t.Sequence[View],
    unread: t.Sequence[str] = (),
    pools: t.Sequence[t.Sequence[str]] = (),
    ledger: t.Sequence[Row] = (),
    answers: Answers | None = None,
) -> Fleet:
    """Compare all hosts. ``unread`` are hosts of the fleet that could not be read.

    ``pools`` name hosts that guests migrate between, ``ledger`` holds the labels that were given out, and ``answers``
    are what hosts said to the questions of an earlier call.
    """
    sharing = Sharing([one.storage for one in views])
    near = Neighbours([one.host for one in views], sharing, pools)
    placed, twice = twofold.split([one for each in views for one in each.guests])
    statics = [one for each in views for one in each.statics]
    running, at_rest = reach.Held(placed), reach.Held(_at_rest(views, placed))
    levels = {**running.first, **at_rest.first}
    levels.update((one.key, one) for one in statics if one.key not in levels)
    compared = compare(levels)

    groups, chance_groups = reach.groups(running, at_rest, compared.below, sharing, near)
    doubts = {one.host: one.doubts for one in views if one.doubts}
    if compared.skipped:
        _doubt(doubts, (one for one in (*placed, *statics) if one.key in compared.skipped))
    meetings = meeting.meetings(statics, compared.below, groups, near)
    groups += _containers(views, doubts)

    confirmation = Confirmation(groups, answers)
    settled = orphans.settle([one.stock for one in views], sharing, unread)
    told = {group.key for group in groups} | {each.key for each in meetings}
    chance_groups = [group for group in chance_groups if group[0].key not in told]
    guests = {one.who: one for one in placed if one.uuid}
    equal = chance.equal(chance_groups)
    expected = chance.expected(one.host for one in guests.values() if len(one.bits) == 2)
    ranges = {one.host: one.range for one in views if one.range is not None}
    findings = [
        *(confirmation.finding(group, **_copied(group.key)) for group in groups),
        *(one.finding() for one in meetings),
        *settled.findings,
        *([chance.finding(chance_groups, equal, expected)] if chance_groups else []),
        *range_use.of_hosts(ranges),
        *range_use.between_hosts(ranges, statics, near),
        *strays.copied(statics, told),
        *strays.drift(ledger, statics, (one.uuid for one in guests.values()), not unread and not doubts),
        *twofold.findings(twice),
    ]
    return Fleet(
        tuple(sorted(findings, key=f.order)),
        _outcomes(views, doubts, settled),
        len(guests),
        equal,
        expected,
        {host: [one.check() for one in asked] for host, asked in sorted(confirmation.questions.items())},
    )


def _at_rest(views: t.Sequence[View], placed: t.Iterable[Placed]) -> list[Placed]:
    """Files of guests that are off, without those whose owner runs elsewhere."""
    found = [one for each in views for one in each.at_rest]
    if not found:
        return []
    in_use = {name for each in views for name in each.in_use}
    running = {one.uuid for one in placed}
    return [one for one in found if one.uuid not in running and not any(name in in_use for name in one.names)]


def _containers(views: t.Iterable[View], doubts: dict[str, tuple[str, ...]]) -> list[reach.Group]:
    groups: list[reach.Group] = []
    for each in views:
        if each.containers:
            made, skipped = reach.containers(each.host, each.containers, each.guests)
            groups += made
            _doubt(doubts, (one for one in (*each.containers, *each.guests) if one.key in skipped))
    return groups


def _doubt(doubts: dict[str, tuple[str, ...]], skipped: t.Iterable[Placed]) -> None:
    for host in sorted({one.host for one in skipped}):
        if _TOO_MANY not in doubts.get(host, ()):
            doubts[host] = (*doubts.get(host, ()), _TOO_MANY)


def _copied(key: str) -> dict[str, t.Any]:
    return {"copied_from_documentation": True} if strays.is_example(key) else {}


def _outcomes(
    views: t.Iterable[View], doubts: t.Mapping[str, t.Sequence[str]], settled: orphans.Settled
) -> dict[str, tuple[f.Outcome, ...]]:
    outcomes: dict[str, tuple[f.Outcome, ...]] = {}
    for one in views:
        rules = (SHARED, LOCAL, MEETING, *([ENGINES] if one.containers else []))
        why = [(rule, doubts.get(one.host, ())) for rule in rules]
        why.append((ORPHAN, settled.whys(one.host)))
        unknown = tuple(f.Outcome(rule.id, f.UNKNOWN, "; ".join(whys[:5])) for rule, whys in why if whys)
        if unknown:
            outcomes[one.host] = unknown
    return outcomes
