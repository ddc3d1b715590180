# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that are equal by chance (class E4): one line beside the number that chance gives.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import heapq
import math
import typing as t
from collections import Counter

from . import finding as f
from .fleet_rules import CHANCE
from .placed import Placed
from .reach import in_order

#: Pairs that libvirt can draw from c0 to c1023.
PAIRS = math.comb(1024, 2)
#: So many examples of guests that are equal by chance.
MAX_EXAMPLES = 20


def equal(groups: t.Iterable[t.Sequence[Placed]]) -> int:
    """Pairs of equal guests in these groups."""
    return sum(1 if len(group) == 2 else math.comb(len({one.who for one in group}), 2) for group in groups)


def expected(hosts: t.Iterable[str]) -> float:
    """Equal pairs to expect on different hosts, when each host draws from all categories without repeating itself.

    ``hosts`` has the host of each guest that has two categories, each guest once.
    """
    counts = Counter(hosts).values()
    return (math.comb(sum(counts), 2) - sum(math.comb(count, 2) for count in counts)) / PAIRS


def finding(groups: t.Sequence[t.Sequence[Placed]], pairs: int, expected_pairs: float) -> f.Finding:
    """All of it as one finding."""
    shown = heapq.nsmallest(MAX_EXAMPLES, groups, key=lambda group: group[0].key)
    evidence = {
        "equal_pairs": pairs,
        "expected_pairs": round(expected_pairs, 2),
        "examples": [[one.told() for one in in_order(group)[:MAX_EXAMPLES]] for group in shown],
    }
    return f.finding_of(CHANCE, "", f.Hit("fleet", "fleet", evidence), "E4")
