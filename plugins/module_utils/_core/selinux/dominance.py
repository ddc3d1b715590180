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

from .context import CategorySet, Level

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

    #: Levels that are a pair and nothing else, at one sensitivity: there is one of each.
    exact: dict[int, str] = field(default_factory=dict)
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

    def within(self, bits: tuple[int, ...]) -> list[str]:
        """Pairs that a set of categories contains."""
        exact = self.exact
        if len(bits) * (len(bits) - 1) // 2 > len(exact):
            inside = frozenset(bits)
            return [key for code, key in exact.items() if code >> 10 in inside and code & 1023 in inside]
        codes = [one << 10 | other for place, one in enumerate(bits) for other in bits[place + 1 :]]
        return [exact[code] for code in codes if code in exact]

    def candidates(self, bits: tuple[int, ...]) -> list[_Entry]:
        """Other levels that a set of categories may contain."""
        if len(bits) * (len(bits) - 1) // 2 > self.size:
            lists = (*self.pairs.values(), *self.singles.values(), self.empty)
            return [entry for entries in lists for entry in entries]
        found = list(self.empty)
        for bit in bits if self.singles else ():
            found += self.singles.get(bit, ())
        if self.pairs:
            codes = (one << 10 | other for place, one in enumerate(bits) for other in bits[place + 1 :])
            found += [entry for code in codes for entry in self.pairs.get(code, ())]
        return found


def few(categories: CategorySet) -> tuple[int, ...]:
    """The categories one by one, when they are few; empty for more, which are told by their mask alone."""
    return tuple(categories) if len(categories) <= FEW else ()


def compare(levels: t.Mapping[str, Labelled], budget: int = BUDGET) -> Compared:
    """For each level those that it strictly dominates. Keys stand for levels, equal ones for equal levels."""
    one_sensitivity = len({one.level.sensitivity for one in levels.values()}) < 2
    index, exact, others = _Index(), {}, {}
    for key, one in levels.items():
        bits = one.bits
        if len(bits) == 2 and one_sensitivity:
            exact[bits[0] << 10 | bits[1]] = key
        else:
            others[key] = one
    if not others:
        return Compared({})
    index.exact = exact
    weights = [len(one.bits) or len(one.level.categories) for one in others.values()]
    # Nothing dominates the heaviest, the pairs among them, unless sensitivities differ.
    heaviest = max([*weights, 2] if exact else weights) + (not one_sensitivity)
    for (key, one), weight in zip(others.items(), weights):
        if weight < heaviest:
            index.add(key, one, one.bits or tuple(one.level.categories))
    upper = others if min(weights) > 1 and one_sensitivity else levels  # pairs dominate what has fewer categories
    return _compared(index, upper, budget)


def _compared(index: _Index, upper: t.Mapping[str, Labelled], budget: int) -> Compared:
    below: dict[str, list[str]] = {}
    dear: list[tuple[int, str, Labelled]] = []
    for key, one in upper.items():
        if not one.bits and one.level.categories.mask:
            dear.append((index.size + len(index.exact), key, one))
            continue
        candidates = index.candidates(one.bits)
        if len(candidates) > _CHEAP:
            dear.append((len(candidates), key, one))
        else:
            _note(below, key, one, index.within(one.bits), candidates)
    skipped = []
    for cost, key, one in sorted(dear, key=lambda item: item[:2]):
        budget -= cost
        if budget < 0:
            skipped.append(key)
        else:
            bits = tuple(one.level.categories)
            _note(below, key, one, index.within(bits), index.candidates(bits))
    return Compared(below, frozenset(skipped))


def _note(
    below: dict[str, list[str]], own: str, one: Labelled, pairs: t.Iterable[str], candidates: t.Iterable[_Entry]
) -> None:
    mask, sensitivity = one.level.categories.mask, one.level.sensitivity
    lower = [key for key in pairs if key != own]
    for key, other in candidates:
        theirs = other.level.categories.mask
        if mask & theirs == theirs and sensitivity >= other.level.sensitivity and key != own:
            lower.append(key)
    if lower:
        below[own] = sorted(lower)
