# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a label of a code holds, or lies within, any of a great many sets: without comparing it with each.

A set lies within a label when it has at most one category of each band and nothing else: such sets are kept by what
they have of each band, and a label asks for its own fifteen parts. A set holds a label when it has the label's
category of each band: for each category there is a number whose bits are the sets that have it, and four such numbers
together say which have all.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict

from ..selinux.context import CategorySet
from .label_code import Code

#: What a set has of each band; -1: nothing.
_Part = tuple[int, int, int, int]


class Taken:
    """The sets that are taken, seen by a code."""

    def __init__(self, code: Code) -> None:
        self._bits = [((1 << band.size) - 1) << band.first for band in code.bands]
        self._all = sum(self._bits)
        self._parts: set[_Part] = set()
        #: Which bands the parts have.
        self._shapes: set[tuple[bool, ...]] = set()
        self._wide: list[CategorySet] = []
        self._having: dict[int, int] = defaultdict(int)
        self._seen: set[CategorySet] = set()

    def add(self, categories: CategorySet) -> None:
        """Take this set. The empty one is everybody's and is passed over."""
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
            # One that holds every label there is cannot be kept clear of: whoever has it reaches all, and is a finding.
            bit = 1 << len(self._wide)
            self._wide.append(categories)
            for category in CategorySet(categories.mask & self._all):
                self._having[category] |= bit

    def update(self, sets: t.Iterable[CategorySet]) -> None:
        """Take all of these."""
        for categories in sets:
            self.add(categories)

    def conflict(self, label: CategorySet) -> CategorySet | None:
        """A set that this label of the code holds or lies within; None when it is clear of all."""
        bands = [(label.mask & bits).bit_length() - 1 for bits in self._bits]
        return self._part(bands, self._shapes) or self._holder(bands)

    def tenant_conflict(self, shared: CategorySet) -> CategorySet | None:
        """A set within the two categories that all labels of a tenant have: none of them would be clear of it."""
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
