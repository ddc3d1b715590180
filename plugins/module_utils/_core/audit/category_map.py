# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the fleet's guests are among all pairs of categories: numbers by cell, small for any number of guests.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import Counter

from .fleet.labelled import Party

#: Categories along the side of a cell.
CELL = 16
#: Ranges that are listed, those of most hosts first.
MAX_RANGES = 1000

Cells = list[list[int]]


def category_map(guests: t.Iterable[Party], ranges: t.Iterable[tuple[int, int]]) -> dict[str, t.Any]:
    """The report's ``categories``: guests with a pair, guests with four categories by their tenant's pair, ranges."""
    pairs: Counter[tuple[int, int]] = Counter()
    tenants: Counter[tuple[int, int]] = Counter()
    others = 0
    for guest in guests:
        bits = guest.bits
        if len(bits) == 2:
            pairs[bits[0] // CELL, bits[1] // CELL] += 1
        elif len(bits) == 4:
            tenants[bits[0] // CELL, bits[1] // CELL] += 1
        else:
            others += 1
    drawn = sorted(Counter(ranges).items(), key=lambda item: (-item[1], item[0]))
    return {
        "cell": CELL,
        "pairs": _cells(pairs),
        "tenants": _cells(tenants),
        "others": others,
        "ranges": [[low, high, hosts] for (low, high), hosts in drawn[:MAX_RANGES]],
    }


def _cells(counts: Counter[tuple[int, int]]) -> Cells:
    return [[low, high, number] for (low, high), number in sorted(counts.items())]
