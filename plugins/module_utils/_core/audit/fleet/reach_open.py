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
from .labelled import Placed
from .reach_now import Held, owned, with_another_elsewhere

#: Pairs of storages that are looked at for one level. Beyond, all hosts of the level are in doubt.
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
        """The doubt, the same for each of the hosts."""
        count = f"{len(hosts):,} hosts have guests" if len(hosts) != 1 else "a host has guests"
        text = (
            f"{count} whose labels reach guests elsewhere, and it is not known whether their storage is shared, such "
            f"as {self.example}; name in svirt_storage which mounts are one storage and which are not"
        )
        return Reason("storage_unsettled", text)


def find(
    running: t.Sequence[Placed], at_rest: t.Sequence[Placed], statics: t.Sequence[Placed], sharing: Sharing
) -> OpenReach:
    """All doubts of a fleet."""
    result = OpenReach()
    hosts = {host for group in sharing.open_groups() for host in group}
    if not hosts:
        return result
    search = _Search(sharing)
    holders, files, labels = (
        Held(one for one in parties if one.host in hosts) for parties in (running, at_rest, statics)
    )
    for key, members in holders.several.items():
        met = search.meet(members, members)
        if met:
            result.equal[key] = len(met) * (len(met) - 1) // 2
            result.now.update(one.host for one in met)
    for members in labels.several.values():
        result.once_moved.update(one.host for one in search.meet(members, members))
    # Comparing levels that are not equal costs more, and is done only for hosts that are not in doubt already.
    if not hosts <= result.now:
        _unequal(search, result, holders, files, labels)
    result.once_moved -= result.now
    result.example = search.example
    return result


def _unequal(search: _Search, result: OpenReach, holders: Held, files: Held, labels: Held) -> None:
    below = compare({**labels.first, **files.first, **holders.first}).below
    for key in {*below, *files.first}:
        reaching = holders.of(key)
        victims = owned([one for k in (*below.get(key, ()), key) for one in files.of(k)], reaching)
        victims += [one for k in below.get(key, ()) for one in holders.of(k)]
        result.now.update(one.host for one in search.meet(reaching, victims, result.now))
    for key, lower in below.items():
        victims = [one for k in lower for one in labels.of(k)]
        result.once_moved.update(one.host for one in search.meet(labels.of(key), victims, result.once_moved))


class _Search:
    """Looks for pairs between which it is open that storage is shared."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self._access: dict[str, tuple[int, ...]] = {}
        self._mounts: dict[tuple[str, str], tuple[int, ...]] = {}
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], bool] = {}
        self.example: OpenPair | None = None

    def meet(
        self, holders: t.Sequence[Placed], victims: t.Sequence[Placed], settled: t.Container[str] = ()
    ) -> list[Placed]:
        """Those holders and victims for which there is a partner; both of ``settled`` hosts need not be looked at."""
        if len(holders) == 2 and holders is victims:
            one, other = holders
            if one.host == other.host or one.who == other.who or not self._pair(one, other):
                return []
            found = [one, other]
        else:
            found = self._groups(
                [one for one in holders if one.host not in settled or any(two.host not in settled for two in victims)],
                victims,
            )
        if found and self.example is None:
            self.example = self._example(found)
        return found

    def _pair(self, one: Placed, other: Placed) -> bool:
        return self._open(self._storage(one), self._of(other.host)) or self._open(
            self._storage(other), self._of(one.host)
        )

    def _groups(self, holders: t.Sequence[Placed], victims: t.Sequence[Placed]) -> list[Placed]:
        if len({one.host for one in (*holders, *victims)}) < 2:
            return []
        by_access: dict[tuple[int, ...], list[Placed]] = defaultdict(list)
        for one in holders:
            by_access[self._of(one.host)].append(one)
        by_storage: dict[tuple[int, ...], list[Placed]] = defaultdict(list)
        for one in victims:
            by_storage[self._storage(one)].append(one)
        found: dict[int, Placed] = {}
        pairs = 0
        for storage, owners in by_storage.items():
            for access, attackers in by_access.items():
                pairs += 1
                if pairs > _MAX_PAIRS or self._open(storage, access):
                    hit = with_another_elsewhere(owners, attackers)
                    found.update((id(one), one) for one in hit)
                    found.update((id(one), one) for one in with_another_elsewhere(attackers, hit))
        return list(found.values())

    def _of(self, host: str) -> tuple[int, ...]:
        access = self._access.get(host)
        if access is None:
            access = self._access[host] = tuple(self._sharing.numbers_of(host))
        return access

    def _storage(self, one: Placed) -> tuple[int, ...]:
        files = one.files
        if files is None or len(files) != 1 or self._sharing.exports_any(one.host):
            return tuple(self._sharing.numbers_of_files(one.host, files))
        place = one.host, files[0][0]
        storage = self._mounts.get(place)
        if storage is None:
            storage = self._mounts[place] = tuple(self._sharing.numbers_of_files(one.host, files))
        return storage

    def _open(self, storage: tuple[int, ...], access: tuple[int, ...]) -> bool:
        if not storage or not access:
            return False
        key = storage, access
        known = self._known.get(key)
        if known is None:
            known = any(self._sharing.is_open(one, other) for one in storage for other in access)
            self._known[key] = known
        return known

    def _example(self, parties: t.Sequence[Placed]) -> OpenPair | None:
        for one in parties:
            for other in parties:
                for mine in self._sharing.numbers_of_files(one.host, one.files):
                    for theirs in self._sharing.numbers_of(other.host) if other.host != one.host else ():
                        if self._sharing.is_open(mine, theirs):
                            return self._sharing.pair(one.host, mine, other.host, theirs)
        return None
