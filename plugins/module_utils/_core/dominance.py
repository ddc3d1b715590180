# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which levels in use dominate which others, without comparing all with all.

Labels of one weight cannot contain one another. So each level is found by its two lowest categories, and a heavier one
looks only at levels whose two lowest are among its own. A level with so many categories that this is no gain goes
through all lighter ones. What a whole fleet may cost is bounded: a host that lies may name any labels it likes, and
must not keep the others from being judged. What went over the bound is named, the cheapest is done first.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from .label import CategorySet, Level

#: Comparisons that a level may cost without being counted.
_CHEAP = 64
#: Comparisons that all others may cost together.
BUDGET = 20_000_000

#: A level's key, its sensitivity and the mask of its categories.
_Entry = tuple[str, int, int]


@dataclass(frozen=True)
class Compared:
    """Levels by their keys: those that each strictly dominates, and those that were not compared."""

    below: t.Mapping[str, t.Sequence[str]]
    skipped: frozenset[str] = frozenset()


@dataclass
class _Index:
    """Levels by the least that one that dominates them must have."""

    pairs: dict[int, list[_Entry]] = field(default_factory=lambda: defaultdict(list))
    singles: dict[int, list[_Entry]] = field(default_factory=lambda: defaultdict(list))
    empty: list[_Entry] = field(default_factory=list)
    size: int = 0

    def add(self, entry: _Entry) -> None:
        """Put a level where those that dominate it look."""
        mask, self.size = entry[2], self.size + 1
        lowest = mask & -mask
        rest = mask ^ lowest
        if rest:
            self.pairs[_name(lowest, rest & -rest)].append(entry)
        elif mask:
            self.singles[lowest.bit_length()].append(entry)
        else:
            self.empty.append(entry)

    def candidates(self, mask: int) -> list[list[_Entry]]:
        """Lists of levels that a set of categories may contain."""
        bits = [number + 1 for number in CategorySet(mask)]
        if len(bits) * (len(bits) - 1) // 2 > self.size:
            return [*self.pairs.values(), *self.singles.values(), self.empty]
        found = [self.empty] if self.empty else []
        if self.singles:
            found += [self.singles[bit] for bit in bits if bit in self.singles]
        pairs = self.pairs
        for place, bit in enumerate(bits):
            base = bit << 11
            found += [pairs[base | other] for other in bits[place + 1 :] if base | other in pairs]
        return found


def _name(lowest: int, second: int) -> int:
    """Two categories as one small number: large ones make poor keys of a dictionary."""
    return lowest.bit_length() << 11 | second.bit_length()


def compare(levels: t.Mapping[str, Level], budget: int = BUDGET) -> Compared:
    """For each level those that it strictly dominates. Keys stand for levels, equal ones for equal levels."""
    entries = [(key, level.sensitivity, level.categories.mask) for key, level in levels.items()]
    weights = {key: len(level.categories) for key, level in levels.items()}
    kinds = Counter(weights.values())
    if len(kinds) < 2 and len({entry[1] for entry in entries}) < 2:
        return Compared({})
    lightest = min(kinds) if len({entry[1] for entry in entries}) < 2 else -1
    heaviest = max(kinds) if lightest >= 0 else max(kinds) + 1
    index = _Index()
    for entry in entries:
        if weights[entry[0]] < heaviest:
            index.add(entry)
    below: dict[str, list[str]] = {}
    dear: list[tuple[int, str, _Entry]] = []
    for entry in entries:
        if weights[entry[0]] == lightest:
            continue
        lists = index.candidates(entry[2])
        cost = sum(map(len, lists))
        if cost > _CHEAP:
            dear.append((cost, entry[0], entry))
        elif lists:
            _note(below, entry, lists)
    skipped = []
    for cost, key, entry in sorted(dear):
        budget -= cost
        if budget < 0:
            skipped.append(key)
        else:
            _note(below, entry, index.candidates(entry[2]))
    return Compared(below, frozenset(skipped))


def _note(below: dict[str, list[str]], entry: _Entry, lists: list[list[_Entry]]) -> None:
    own, sensitivity, mask = entry
    lower = [
        key
        for candidates in lists
        for key, their_sensitivity, theirs in candidates
        if mask & theirs == theirs and sensitivity >= their_sensitivity and key != own
    ]
    if lower:
        below[own] = sorted(lower)
