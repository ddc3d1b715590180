# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of hosts that the fleet's rules judge.

libvirt keeps category pairs apart inside one daemon only. All that carries categories in the fleet is compared as a
directed graph: one reaches another when its level dominates the other's and it can come to the other's files.

- parties and their levels: labelled.py; dominance of levels: selinux/dominance.py
- hosts that meet: facts/storage.py, host_groups.py
- classes E1 and E2, now: reach_now.py; E3, once guests meet: reach_on_migration.py; E4, by chance: reach_by_chance.py
- one uuid on two hosts: duplicate_uuids.py; ranges of daemons: category_ranges.py
- answers of the loaded policy: policy_answers.py

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass

from ...allocate.ledger import Row
from ...facts.sharing import Sharing
from ...facts.storage import HostStorage, host_storage
from ...facts.storage_statements import NOTHING, StorageStatements
from ...result import Reason
from ...selinux.dominance import compare
from ...snapshot.model import Snapshot
from . import category_ranges, duplicate_uuids, orphans, reach_by_chance, reach_now, reach_on_migration, reach_open
from .category_ranges import RangeUse
from .host_groups import Neighbours
from .labelled import Placed, place
from .orphans import Stock
from .policy_answers import Answers, Confirmation

_TOO_MANY = Reason(
    "too_many_labels",
    "guests here have labels of so many categories, or so many alike, that not all could be compared",
)


@dataclass(frozen=True)
class View:
    """What comparing a host with others needs: small, so that a fleet's snapshots need not be held."""

    host: str
    guests: tuple[Placed, ...]
    storage: HostStorage
    stock: Stock
    #: Why guests here could not be compared; empty when all were.
    doubts: tuple[Reason, ...] = ()
    statics: tuple[Placed, ...] = ()
    at_rest: tuple[Placed, ...] = ()
    containers: tuple[Placed, ...] = ()
    range: RangeUse | None = None


@dataclass(frozen=True)
class Comparison:
    """Facts about all hosts, for the fleet's rules."""

    sharing: Sharing
    near: Neighbours
    #: Guests that run, each once.
    guests: t.Sequence[Placed]
    #: The uuids of guests that run.
    running: t.Collection[str]
    #: By uuid, guests that run on several hosts.
    twice: t.Mapping[str, t.Sequence[Placed]]
    #: Classes E1 and E2, containers included.
    groups: t.Sequence[reach_now.Group]
    confirmation: Confirmation
    #: Class E3.
    meetings: t.Sequence[reach_on_migration.Meeting]
    #: Guests that reach one another if storage is shared of which that is open.
    open: reach_open.OpenReach
    #: Parties that findings of the classes E1 to E3 name together, by level.
    reported: t.Mapping[str, t.Sequence[t.Sequence[Placed]]]
    by_chance: reach_by_chance.Chance
    statics: t.Sequence[Placed]
    #: Daemons' ranges by host.
    ranges: t.Mapping[str, RangeUse]
    ledger: t.Sequence[Row]
    #: By host, why guests could not be compared.
    doubts: t.Mapping[str, t.Sequence[Reason]]
    #: Hosts of the fleet that could not be read.
    unread: t.Sequence[str]

    @property
    def whole(self) -> bool:
        """Whether all hosts were read and compared."""
        return not self.unread and not self.doubts


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
        category_ranges.use(snapshot, placed.guests),
    )


def compare_hosts(
    views: t.Sequence[View],
    unread: t.Sequence[str] = (),
    pools: t.Sequence[t.Sequence[str]] = (),
    ledger: t.Sequence[Row] = (),
    answers: Answers | None = None,
    statements: StorageStatements = NOTHING,
) -> Comparison:
    """Compare all hosts. The arguments are those of analysis.judge."""
    sharing = Sharing([one.storage for one in views], statements)
    near = Neighbours([one.host for one in views], sharing, pools)
    placed = [one for each in views for one in each.guests]
    twice = duplicate_uuids.twice(placed)
    placed = duplicate_uuids.told_apart(placed, twice) if twice else placed
    on: dict[str, list[Placed]] = defaultdict(list)
    for one in placed:
        on[one.host].append(one)
    guests = _each_once(placed)

    doubts = {one.host: one.doubts for one in views if one.doubts}
    groups: list[reach_now.Group] = []
    meetings: list[reach_on_migration.Meeting] = []
    for hosts in _domains(views, near):
        domain = _Domain(hosts, on)
        groups += domain.groups(sharing)
        meetings += domain.meetings(near)
        groups += domain.containers()
        _doubt(doubts, domain.skipped)
    reported: dict[str, list[t.Sequence[Placed]]] = defaultdict(list)
    for group in groups:
        reported[group.key].append(group.members)
    for meeting in meetings:
        reported[meeting.key].append(meeting.members)
    open_reach = reach_open.find(placed, [one for each in views for one in each.at_rest], _statics(views), sharing)
    return Comparison(
        sharing=sharing,
        near=near,
        guests=guests,
        running={one.uuid for one in guests},
        twice=twice,
        groups=groups,
        confirmation=Confirmation(groups, answers),
        meetings=meetings,
        open=open_reach,
        reported=reported,
        by_chance=reach_by_chance.count(guests, reported, open_reach.equal),
        statics=_statics(views),
        ranges={one.host: one.range for one in views if one.range is not None},
        ledger=ledger,
        doubts=doubts,
        unread=unread,
    )


def _each_once(placed: t.Sequence[Placed]) -> list[Placed]:
    guests = [one for one in placed if one.uuid]
    if len({one.who for one in guests}) == len(guests):
        return guests
    return list({(one.who, one.key): one for one in guests}.values())


def _statics(views: t.Iterable[View]) -> list[Placed]:
    return [one for each in views for one in each.statics]


def _domains(views: t.Iterable[View], near: Neighbours) -> list[list[View]]:
    """Hosts that share storage or guests: whatever reaches another is inside one such domain."""
    found: dict[int, list[View]] = defaultdict(list)
    for one in views:
        found[near.domains[one.host]].append(one)
    return list(found.values())


class _Domain:
    """Reach inside a domain."""

    def __init__(self, views: t.Sequence[View], on: t.Mapping[str, t.Sequence[Placed]]) -> None:
        self._views = views
        self._running = reach_now.Held(one for each in views for one in on.get(each.host, ()))
        self._at_rest = reach_now.Held(one for each in views for one in each.at_rest)
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
        """E3 groups not already reported as E1 or E2."""
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


def _doubt(doubts: dict[str, tuple[Reason, ...]], skipped: t.Iterable[Placed]) -> None:
    for host in sorted({one.host for one in skipped}):
        if _TOO_MANY not in doubts.get(host, ()):
            doubts[host] = (*doubts.get(host, ()), _TOO_MANY)
