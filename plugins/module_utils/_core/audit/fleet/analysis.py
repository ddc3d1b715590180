# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as a whole: what of each host is compared, and what comes of it.

libvirt keeps category pairs apart inside one daemon only. Here all that carries categories in the fleet is laid side by
side: a directed graph, in which one reaches another when its level dominates the other's and it can come to the
other's files.

- who stands where: labelled.py; which level dominates which: selinux/dominance.py
- which hosts meet: facts/storage.py, host_groups.py
- classes E1 and E2, now: reach_now.py; E3, once guests meet: reach_on_migration.py; E4, by chance: reach_by_chance.py
- one uuid on two hosts: duplicate_uuids.py; ranges of daemons: category_ranges.py
- labels that went astray: static_labels.py; labels of no guest on shared storage: orphans.py
- what the loaded policy says: policy_answers.py

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass, field

from ...allocate.ledger import Row
from ...facts.storage import HostStorage, Sharing, host_storage
from ...selinux.dominance import compare
from ...snapshot.model import Snapshot
from .. import finding as f
from ..rules.fleet import ENGINES, LOCAL, MEETING, RULES, SHARED
from ..rules.image import ORPHAN
from . import category_ranges, duplicate_uuids, orphans, reach_by_chance, reach_now, reach_on_migration, static_labels
from .category_ranges import RangeUse
from .host_groups import Neighbours
from .labelled import Placed, place
from .orphans import Stock
from .policy_answers import Answers, Confirmation

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
    stock = orphans.stock(host, snapshot, placed.guests, bool(placed.doubts))
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
        category_ranges.use(snapshot, placed.guests),
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
    placed = [one for each in views for one in each.guests]
    twice = duplicate_uuids.twice(placed)
    placed = duplicate_uuids.told_apart(placed, twice) if twice else placed
    in_use = {name for each in views for name in each.in_use} if any(each.at_rest for each in views) else set()
    guests = {one.who: one for one in placed if one.uuid}
    uuids = {one.uuid for one in guests.values()}

    doubts = {one.host: one.doubts for one in views if one.doubts}
    groups: list[reach_now.Group] = []
    meetings: list[reach_on_migration.Meeting] = []
    for domain in _domains(views, near):
        found = _Domain(domain, twice, in_use, uuids)
        groups += found.groups(sharing)
        meetings += found.meetings(near)
        groups += found.containers()
        _doubt(doubts, found.skipped)

    confirmation = Confirmation(groups, answers)
    settled = orphans.settle([one.stock for one in views], sharing, unread)
    told = {group.key for group in groups} | {each.key for each in meetings}
    by_chance = reach_by_chance.count(list(guests.values()), told)
    statics = [one for each in views for one in each.statics]
    ranges = {one.host: one.range for one in views if one.range is not None}
    findings = [
        *(confirmation.finding(group, **_copied(group.key)) for group in groups),
        *(each.finding() for each in meetings),
        *settled.findings,
        *([by_chance.finding()] if by_chance.equal else []),
        *category_ranges.of_hosts(ranges),
        *category_ranges.between_hosts(ranges, statics, near),
        *static_labels.copied(statics, told),
        *static_labels.drift(ledger, statics, uuids, not unread and not doubts),
        *duplicate_uuids.findings(twice.values()),
    ]
    return Fleet(
        tuple(sorted(findings, key=f.order)),
        _outcomes(views, doubts, settled),
        len(guests),
        by_chance.equal,
        by_chance.expected,
        {host: [one.check() for one in asked] for host, asked in sorted(confirmation.questions.items())},
    )


def _domains(views: t.Iterable[View], near: Neighbours) -> list[list[View]]:
    """Hosts that share storage or guests: whatever reaches another is inside one such domain."""
    found: dict[int, list[View]] = defaultdict(list)
    for one in views:
        found[near.domains[one.host]].append(one)
    return list(found.values())


class _Domain:
    """What reaches what inside a domain."""

    def __init__(
        self,
        views: t.Sequence[View],
        twice: t.Mapping[str, object],
        in_use: t.Collection[tuple[str, int]],
        uuids: t.Container[str],
    ) -> None:
        self._views = views
        placed = [one for each in views for one in each.guests]
        self._running = reach_now.Held(duplicate_uuids.told_apart(placed, twice) if twice else placed)
        # The owner of a file may run elsewhere: then it carries that guest's label by right.
        self._at_rest = reach_now.Held(
            one
            for each in views
            for one in each.at_rest
            if one.uuid not in uuids and not any(name in in_use for name in one.names)
        )
        self._statics = reach_now.Held(one for each in views for one in each.statics)
        compared = compare({**self._statics.first, **self._at_rest.first, **self._running.first})
        self._below = compared.below
        self._found: list[reach_now.Group] = []
        #: Who could not be compared with all others.
        self.skipped = [
            one for held in (self._running, self._statics) for key in compared.skipped for one in held.of(key)
        ]

    def groups(self, sharing: Sharing) -> list[reach_now.Group]:
        """Classes E1 and E2."""
        self._found = reach_now.groups(self._running, self._at_rest, self._below, sharing)
        return self._found

    def meetings(self, near: Neighbours) -> list[reach_on_migration.Meeting]:
        """Class E3, without what the groups tell of."""
        return reach_on_migration.meetings(self._statics, self._below, self._found, near)

    def containers(self) -> list[reach_now.Group]:
        """Containers against guests of the same host."""
        groups: list[reach_now.Group] = []
        for each in self._views:
            if each.containers:
                made, skipped = reach_now.containers(each.host, each.containers, each.guests)
                groups += made
                self.skipped += [one for one in (*each.containers, *each.guests) if one.key in skipped]
        return groups


def _doubt(doubts: dict[str, tuple[str, ...]], skipped: t.Iterable[Placed]) -> None:
    for host in sorted({one.host for one in skipped}):
        if _TOO_MANY not in doubts.get(host, ()):
            doubts[host] = (*doubts.get(host, ()), _TOO_MANY)


def _copied(key: str) -> dict[str, t.Any]:
    return {"copied_from_documentation": True} if static_labels.is_example(key) else {}


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
