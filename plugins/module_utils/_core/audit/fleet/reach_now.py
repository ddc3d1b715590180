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
from .labelled import FILE, Placed

#: So many members of a group are in its evidence.
MAX_MEMBERS = 500
_FIX_AT_REST = (
    "The files in the evidence are at rest and still carry categories that a running guest has. Make sure that no "
    "process on any host has them open, then set the label that their folder gives: restorecon -F PATH, on each of "
    "these files only. The running guest is left as it is."
)


class Held:
    """Who holds which level. Most levels of a large fleet have one holder, so those are kept apart."""

    def __init__(self, members: t.Iterable[Placed]) -> None:
        #: One holder of each level, by its key.
        self.first: dict[str, Placed] = {}
        #: All holders, where there are more.
        self.several: dict[str, list[Placed]] = {}
        first, several_ = self.first, self.several
        for one in members:
            key = one.key
            if key not in first:
                first[key] = one
            elif key in several_:
                several_[key].append(one)
            else:
                several_[key] = [first[key], one]

    def of(self, key: str) -> t.Sequence[Placed]:
        """All holders of a level."""
        if key in self.several:
            return self.several[key]
        return (self.first[key],) if key in self.first else ()

    def items(self) -> t.Iterator[tuple[str, t.Sequence[Placed]]]:
        """All levels with their holders."""
        return ((key, self.of(key)) for key in self.first)


@dataclass(frozen=True)
class Group:
    """All that is reached by one level, in one class."""

    reach: str
    #: The host of class E1.
    host: str
    #: The level that reaches, by its key.
    key: str
    reaching: t.Sequence[Placed]
    reached: t.Sequence[Placed]
    #: Class E2: storage on which they meet, and how it is known that hosts share it.
    storage: t.Mapping[str, str] = field(default_factory=dict)
    #: Containers against guests, not guests against guests.
    containers: bool = False

    @property
    def members(self) -> list[Placed]:
        """Each once."""
        return in_order({id(one): one for one in (*self.reaching, *self.reached)}.values())

    def hit(self, **more: t.Any) -> FleetHit:
        """The group as a hit; ``more`` is evidence, and the severity where it is not the rule's."""
        members = self.members
        reaching = {id(one) for one in self.reaching}
        equal = [one for one in members if one.key == self.key]
        lower = [one for one in members if one.key != self.key and id(one) not in reaching]
        upper = [one for one in members if one.key != self.key and id(one) in reaching]
        severity = more.pop("severity", None)
        evidence: dict[str, t.Any] = {"level": self.key, **listed("guests", equal), **more}
        evidence["hosts"] = sorted({one.host for one in members})
        evidence.update(listed("reaches", lower) if lower else {})
        evidence.update(listed("reached_by", upper) if upper else {})
        if self.storage:
            evidence["storage"] = sorted(self.storage)
            evidence["shared_by"] = sorted(set(self.storage.values()))
        # Who is in the group is part of what the finding is: a waiver of today's pair must not cover tomorrow's third.
        names = sorted({one.who for one in members})
        key = "\0".join([self.key, *names])
        fix, cost = (_FIX_AT_REST, "none") if self._only_files() else (None, None)
        return FleetHit(self.key, key, evidence, cost, fix, severity, host=self.host, reach=self.reach)

    def _only_files(self) -> bool:
        """Whether all that is reached, beside the guests that reach it, are files at rest."""
        reaching = {id(one) for one in self.reaching}
        guests = {one.who for one in self.reaching}
        return len(guests) == 1 and all(one.kind == FILE for one in self.members if id(one) not in reaching)


def listed(name: str, members: t.Sequence[Placed]) -> dict[str, t.Any]:
    """Members as evidence, and their number when there are too many to name."""
    evidence: dict[str, t.Any] = {name: [one.told() for one in _shown(members)]}
    if len(members) > MAX_MEMBERS:
        evidence[f"{name}_in_all"] = len(members)
    return evidence


def _shown(members: t.Sequence[Placed]) -> t.Sequence[Placed]:
    """As many members as evidence has room for, of each host in turn: no host leaves out those of others."""
    if len(members) <= MAX_MEMBERS:
        return members
    by_host: dict[str, list[Placed]] = defaultdict(list)
    for one in members:
        by_host[one.host].append(one)
    in_turn = (one for turn in itertools.zip_longest(*by_host.values()) for one in turn if one is not None)
    return in_order(itertools.islice(in_turn, MAX_MEMBERS))


def in_order(members: t.Iterable[Placed]) -> list[Placed]:
    """By host, then by name."""
    return sorted(members, key=lambda one: (one.host, one.name, one.uuid, one.key, one.kind))


def several(group: t.Sequence[Placed]) -> bool:
    """Whether it is more than one guest."""
    if len(group) == 2:
        return group[0].who != group[1].who
    return len({one.who for one in group}) > 1


def groups(running: Held, at_rest: Held, below: t.Mapping[str, t.Sequence[str]], sharing: Sharing) -> list[Group]:
    """Groups of the classes E1 and E2 among those who may meet.

    ``running`` reach and are reached; ``at_rest`` are files that nobody runs with, which are only reached.
    """
    found: list[Group] = []
    single = [key for key in {*below, *at_rest.first} if key in running.first and key not in running.several]
    for key in (*running.several, *single):
        holders = running.of(key)
        others = owned([one for k in (*below.get(key, ()), key) for one in at_rest.of(k)], holders)
        others += [one for k in below.get(key, ()) for one in running.of(k)]
        if others or several(holders):
            victims = [*holders, *others]
            found += [*_same_host(key, holders, victims), *_shared_storage(key, holders, victims, sharing)]
    return found


def owned(files: t.Sequence[Placed], holders: t.Sequence[Placed]) -> list[Placed]:
    """Files at rest, each as the guest that uses it where that is one of the holders: it has the label by right."""
    if not files:
        return []
    by_name = {name: one.who for one in reversed(holders) for name in one.names}
    users = ((one, next((by_name[name] for name in one.names if name in by_name), one.who)) for one in files)
    return [one if who == one.who else replace(one, who=who) for one, who in users]


def _same_host(key: str, holders: t.Sequence[Placed], victims: t.Iterable[Placed]) -> t.Iterator[Group]:
    """Class E1: one group per host."""
    here: dict[str, list[Placed]] = defaultdict(list)
    for one in victims:
        here[one.host].append(one)
    for host in sorted({one.host for one in holders}):
        if several(here[host]):
            yield Group("E1", host, key, [one for one in holders if one.host == host], here[host])


def _shared_storage(
    key: str, holders: t.Sequence[Placed], victims: t.Iterable[Placed], sharing: Sharing
) -> t.Iterator[Group]:
    """Class E2: one group over all hosts, with the storage that the pairs meet on."""
    by_storage: dict[str, list[Placed]] = defaultdict(list)
    for one in victims:
        for storage in sharing.keys_of_files(one.host, one.files):
            by_storage[storage].append(one)
    reaching: dict[int, Placed] = {}
    reached: dict[int, Placed] = {}
    met: dict[str, str] = {}
    for storage, owners in by_storage.items():
        attackers = [one for one in holders if storage in sharing.keys_of(one.host)]
        hit = with_another_elsewhere(owners, attackers)
        if hit:
            met[storage] = sharing.proof(storage)
            reached.update((id(one), one) for one in hit)
            reaching.update((id(one), one) for one in with_another_elsewhere(attackers, hit))
    if met:
        yield Group("E2", "", key, list(reaching.values()), list(reached.values()), met)


def with_another_elsewhere(members: t.Sequence[Placed], others: t.Iterable[Placed]) -> list[Placed]:
    """Those of the members for which there is another guest, on another host, among the others."""
    places = {(one.who, one.host) for one in others}
    names, hosts = Counter(who for who, _host in places), Counter(host for _who, host in places)
    return [
        one for one in members if len(places) - names[one.who] - hosts[one.host] + ((one.who, one.host) in places) > 0
    ]


def containers(host: str, found: t.Sequence[Placed], guests: t.Sequence[Placed]) -> tuple[list[Group], frozenset[str]]:
    """A host's containers against its guests, either way: one group per container's level; and keys left uncompared."""
    boxes, machines = Held(found), Held(guests)
    compared = compare({**machines.first, **boxes.first})
    made: list[Group] = []
    above: dict[str, list[str]] = defaultdict(list)
    for key, lower in compared.below.items():
        for other in lower:
            above[other].append(key)
    for key, group in sorted(boxes.items()):
        upper = [one for k in (key, *above.get(key, ())) for one in machines.of(k)]
        reached = [one for k in (key, *compared.below.get(key, ())) for one in machines.of(k)]
        if upper or reached:
            made.append(Group("E1", host, key, [*group, *upper], [*group, *reached], containers=True))
    return made, compared.skipped
