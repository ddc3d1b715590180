# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static labels that will let guests at each other's files once they meet on one host (class E3).

A static label goes where its guest goes. Guests meet when one of them starts on the other's host, or migrates to it:
inside a named pool always, and between hosts that share storage when all its files are there. What the classes E1 and
E2 tell of already is left out, and labels so wide that they hold everybody's: a rule about guests tells of them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass

from ...facts.guest_label import MAX_CATEGORIES
from ..finding import FleetHit
from .host_groups import Neighbours
from .labelled import Placed
from .reach_now import Group, Held, in_order, listed

#: Group of the classes E1 and E2, and the host or storage on which its members meet.
_Mark = tuple[int, str]


@dataclass(frozen=True)
class _Class:
    """Guests that are alike for a level: where they are reached, and reach others, by findings; where they stay."""

    reached: frozenset[_Mark]
    reaching: frozenset[_Mark]
    #: The host that their files keep them on; None: they can migrate.
    stays: str | None

    def reported_with(self, other: _Class) -> bool:
        """Whether a finding says already that the one reaches the other."""
        return bool(self.reached & other.reaching or self.reaching & other.reached)

    def can_meet(self, other: _Class) -> bool:
        """Whether a host can have guests of both."""
        return self.stays is None or other.stays is None or self.stays == other.stays


@dataclass(frozen=True)
class Meeting:
    """Guests of one domain that one level would let at each other."""

    key: str
    members: t.Sequence[Placed]
    by: t.Sequence[str]

    def hit(self) -> FleetHit:
        """The group as a hit."""
        equal = [one for one in self.members if one.key == self.key]
        lower = [one for one in self.members if one.key != self.key]
        evidence = {
            "decided_by": "algebra",
            "level": self.key,
            **listed("guests", equal),
            **(listed("reaches", lower) if lower else {}),
            "hosts": sorted({one.host for one in self.members}),
            "meet_by": list(self.by),
        }
        names = sorted({one.uuid for one in self.members})
        return FleetHit(self.key, "\0".join([self.key, *names]), evidence, reach="E3")


def meetings(
    statics: Held, below: t.Mapping[str, t.Sequence[str]], told: t.Iterable[Group], near: Neighbours
) -> list[Meeting]:
    """All groups of one domain, by level."""
    known: dict[str, list[Group]] = defaultdict(list)
    for group in told:
        known[group.key].append(group)
    found = []
    for key, holders in statics.items():
        lower = [one for k in below.get(key, ()) for one in statics.of(k)]
        if len(holders) + len(lower) > 1 and len(holders[0].level.categories) <= MAX_CATEGORIES:
            made = _meeting(key, holders, lower, known.get(key, ()), near)
            found += [made] if made else []
    return found


def _meeting(
    key: str, holders: t.Sequence[Placed], lower: t.Sequence[Placed], told: t.Sequence[Group], near: Neighbours
) -> Meeting | None:
    """Those with a partner that could meet them, and that no finding names with them yet."""
    classes: dict[_Class, dict[str, list[Placed]]] = defaultdict(lambda: defaultdict(list))
    for one in (*holders, *lower):
        classes[_class_of(one, told, near)][one.uuid].append(one)
    met: dict[int, Placed] = {}
    for mine, own in classes.items():
        for theirs, others in classes.items():
            if mine.can_meet(theirs) and not mine.reported_with(theirs):
                met.update(_partners(key, own, others))
    if not met:
        return None
    members = in_order(met.values())
    return Meeting(key, members, _ways(members, near))


def _class_of(one: Placed, told: t.Sequence[Group], near: Neighbours) -> _Class:
    reached: set[_Mark] = set()
    reaching: set[_Mark] = set()
    for number, group in enumerate(told):
        if not one.active or all((one.uuid, one.host) != (other.uuid, other.host) for other in group.members):
            continue
        if group.host:
            reached.add((number, group.host))
            reaching.add((number, group.host))
            continue
        keys = near.sharing.keys_of_files(one.host, one.files) & group.storage.keys()
        reached.update((number, key) for key in keys)
        reaching.update((number, key) for key in near.sharing.keys_of(one.host) & group.storage.keys())
    return _Class(frozenset(reached), frozenset(reaching), None if near.can_move(one.host, one.files) else one.host)


def _partners(
    key: str, own: t.Mapping[str, t.Sequence[Placed]], others: t.Mapping[str, t.Sequence[Placed]]
) -> t.Iterator[tuple[int, Placed]]:
    """Those of the first, and of the second, for whom there is another guest in the other; one of the two reaches."""
    reaching = {uuid for uuid, members in own.items() if any(one.key == key for one in members)}
    for uuid, members in others.items():
        if len(reaching) > (uuid in reaching):
            yield from ((id(one), one) for one in members)
    for uuid in reaching:
        if len(others) > (uuid in others):
            yield from ((id(one), one) for one in own[uuid] if one.key == key)


def _ways(members: t.Sequence[Placed], near: Neighbours) -> list[str]:
    """How they may come together, in words."""
    hosts = {one.host for one in members}
    ways = ["start on one host"] if len(hosts) < len(members) else []
    if len(hosts) > 1:
        ways += ["migration pool"] if hosts & near.pooled else []
        ways += ["shared storage"] if not hosts <= near.pooled else []
    return ways
