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
from .host_groups import HostGroups
from .labelled import Party
from .reach_now import Group, LevelHolders, in_order, listed

#: Group of the classes E1 and E2, and the host or storage on which its members meet.
_Mark = tuple[int, str]


@dataclass(frozen=True)
class _Class:
    """Guests alike for a level: where findings say they are reached and reach others, and whether they can migrate."""

    reached: frozenset[_Mark]
    reaching: frozenset[_Mark]
    #: The host that their files keep them on; None: they can migrate.
    stays: str | None

    def reported_with(self, other: _Class) -> bool:
        """Whether a finding reports already that the one reaches the other."""
        return bool(self.reached & other.reaching or self.reaching & other.reached)

    def can_meet(self, other: _Class) -> bool:
        """Whether a host can have guests of both."""
        return self.stays is None or other.stays is None or self.stays == other.stays


@dataclass(frozen=True)
class Meeting:
    """Guests of one domain that reach each other by one level once they meet."""

    key: str
    members: t.Sequence[Party]
    by: t.Sequence[str]

    def hit(self) -> FleetHit:
        """The group as a hit."""
        equal = [party for party in self.members if party.key == self.key]
        lower = [party for party in self.members if party.key != self.key]
        evidence = {
            "decided_by": "algebra",
            "level": self.key,
            **listed("guests", equal),
            **(listed("reaches", lower) if lower else {}),
            "hosts": sorted({party.host for party in self.members}),
            "meet_by": list(self.by),
        }
        names = sorted({party.uuid for party in self.members})
        return FleetHit(self.key, "\0".join([self.key, *names]), evidence, reach="E3")


def meetings(
    statics: LevelHolders, below: t.Mapping[str, t.Sequence[str]], reported: t.Iterable[Group], host_groups: HostGroups
) -> list[Meeting]:
    """All groups of one domain, by level."""
    by_level: dict[str, list[Group]] = defaultdict(list)
    for group in reported:
        by_level[group.key].append(group)
    result = []
    for key, holders in statics.items():
        lower = [party for k in below.get(key, ()) for party in statics.of(k)]
        if len(holders) + len(lower) > 1 and len(holders[0].level.categories) <= MAX_CATEGORIES:
            meeting = _meeting(key, holders, lower, by_level.get(key, ()), host_groups)
            result += [meeting] if meeting else []
    return result


def _meeting(
    key: str, holders: t.Sequence[Party], lower: t.Sequence[Party], reported: t.Sequence[Group], host_groups: HostGroups
) -> Meeting | None:
    """Parties with a partner that they could meet, and with which no finding reports them."""
    classes: dict[_Class, dict[str, list[Party]]] = defaultdict(lambda: defaultdict(list))
    for party in (*holders, *lower):
        classes[_class_of(party, reported, host_groups)][party.uuid].append(party)
    met: dict[int, Party] = {}
    for first, first_members in classes.items():
        for second, second_members in classes.items():
            if first.can_meet(second) and not first.reported_with(second):
                met.update(_partners(key, first_members, second_members))
    if not met:
        return None
    members = in_order(met.values())
    return Meeting(key, members, _ways(members, host_groups))


def _class_of(party: Party, reported: t.Sequence[Group], host_groups: HostGroups) -> _Class:
    reached: set[_Mark] = set()
    reaching: set[_Mark] = set()
    for number, group in enumerate(reported):
        if not party.active or all((party.uuid, party.host) != (member.uuid, member.host) for member in group.members):
            continue
        if group.host:
            reached.add((number, group.host))
            reaching.add((number, group.host))
            continue
        keys = host_groups.sharing.keys_of_files(party.host, party.files) & group.storage.keys()
        reached.update((number, key) for key in keys)
        reaching.update((number, key) for key in host_groups.sharing.keys_of(party.host) & group.storage.keys())
    return _Class(
        frozenset(reached), frozenset(reaching), None if host_groups.can_move(party.host, party.files) else party.host
    )


def _partners(
    key: str, first: t.Mapping[str, t.Sequence[Party]], second: t.Mapping[str, t.Sequence[Party]]
) -> t.Iterator[tuple[int, Party]]:
    """Parties of either side with another guest on the other side, where one of the two reaches the other."""
    reaching = {uuid for uuid, members in first.items() if any(party.key == key for party in members)}
    for uuid, members in second.items():
        if len(reaching) > (uuid in reaching):
            yield from ((id(party), party) for party in members)
    for uuid in reaching:
        if len(second) > (uuid in second):
            yield from ((id(party), party) for party in first[uuid] if party.key == key)


def _ways(members: t.Sequence[Party], host_groups: HostGroups) -> list[str]:
    """How the guests may meet, in words."""
    hosts = {party.host for party in members}
    ways = ["start on one host"] if len(hosts) < len(members) else []
    if len(hosts) > 1:
        ways += ["migration pool"] if hosts & host_groups.pooled else []
        ways += ["shared storage"] if not hosts <= host_groups.pooled else []
    return ways
