# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches whom now: the edges of the graph, told as groups.

One reaches another when its level dominates the other's *and* it can come to the other's files: on the same host
(class E1), or on another host through storage that carries labels on both (class E2). There is one group per dominating
level and class (and host, for E1), never one per pair. What is equal with no way to come to the files is left to
chance (class E4).

Block devices share no labels: theirs live in each host's own ``/dev``. A guest is reached through storage only when it
has a file there. One whose files are not known, or lie on a mount that is not known, is taken to have files on all
of it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import itertools
import typing as t
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from ...facts.sharing import Sharing
from ...selinux.dominance import compare
from ..finding import FleetHit
from ..rules.image_repairs import NO_LABEL_BY_PATH
from .labelled import FILE, Party

#: Members of a group in its evidence.
MAX_MEMBERS = 500
_FIX_AT_REST = (
    "The files in the evidence are at rest and still carry categories that a running guest has. Make sure that no "
    "process on any host has them open, then set the label that their folder gives: restorecon -F PATH, on each of "
    f"these files only. {NO_LABEL_BY_PATH} The running guest is left as it is."
)


class LevelHolders:
    """Holders of each level. Most levels of a large fleet have one holder, so those are stored apart."""

    def __init__(self, members: t.Iterable[Party]) -> None:
        #: One holder of each level, by its key.
        self.first: dict[str, Party] = {}
        #: All holders, where there are more.
        self.several: dict[str, list[Party]] = {}
        first, several_ = self.first, self.several
        for party in members:
            key = party.key
            if key not in first:
                first[key] = party
            elif key in several_:
                several_[key].append(party)
            else:
                several_[key] = [first[key], party]

    def of(self, key: str) -> t.Sequence[Party]:
        """All holders of a level."""
        if key in self.several:
            return self.several[key]
        return (self.first[key],) if key in self.first else ()

    def items(self) -> t.Iterator[tuple[str, t.Sequence[Party]]]:
        """All levels with their holders."""
        return ((key, self.of(key)) for key in self.first)


@dataclass(frozen=True)
class Group:
    """All parties that one level reaches, in one class."""

    reach: str
    #: The host of class E1.
    host: str
    #: The level that reaches, by its key.
    key: str
    reaching: t.Sequence[Party]
    reached: t.Sequence[Party]
    #: Class E2: storage on which they meet, and the proof that hosts share it.
    storage: t.Mapping[str, str] = field(default_factory=dict)
    #: Containers against guests, not guests against guests.
    containers: bool = False

    @property
    def members(self) -> list[Party]:
        """All members, each once."""
        return in_order({id(party): party for party in (*self.reaching, *self.reached)}.values())

    def hit(self, **more: t.Any) -> FleetHit:
        """The group as a hit; ``more`` is evidence, and the severity where it is not the rule's."""
        members = self.members
        reaching = {id(party) for party in self.reaching}
        equal = [party for party in members if party.key == self.key]
        lower = [party for party in members if party.key != self.key and id(party) not in reaching]
        upper = [party for party in members if party.key != self.key and id(party) in reaching]
        severity = more.pop("severity", None)
        evidence: dict[str, t.Any] = {"level": self.key, **listed("guests", equal), **more}
        evidence["hosts"] = sorted({party.host for party in members})
        evidence.update(listed("reaches", lower) if lower else {})
        evidence.update(listed("reached_by", upper) if upper else {})
        if self.storage:
            evidence["storage"] = sorted(self.storage)
            evidence["shared_by"] = sorted(set(self.storage.values()))
        # The members are part of the finding's identity: a waiver of today's pair must not cover tomorrow's third.
        names = sorted({party.identity for party in members})
        key = "\0".join([self.key, *names])
        fix, cost = (_FIX_AT_REST, "none") if self._only_files() else (None, None)
        return FleetHit(self.key, key, evidence, cost, fix, severity, host=self.host, reach=self.reach)

    def _only_files(self) -> bool:
        """Whether all reached parties, beside the guests that reach them, are files at rest."""
        reaching = {id(party) for party in self.reaching}
        guests = {party.identity for party in self.reaching}
        return len(guests) == 1 and all(party.kind == FILE for party in self.members if id(party) not in reaching)


def listed(name: str, members: t.Sequence[Party]) -> dict[str, t.Any]:
    """Members as evidence, and their number when there are too many to name."""
    evidence: dict[str, t.Any] = {name: [party.evidence() for party in _shown(members)]}
    if len(members) > MAX_MEMBERS:
        evidence[f"{name}_in_all"] = len(members)
    return evidence


def _shown(members: t.Sequence[Party]) -> t.Sequence[Party]:
    """As many members as evidence has room for, of each host in turn: no host displaces those of others."""
    if len(members) <= MAX_MEMBERS:
        return members
    by_host: dict[str, list[Party]] = defaultdict(list)
    for party in members:
        by_host[party.host].append(party)
    in_turn = (party for turn in itertools.zip_longest(*by_host.values()) for party in turn if party is not None)
    return in_order(itertools.islice(in_turn, MAX_MEMBERS))


def in_order(members: t.Iterable[Party]) -> list[Party]:
    """By host, then by name."""
    return sorted(members, key=lambda party: (party.host, party.name, party.uuid, party.key, party.kind))


def several(group: t.Sequence[Party]) -> bool:
    """Whether the group has more than one guest."""
    if len(group) == 2:
        return group[0].identity != group[1].identity
    return len({party.identity for party in group}) > 1


def groups(
    running: LevelHolders, at_rest: LevelHolders, below: t.Mapping[str, t.Sequence[str]], sharing: Sharing
) -> list[Group]:
    """Groups of the classes E1 and E2 among parties that may meet.

    ``running`` reach and are reached; ``at_rest`` are files not in use, which are only reached.
    """
    result: list[Group] = []
    single = [key for key in {*below, *at_rest.first} if key in running.first and key not in running.several]
    for key in (*running.several, *single):
        holders = running.of(key)
        reached = owned([party for k in (*below.get(key, ()), key) for party in at_rest.of(k)], holders)
        reached += [party for k in below.get(key, ()) for party in running.of(k)]
        if reached or several(holders):
            victims = [*holders, *reached]
            result += [*_same_host(key, holders, victims), *_shared_storage(key, holders, victims, sharing)]
    return result


def owned(files: t.Sequence[Party], holders: t.Sequence[Party]) -> list[Party]:
    """Files at rest, each with the identity of the guest that uses it where that is one of the holders."""
    if not files:
        return []
    by_name = {name: holder.identity for holder in reversed(holders) for name in holder.names}
    users = ((file, next((by_name[name] for name in file.names if name in by_name), file.identity)) for file in files)
    return [file if user == file.identity else replace(file, identity=user) for file, user in users]


def _same_host(key: str, holders: t.Sequence[Party], victims: t.Iterable[Party]) -> t.Iterator[Group]:
    """Class E1: one group per host."""
    here: dict[str, list[Party]] = defaultdict(list)
    for party in victims:
        here[party.host].append(party)
    for host in sorted({party.host for party in holders}):
        if several(here[host]):
            yield Group("E1", host, key, [party for party in holders if party.host == host], here[host])


def _shared_storage(
    key: str, holders: t.Sequence[Party], victims: t.Iterable[Party], sharing: Sharing
) -> t.Iterator[Group]:
    """Class E2: one group over all hosts, with the storage on which the pairs meet."""
    by_storage: dict[str, list[Party]] = defaultdict(list)
    for party in victims:
        for storage in sharing.keys_of_files(party.host, party.files):
            by_storage[storage].append(party)
    reaching: dict[int, Party] = {}
    reached: dict[int, Party] = {}
    met: dict[str, str] = {}
    for storage, owners in by_storage.items():
        attackers = [party for party in holders if storage in sharing.keys_of(party.host)]
        hit = with_another_elsewhere(owners, attackers)
        if hit:
            met[storage] = sharing.proof(storage)
            reached.update((id(party), party) for party in hit)
            reaching.update((id(party), party) for party in with_another_elsewhere(attackers, hit))
    if met:
        yield Group("E2", "", key, list(reaching.values()), list(reached.values()), met)


def with_another_elsewhere(members: t.Sequence[Party], others: t.Iterable[Party]) -> list[Party]:
    """Members for which the others include another guest on another host."""
    places = {(party.identity, party.host) for party in others}
    names, hosts = Counter(identity for identity, _host in places), Counter(host for _identity, host in places)
    return [
        party
        for party in members
        if len(places) - names[party.identity] - hosts[party.host] + ((party.identity, party.host) in places) > 0
    ]


def containers(host: str, members: t.Sequence[Party], guests: t.Sequence[Party]) -> tuple[list[Group], frozenset[str]]:
    """Compare a host's containers with its guests, both ways: one group per container level, and the levels skipped."""
    container_levels, guest_levels = LevelHolders(members), LevelHolders(guests)
    compared = compare({**guest_levels.first, **container_levels.first})
    result: list[Group] = []
    above: dict[str, list[str]] = defaultdict(list)
    for key, lower in compared.below.items():
        for lower_key in lower:
            above[lower_key].append(key)
    for key, group in sorted(container_levels.items()):
        upper = [guest for k in (key, *above.get(key, ())) for guest in guest_levels.of(k)]
        reached = [guest for k in (key, *compared.below.get(key, ())) for guest in guest_levels.of(k)]
        if upper or reached:
            result.append(Group("E1", host, key, [*group, *upper], [*group, *reached], containers=True))
    return result, compared.skipped
