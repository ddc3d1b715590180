# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that are equal by chance (class E4): one line beside the number that chance gives.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import heapq
import itertools
import math
import typing as t
from collections import Counter
from dataclasses import dataclass

from ..finding import FleetHit
from .labelled import Party
from .reach_now import in_order

#: Pairs that libvirt can draw from c0 to c1023.
PAIRS = math.comb(1024, 2)
#: Examples of guests that are equal by chance.
MAX_EXAMPLES = 20
#: Members of the groups of a level whose pairs are listed.
_MAX_COMPARED = 500


def expected(hosts: t.Iterable[str]) -> float:
    """Expected equal pairs on different hosts, when each host draws from all categories without repetition.

    ``hosts`` has the host of each guest that has two categories, each guest once.
    """
    counts = Counter(hosts).values()
    return (math.comb(sum(counts), 2) - sum(math.comb(count, 2) for count in counts)) / PAIRS


@dataclass(frozen=True)
class Chance:
    """Equal pairs, counted and expected."""

    equal: int
    expected: float
    #: Guests of some levels.
    examples: t.Sequence[t.Sequence[Party]] = ()

    def hits(self) -> t.Iterator[FleetHit]:
        """All equal pairs as one hit."""
        if not self.equal:
            return
        evidence = {
            "equal_pairs": self.equal,
            "expected_pairs": round(self.expected, 2),
            "examples": [[guest.evidence() for guest in in_order(group)[:MAX_EXAMPLES]] for group in self.examples],
        }
        yield FleetHit("fleet", "fleet", evidence, reach="E4")


def count(
    guests: t.Sequence[Party],
    reported: t.Mapping[str, t.Sequence[t.Sequence[Party]]],
    open_pairs: t.Mapping[str, int],
) -> Chance:
    """Pairs of guests at one level, each guest once, except those that a finding names together.

    ``open_pairs`` has by level the number of pairs for which it is unknown whether their storage is shared.
    """
    pairs = expected(guest.host for guest in guests if len(guest.bits) == 2)
    alike = {key: number for key, number in Counter([guest.key for guest in guests]).items() if number > 1}
    named: dict[str, list[Party]] = {}
    for guest in guests:
        if guest.key in reported and guest.key in alike:
            named.setdefault(guest.key, []).append(guest)
    unreported = {key: number * (number - 1) // 2 - open_pairs.get(key, 0) for key, number in alike.items()}
    for key, members in named.items():
        unreported[key] -= _together(members, reported[key])
    unreported = {key: number for key, number in unreported.items() if number > 0}
    if not unreported:
        return Chance(0, pairs)
    shown: dict[str, list[Party]] = {key: [] for key in heapq.nsmallest(MAX_EXAMPLES, unreported)}
    for guest in guests:
        if guest.key in shown:
            shown[guest.key].append(guest)
    return Chance(sum(unreported.values()), pairs, list(shown.values()))


def _together(members: t.Sequence[Party], groups: t.Sequence[t.Sequence[Party]]) -> int:
    """Pairs of members that are both in one of the groups."""
    places = {(guest.identity, guest.host): number for number, guest in enumerate(members)}
    inside = [
        sorted({places[guest.identity, guest.host] for guest in group if (guest.identity, guest.host) in places})
        for group in groups
    ]
    largest = max(map(len, inside), default=0)
    if len(inside) == 1 or sum(map(len, inside)) > _MAX_COMPARED:
        return largest * (largest - 1) // 2
    return len({pair for group in inside for pair in itertools.combinations(group, 2)})
