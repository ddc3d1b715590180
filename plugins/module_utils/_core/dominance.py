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
from dataclasses import dataclass, field

from .label import CategorySet, Level

#: Comparisons that a level may cost without being counted.
_CHEAP = 64
#: Comparisons that all others may cost together.
BUDGET = 20_000_000

#: Categories of a level are listed when there are no more than so many.
FEW = 8


class Labelled(t.Protocol):
    """What has a level."""

    @property
    def level(self) -> Level:
        """The level."""

    @property
    def bits(self) -> tuple[int, ...]:
        """Its categories in order, as ``few`` lists them."""


@dataclass(frozen=True)
class Compared:
    """Levels by their keys: those that each strictly dominates, and those that were not compared."""

    below: t.Mapping[str, t.Sequence[str]]
    skipped: frozenset[str] = frozenset()


_Entry = tuple[str, Labelled]


@dataclass
class _Index:
    """Levels by the least that one that dominates them must have."""

    #: Levels that are a pair and nothing else: there is one of each.
    exact: dict[int, _Entry] = field(default_factory=dict)
    pairs: dict[int, list[_Entry]] = field(default_factory=dict)
    singles: dict[int, list[_Entry]] = field(default_factory=dict)
    empty: list[_Entry] = field(default_factory=list)
    size: int = 0

    def add(self, key: str, one: Labelled, bits: tuple[int, ...]) -> None:
        """Put a level where those that dominate it look."""
        self.size += 1
        if len(bits) > 1:
            self.pairs.setdefault(bits[0] << 10 | bits[1], []).append((key, one))
        elif bits:
            self.singles.setdefault(bits[0], []).append((key, one))
        else:
            self.empty.append((key, one))

    def candidates(self, bits: tuple[int, ...]) -> list[_Entry]:
        """Levels that a set of categories may contain."""
        if len(bits) * (len(bits) - 1) // 2 > self.size:
            lists = (*self.pairs.values(), *self.singles.values(), self.empty)
            return [*self.exact.values(), *(entry for entries in lists for entry in entries)]
        exact, pairs = self.exact, self.pairs
        found = list(self.empty)
        for bit in bits if self.singles else ():
            found += self.singles.get(bit, ())
        for place, bit in enumerate(bits):
            base = bit << 10
            for other in bits[place + 1 :]:
                code = base | other
                if code in exact:
                    found.append(exact[code])
                if code in pairs:
                    found += pairs[code]
        return found


def few(categories: CategorySet) -> tuple[int, ...]:
    """The categories one by one, when they are few; empty for more, which are told by their mask alone."""
    return tuple(categories) if len(categories) <= FEW else ()


def compare(levels: t.Mapping[str, Labelled], budget: int = BUDGET) -> Compared:
    """For each level those that it strictly dominates. Keys stand for levels, equal ones for equal levels."""
    weights = {len(one.bits) or len(one.level.categories) for one in levels.values()}
    one_sensitivity = len({one.level.sensitivity for one in levels.values()}) < 2
    if len(weights) < 2 and one_sensitivity:
        return Compared({})
    # The lightest dominate none, and none dominates the heaviest; sensitivities take that away.
    lightest, heaviest = (min(weights), max(weights)) if one_sensitivity else (-1, max(weights) + 1)
    index = _Index()
    exact = index.exact
    upper: list[_Entry] = []
    for key, one in levels.items():
        bits = one.bits
        if len(bits) == 2 and one_sensitivity:
            if heaviest > 2:
                exact[bits[0] << 10 | bits[1]] = (key, one)
            if lightest < 2:
                upper.append((key, one))
            continue
        bits = bits or tuple(one.level.categories)
        if len(bits) < heaviest:
            index.add(key, one, bits)
        if len(bits) > lightest:
            upper.append((key, one))
    index.size += len(exact)
    return _compared(index, upper, budget)


def _compared(index: _Index, upper: t.Iterable[_Entry], budget: int) -> Compared:
    below: dict[str, list[str]] = {}
    dear: list[tuple[int, str, Labelled]] = []
    for key, one in upper:
        candidates = index.candidates(one.bits) if one.bits else None
        if candidates is None or len(candidates) > _CHEAP:
            dear.append((index.size if candidates is None else len(candidates), key, one))
        elif candidates:
            _note(below, key, one, candidates)
    skipped = []
    for cost, key, one in sorted(dear, key=lambda item: item[:2]):
        budget -= cost
        if budget < 0:
            skipped.append(key)
        else:
            _note(below, key, one, index.candidates(one.bits or tuple(one.level.categories)))
    return Compared(below, frozenset(skipped))


def _note(below: dict[str, list[str]], own: str, one: Labelled, candidates: t.Iterable[_Entry]) -> None:
    mask, sensitivity = one.level.categories.mask, one.level.sensitivity
    lower = []
    for key, other in candidates:
        theirs = other.level.categories.mask
        if mask & theirs == theirs and sensitivity >= other.level.sensitivity and key != own:
            lower.append(key)
    if lower:
        below[own] = sorted(lower)
