# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of hosts that the fleet's rules judge.

libvirt keeps category pairs apart inside one daemon only. All labelled parties of the fleet are compared as
a directed graph: a party reaches another when its level dominates the other's and it can access the other's files.

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
from .host_groups import HostGroups
from .labelled import Party, labelled_parties
from .orphans import Stock
from .policy_answers import Answers, Confirmation

_TOO_MANY = Reason(
    "too_many_labels",
    "guests here have labels of so many categories, or so many alike, that not all could be compared",
)


@dataclass(frozen=True)
class ComparedHost:
    """A host's data for the comparison: small, so that a fleet's snapshots need not be held in memory."""

    host: str
    guests: tuple[Party, ...]
    storage: HostStorage
    stock: Stock
    #: Why guests here could not be compared; empty when all were.
    doubts: tuple[Reason, ...] = ()
    statics: tuple[Party, ...] = ()
    at_rest: tuple[Party, ...] = ()
    containers: tuple[Party, ...] = ()
    range: RangeUse | None = None


@dataclass(frozen=True)
class Comparison:
    """Facts about all hosts, for the fleet's rules."""

    sharing: Sharing
    host_groups: HostGroups
    #: Running guests, each once.
    guests: t.Sequence[Party]
    #: Uuids of running guests.
    running: t.Collection[str]
    #: Guests that run on several hosts, by uuid.
    duplicates: t.Mapping[str, t.Sequence[Party]]
    #: Classes E1 and E2, containers included.
    groups: t.Sequence[reach_now.Group]
    confirmation: Confirmation
    #: Class E3.
    meetings: t.Sequence[reach_on_migration.Meeting]
    #: Guests that reach one another if storage is shared, where that is unknown.
    open: reach_open.OpenReach
    #: Parties that one finding of the classes E1 to E3 names, by level.
    reported: t.Mapping[str, t.Sequence[t.Sequence[Party]]]
    by_chance: reach_by_chance.Chance
    statics: t.Sequence[Party]
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


def compared_host(host: str, snapshot: Snapshot) -> ComparedHost:
    """The host's part in the comparison. ``host`` is its name in the inventory."""
    parties = labelled_parties(host, snapshot)
    stock = orphans.stock(host, snapshot, parties.guests, bool(parties.doubts))
    return ComparedHost(
        host,
        parties.guests,
        host_storage(host, snapshot),
        stock,
        parties.doubts,
        parties.statics,
        parties.at_rest,
        parties.containers,
        category_ranges.use(snapshot, parties.guests),
    )


def compare_hosts(
    compared_hosts: t.Sequence[ComparedHost],
    unread: t.Sequence[str] = (),
    pools: t.Sequence[t.Sequence[str]] = (),
    ledger: t.Sequence[Row] = (),
    answers: Answers | None = None,
    statements: StorageStatements = NOTHING,
) -> Comparison:
    """Compare all hosts. The arguments are those of analysis.judge."""
    sharing = Sharing([compared.storage for compared in compared_hosts], statements)
    host_groups = HostGroups([compared.host for compared in compared_hosts], sharing, pools)
    running = [guest for compared in compared_hosts for guest in compared.guests]
    duplicates = duplicate_uuids.duplicates(running)
    running = duplicate_uuids.with_distinct_identities(running, duplicates) if duplicates else running
    by_host: dict[str, list[Party]] = defaultdict(list)
    for guest in running:
        by_host[guest.host].append(guest)
    guests = _distinct_guests(running)

    doubts = {compared.host: compared.doubts for compared in compared_hosts if compared.doubts}
    groups: list[reach_now.Group] = []
    meetings: list[reach_on_migration.Meeting] = []
    for hosts in _host_groups(compared_hosts, host_groups):
        domain = _Domain(hosts, by_host)
        groups += domain.groups(sharing)
        meetings += domain.meetings(host_groups)
        groups += domain.containers()
        _doubt(doubts, domain.skipped)
    reported: dict[str, list[t.Sequence[Party]]] = defaultdict(list)
    for group in groups:
        reported[group.key].append(group.members)
    for meeting in meetings:
        reported[meeting.key].append(meeting.members)
    open_reach = reach_open.find(
        running, [party for compared in compared_hosts for party in compared.at_rest], _statics(compared_hosts), sharing
    )
    return Comparison(
        sharing=sharing,
        host_groups=host_groups,
        guests=guests,
        running={guest.uuid for guest in guests},
        duplicates=duplicates,
        groups=groups,
        confirmation=Confirmation(groups, answers),
        meetings=meetings,
        open=open_reach,
        reported=reported,
        by_chance=reach_by_chance.count(guests, reported, open_reach.equal),
        statics=_statics(compared_hosts),
        ranges={compared.host: compared.range for compared in compared_hosts if compared.range is not None},
        ledger=ledger,
        doubts=doubts,
        unread=unread,
    )


def _distinct_guests(parties: t.Sequence[Party]) -> list[Party]:
    guests = [guest for guest in parties if guest.uuid]
    if len({guest.identity for guest in guests}) == len(guests):
        return guests
    return list({(guest.identity, guest.key): guest for guest in guests}.values())


def _statics(compared_hosts: t.Iterable[ComparedHost]) -> list[Party]:
    return [party for compared in compared_hosts for party in compared.statics]


def _host_groups(compared_hosts: t.Iterable[ComparedHost], host_groups: HostGroups) -> list[list[ComparedHost]]:
    """Hosts that share storage or guests: no party reaches another outside of its group."""
    groups: dict[int, list[ComparedHost]] = defaultdict(list)
    for compared in compared_hosts:
        groups[host_groups.domains[compared.host]].append(compared)
    return list(groups.values())


class _Domain:
    """Reach inside a domain."""

    def __init__(self, compared_hosts: t.Sequence[ComparedHost], by_host: t.Mapping[str, t.Sequence[Party]]) -> None:
        self._compared_hosts = compared_hosts
        self._running = reach_now.LevelHolders(
            party for compared in compared_hosts for party in by_host.get(compared.host, ())
        )
        self._at_rest = reach_now.LevelHolders(party for compared in compared_hosts for party in compared.at_rest)
        self._statics = reach_now.LevelHolders(party for compared in compared_hosts for party in compared.statics)
        compared = compare({**self._statics.first, **self._at_rest.first, **self._running.first})
        self._below = compared.below
        self._groups: list[reach_now.Group] = []
        #: Parties that could not be compared with all others.
        self.skipped = [
            party for holders in (self._running, self._statics) for key in compared.skipped for party in holders.of(key)
        ]

    def groups(self, sharing: Sharing) -> list[reach_now.Group]:
        """Classes E1 and E2."""
        self._groups = reach_now.groups(self._running, self._at_rest, self._below, sharing)
        return self._groups

    def meetings(self, host_groups: HostGroups) -> list[reach_on_migration.Meeting]:
        """E3 groups not already reported as E1 or E2."""
        return reach_on_migration.meetings(self._statics, self._below, self._groups, host_groups)

    def containers(self) -> list[reach_now.Group]:
        """Containers against guests of the same host."""
        groups: list[reach_now.Group] = []
        for compared in self._compared_hosts:
            if compared.containers:
                container_groups, skipped = reach_now.containers(compared.host, compared.containers, compared.guests)
                groups += container_groups
                self.skipped += [party for party in (*compared.containers, *compared.guests) if party.key in skipped]
        return groups


def _doubt(doubts: dict[str, tuple[Reason, ...]], skipped: t.Iterable[Party]) -> None:
    for host in sorted({party.host for party in skipped}):
        if _TOO_MANY not in doubts.get(host, ()):
            doubts[host] = (*doubts.get(host, ()), _TOO_MANY)
