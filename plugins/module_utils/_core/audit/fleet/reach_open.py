# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that reach one another's files if storage is shared of which that is open (facts/sharing.py).

Such a pair is no finding, and its hosts are no pass. All doubts of a fleet have one text, so that a report folds them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass, field

from ...facts.sharing import OpenPair, Sharing
from ...result import Reason
from ...selinux.dominance import compare
from .labelled import Party
from .reach_now import LevelHolders, owned, with_another_elsewhere

#: Compared pairs of storages per level. Beyond, all hosts of the level are in doubt.
_MAX_PAIRS = 20_000


@dataclass
class OpenReach:
    """Hosts in doubt, and pairs that are neither a finding nor chance."""

    #: Hosts of guests that run, and of files at rest.
    now: set[str] = field(default_factory=set)
    #: Hosts of static labels that may meet once a guest migrates.
    once_moved: set[str] = field(default_factory=set)
    #: Pairs of running guests with equal levels, by level.
    equal: dict[str, int] = field(default_factory=dict)
    example: OpenPair | None = None

    def doubt(self, hosts: t.Collection[str]) -> Reason:
        """The doubt, the same for each host."""
        count = f"{len(hosts):,} hosts have guests" if len(hosts) != 1 else "a host has guests"
        text = (
            f"{count} whose labels reach guests elsewhere, and it is not known whether their storage is shared, such "
            f"as {self.example}; name in svirt_storage which mounts are one storage and which are not"
        )
        return Reason("storage_unsettled", text)


def find(
    running: t.Sequence[Party], at_rest: t.Sequence[Party], statics: t.Sequence[Party], sharing: Sharing
) -> OpenReach:
    """All doubts of a fleet."""
    result = OpenReach()
    hosts = {host for group in sharing.open_groups() for host in group}
    if not hosts:
        return result
    search = _Search(sharing)
    holders, files, labels = (
        LevelHolders(party for party in parties if party.host in hosts) for parties in (running, at_rest, statics)
    )
    for key, members in holders.several.items():
        met = search.meet(members, members)
        if met:
            result.equal[key] = len(met) * (len(met) - 1) // 2
            result.now.update(party.host for party in met)
    for members in labels.several.values():
        result.once_moved.update(party.host for party in search.meet(members, members))
    # Comparing levels that are not equal costs more, and is done only for hosts that are not in doubt already.
    if not hosts <= result.now:
        _unequal(search, result, holders, files, labels)
    result.once_moved -= result.now
    result.example = search.example
    return result


def _unequal(
    search: _Search, result: OpenReach, holders: LevelHolders, files: LevelHolders, labels: LevelHolders
) -> None:
    below = compare({**labels.first, **files.first, **holders.first}).below
    for key in {*below, *files.first}:
        reaching = holders.of(key)
        victims = owned([party for k in (*below.get(key, ()), key) for party in files.of(k)], reaching)
        victims += [party for k in below.get(key, ()) for party in holders.of(k)]
        result.now.update(party.host for party in search.meet(reaching, victims, result.now))
    for key, lower in below.items():
        victims = [party for k in lower for party in labels.of(k)]
        result.once_moved.update(party.host for party in search.meet(labels.of(key), victims, result.once_moved))


class _Search:
    """Search for pairs for which it is unknown whether they share storage."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self._access: dict[str, tuple[int, ...]] = {}
        self._mounts: dict[tuple[str, str], tuple[int, ...]] = {}
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], bool] = {}
        self.example: OpenPair | None = None

    def meet(
        self, holders: t.Sequence[Party], victims: t.Sequence[Party], settled: t.Container[str] = ()
    ) -> list[Party]:
        """Holders and victims with a partner; pairs with both hosts in ``settled`` are skipped."""
        if len(holders) == 2 and holders is victims:
            first, second = holders
            if first.host == second.host or first.identity == second.identity or not self._pair(first, second):
                return []
            met = [first, second]
        else:
            met = self._groups(
                [
                    holder
                    for holder in holders
                    if holder.host not in settled or any(victim.host not in settled for victim in victims)
                ],
                victims,
            )
        if met and self.example is None:
            self.example = self._example(met)
        return met

    def _pair(self, first: Party, second: Party) -> bool:
        return self._open(self._storage(first), self._of(second.host)) or self._open(
            self._storage(second), self._of(first.host)
        )

    def _groups(self, holders: t.Sequence[Party], victims: t.Sequence[Party]) -> list[Party]:
        if len({party.host for party in (*holders, *victims)}) < 2:
            return []
        by_access: dict[tuple[int, ...], list[Party]] = defaultdict(list)
        for holder in holders:
            by_access[self._of(holder.host)].append(holder)
        by_storage: dict[tuple[int, ...], list[Party]] = defaultdict(list)
        for victim in victims:
            by_storage[self._storage(victim)].append(victim)
        met: dict[int, Party] = {}
        pairs = 0
        for storage, owners in by_storage.items():
            for access, attackers in by_access.items():
                pairs += 1
                if pairs > _MAX_PAIRS or self._open(storage, access):
                    hit = with_another_elsewhere(owners, attackers)
                    met.update((id(party), party) for party in hit)
                    met.update((id(party), party) for party in with_another_elsewhere(attackers, hit))
        return list(met.values())

    def _of(self, host: str) -> tuple[int, ...]:
        access = self._access.get(host)
        if access is None:
            access = self._access[host] = tuple(self._sharing.numbers_of(host))
        return access

    def _storage(self, party: Party) -> tuple[int, ...]:
        files = party.files
        if files is None or len(files) != 1 or self._sharing.exports_any(party.host):
            return tuple(self._sharing.numbers_of_files(party.host, files))
        place = party.host, files[0][0]
        storage = self._mounts.get(place)
        if storage is None:
            storage = self._mounts[place] = tuple(self._sharing.numbers_of_files(party.host, files))
        return storage

    def _open(self, storage: tuple[int, ...], access: tuple[int, ...]) -> bool:
        if not storage or not access:
            return False
        key = storage, access
        is_open = self._known.get(key)
        if is_open is None:
            is_open = any(self._sharing.is_open(first, second) for first in storage for second in access)
            self._known[key] = is_open
        return is_open

    def _example(self, parties: t.Sequence[Party]) -> OpenPair | None:
        for owner in parties:
            for user in parties:
                for own in self._sharing.numbers_of_files(owner.host, owner.files):
                    for number in self._sharing.numbers_of(user.host) if user.host != owner.host else ():
                        if self._sharing.is_open(own, number):
                            return self._sharing.pair(owner.host, own, user.host, number)
        return None
