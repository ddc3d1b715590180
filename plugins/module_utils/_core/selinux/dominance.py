# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dominance among the levels of a fleet, without comparing all with all.

Labels of one weight cannot contain one another. So each level is found by its two lowest categories and its weight, and
a heavier one looks only at lighter levels whose two lowest are among its own. A level with so many categories that this
is no gain goes through all lighter ones. The cost of a fleet is bounded: a hostile host may name any labels, and must
not keep the others from being judged. Levels are compared in order of their cost; those above the bound are named.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .context import CategorySet, Level

#: Comparisons that a level may cost without being counted.
_CHEAP = 64
#: Comparisons that all others may cost together.
BUDGET = 5_000_000

#: Categories of a level are listed when there are no more than so many.
FEW = 8


class HasLevel(t.Protocol):
    """Anything with a level."""

    @property
    def level(self) -> Level:
        """The level."""

    @property
    def bits(self) -> tuple[int, ...]:
        """Its categories in order, as ``few`` lists them."""


@dataclass(frozen=True)
class Dominance:
    """Strict dominance between levels, by their keys, and the levels that were not compared."""

    below: t.Mapping[str, t.Sequence[str]]
    skipped: frozenset[str] = frozenset()


_Entry = tuple[str, HasLevel]


@dataclass
class _Index:
    """Levels by the categories that a dominating level must have at least."""

    #: Levels of two categories, where all levels have one sensitivity: at most one level for each pair.
    exact: dict[int, str] = field(default_factory=dict)
    #: By the two lowest categories and by weight.
    pairs: dict[int, dict[int, list[_Entry]]] = field(default_factory=dict)
    singles: dict[int, list[_Entry]] = field(default_factory=dict)
    empty: list[_Entry] = field(default_factory=list)
    size: int = 0
    #: Least difference in weight between a level and a dominated one; 0 where sensitivities differ.
    step: int = 1

    def add(self, key: str, entry: HasLevel, bits: tuple[int, ...]) -> None:
        """Add a level under its two lowest categories."""
        self.size += 1
        if len(bits) > 1:
            lists = self.pairs.setdefault(bits[0] << 10 | bits[1], {})
            lists.setdefault(len(bits), []).append((key, entry))
        elif bits:
            self.singles.setdefault(bits[0], []).append((key, entry))
        else:
            self.empty.append((key, entry))

    def within(self, bits: tuple[int, ...]) -> list[str]:
        """Pairs that a set of categories contains."""
        exact = self.exact
        if len(bits) * (len(bits) - 1) // 2 > len(exact):
            inside = frozenset(bits)
            return [key for code, key in exact.items() if code >> 10 in inside and code & 1023 in inside]
        codes = [low << 10 | high for place, low in enumerate(bits) for high in bits[place + 1 :]]
        return [exact[code] for code in codes if code in exact]

    def candidates(self, bits: tuple[int, ...]) -> list[_Entry]:
        """Other levels that a set of categories may contain."""
        most = len(bits) - self.step
        if len(bits) * (len(bits) - 1) // 2 > self.size:
            pairs = [entry for by_weight in self.pairs.values() for entry in _lighter(by_weight, most)]
            return pairs + [entry for entries in (*self.singles.values(), self.empty) for entry in entries]
        entries = list(self.empty)
        for bit in bits if self.singles else ():
            entries += self.singles.get(bit, ())
        if self.pairs:
            codes = (low << 10 | high for place, low in enumerate(bits) for high in bits[place + 1 :])
            entries += [entry for code in codes if code in self.pairs for entry in _lighter(self.pairs[code], most)]
        return entries


def _lighter(by_weight: t.Mapping[int, list[_Entry]], most: int) -> t.Iterator[_Entry]:
    """Levels of at most this weight."""
    return (entry for weight, entries in by_weight.items() if weight <= most for entry in entries)


def few(categories: CategorySet) -> tuple[int, ...]:
    """The categories in order, when they are at most FEW; else empty, and the mask is used."""
    return tuple(categories) if len(categories) <= FEW else ()


def compare(levels: t.Mapping[str, HasLevel], budget: int = BUDGET) -> Dominance:
    """The levels that each level strictly dominates. Equal keys mean equal levels."""
    one_sensitivity = len({entry.level.sensitivity for entry in levels.values()}) < 2
    index, exact, larger = _Index(), {}, {}
    for key, entry in levels.items():
        bits = entry.bits
        if len(bits) == 2 and one_sensitivity:
            exact[bits[0] << 10 | bits[1]] = key
        else:
            larger[key] = entry
    if not larger:
        return Dominance({})
    index.exact, index.step = exact, int(one_sensitivity)
    weights = [len(entry.bits) or len(entry.level.categories) for entry in larger.values()]
    # Nothing dominates the heaviest, the pairs among them, unless sensitivities differ.
    heaviest = max([*weights, 2] if exact else weights) + (not one_sensitivity)
    for (key, entry), weight in zip(larger.items(), weights):
        if weight < heaviest:
            index.add(key, entry, entry.bits or tuple(entry.level.categories))
    upper = larger if min(weights) > 1 and one_sensitivity else levels  # pairs dominate what has fewer categories
    return _compared(index, upper, budget)


def _compared(index: _Index, upper: t.Mapping[str, HasLevel], budget: int) -> Dominance:
    below: dict[str, list[str]] = {}
    costly: list[tuple[int, str, HasLevel]] = []
    for key, entry in upper.items():
        if not entry.bits and entry.level.categories.mask:
            costly.append((index.size + len(index.exact), key, entry))
            continue
        candidates = index.candidates(entry.bits)
        if len(candidates) > _CHEAP:
            costly.append((len(candidates), key, entry))
        else:
            _add_dominated(below, key, entry, index.within(entry.bits), candidates)
    skipped = []
    for cost, key, entry in sorted(costly, key=lambda item: item[:2]):
        budget -= cost
        if budget < 0:
            skipped.append(key)
        else:
            bits = tuple(entry.level.categories)
            _add_dominated(below, key, entry, index.within(bits), index.candidates(bits))
    return Dominance(below, frozenset(skipped))


def _add_dominated(
    below: dict[str, list[str]], own: str, entry: HasLevel, pairs: t.Iterable[str], candidates: t.Iterable[_Entry]
) -> None:
    mask, sensitivity = entry.level.categories.mask, entry.level.sensitivity
    lower = [key for key in pairs if key != own]
    for key, candidate in candidates:
        candidate_mask = candidate.level.categories.mask
        if mask & candidate_mask == candidate_mask and sensitivity >= candidate.level.sensitivity and key != own:
            lower.append(key)
    if lower:
        below[own] = sorted(lower)
