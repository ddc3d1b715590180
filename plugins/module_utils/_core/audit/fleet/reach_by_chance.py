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
from .labelled import Placed
from .reach_now import in_order

#: Pairs that libvirt can draw from c0 to c1023.
PAIRS = math.comb(1024, 2)
#: So many examples of guests that are equal by chance.
MAX_EXAMPLES = 20
#: Members of the groups of a level whose pairs are listed.
_MAX_COMPARED = 500


def expected(hosts: t.Iterable[str]) -> float:
    """Equal pairs to expect on different hosts, when each host draws from all categories without repeating itself.

    ``hosts`` has the host of each guest that has two categories, each guest once.
    """
    counts = Counter(hosts).values()
    return (math.comb(sum(counts), 2) - sum(math.comb(count, 2) for count in counts)) / PAIRS


@dataclass(frozen=True)
class Chance:
    """What is equal, and what chance gives."""

    equal: int
    expected: float
    #: Guests of some of the levels.
    examples: t.Sequence[t.Sequence[Placed]] = ()

    def hits(self) -> t.Iterator[FleetHit]:
        """All equal pairs as one hit."""
        if not self.equal:
            return
        evidence = {
            "equal_pairs": self.equal,
            "expected_pairs": round(self.expected, 2),
            "examples": [[one.told() for one in in_order(group)[:MAX_EXAMPLES]] for group in self.examples],
        }
        yield FleetHit("fleet", "fleet", evidence, reach="E4")


def count(
    guests: t.Sequence[Placed],
    reported: t.Mapping[str, t.Sequence[t.Sequence[Placed]]],
    open_pairs: t.Mapping[str, int],
) -> Chance:
    """Pairs of guests at one level, each guest once, except those that a finding names together.

    ``open_pairs`` has by level the number of pairs of which it is open whether their storage is shared.
    """
    pairs = expected(one.host for one in guests if len(one.bits) == 2)
    alike = {key: number for key, number in Counter([one.key for one in guests]).items() if number > 1}
    named: dict[str, list[Placed]] = {}
    for one in guests:
        if one.key in reported and one.key in alike:
            named.setdefault(one.key, []).append(one)
    left = {key: number * (number - 1) // 2 - open_pairs.get(key, 0) for key, number in alike.items()}
    for key, members in named.items():
        left[key] -= _together(members, reported[key])
    left = {key: number for key, number in left.items() if number > 0}
    if not left:
        return Chance(0, pairs)
    shown: dict[str, list[Placed]] = {key: [] for key in heapq.nsmallest(MAX_EXAMPLES, left)}
    for one in guests:
        if one.key in shown:
            shown[one.key].append(one)
    return Chance(sum(left.values()), pairs, list(shown.values()))


def _together(members: t.Sequence[Placed], groups: t.Sequence[t.Sequence[Placed]]) -> int:
    """Pairs of members that one of the groups has both of."""
    places = {(one.who, one.host): number for number, one in enumerate(members)}
    inside = [sorted({places[one.who, one.host] for one in group if (one.who, one.host) in places}) for group in groups]
    largest = max(map(len, inside), default=0)
    if len(inside) == 1 or sum(map(len, inside)) > _MAX_COMPARED:
        return largest * (largest - 1) // 2
    return len({pair for group in inside for pair in itertools.combinations(group, 2)})
