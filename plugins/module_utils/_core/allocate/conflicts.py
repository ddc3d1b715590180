# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Search for a category set that dominates a label of a code, or is dominated by it, among very many sets.

A dominated set has at most one category of each band and no other: such sets are indexed by their category of each
band, and a label looks up its own fifteen subsets. A dominating set has the label's category of each band: for each
category there is a bit mask of the sets that have it, and the conjunction of four masks gives the dominating sets.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict

from ..selinux.context import CategorySet
from .label_code import Code

#: A set's category of each band; -1: none.
_Part = tuple[int, int, int, int]


class CategorySetIndex:
    """Sets in use, indexed by the bands of a code."""

    def __init__(self, code: Code) -> None:
        self._bits = [((1 << band.size) - 1) << band.first for band in code.bands]
        self._all = sum(self._bits)
        self._parts: set[_Part] = set()
        #: For each indexed set, the bands of which it has a category.
        self._shapes: set[tuple[bool, ...]] = set()
        self._wide: list[CategorySet] = []
        self._having: dict[int, int] = defaultdict(int)
        self._seen: set[CategorySet] = set()

    def add(self, categories: CategorySet) -> None:
        """Add a set. The empty set, of ``s0``, is ignored: every label dominates it."""
        if not categories.mask or categories in self._seen:
            return
        self._seen.add(categories)
        inside = [categories.mask & bits for bits in self._bits]
        if all(part & (part - 1) == 0 for part in inside) and categories.mask & ~self._all == 0:
            places = [part.bit_length() - 1 for part in inside]
            part = (places[0], places[1], places[2], places[3])
            self._parts.add(part)
            self._shapes.add(tuple(place >= 0 for place in part))
        elif all(inside) and categories.mask & self._all != self._all:
            # A set with all categories of all bands cannot be avoided: it dominates every label. The audit reports it.
            bit = 1 << len(self._wide)
            self._wide.append(categories)
            for category in CategorySet(categories.mask & self._all):
                self._having[category] |= bit

    def update(self, sets: t.Iterable[CategorySet]) -> None:
        """Add all of these."""
        for categories in sets:
            self.add(categories)

    def conflict(self, label: CategorySet) -> CategorySet | None:
        """A set that the label dominates or that dominates it; None: there is none."""
        bands = [(label.mask & bits).bit_length() - 1 for bits in self._bits]
        return self._part(bands, self._shapes) or self._holder(bands)

    def tenant_conflict(self, shared: CategorySet) -> CategorySet | None:
        """A set that all labels of a tenant dominate, because its two categories do."""
        bands = [(shared.mask & bits).bit_length() - 1 for bits in self._bits]
        return self._part(bands, {shape for shape in self._shapes if not shape[2] and not shape[3]})

    def _part(self, bands: list[int], shapes: t.Iterable[tuple[bool, ...]]) -> CategorySet | None:
        for shape in shapes:
            places = [place if there else -1 for place, there in zip(bands, shape)]
            if (places[0], places[1], places[2], places[3]) in self._parts:
                return CategorySet.of(place for place in places if place >= 0)
        return None

    def _holder(self, bands: list[int]) -> CategorySet | None:
        if not self._wide:
            return None
        having = self._having.get(bands[0], 0)
        for place in bands[1:]:
            having &= self._having.get(place, 0)
        return self._wide[having.bit_length() - 1] if having else None
