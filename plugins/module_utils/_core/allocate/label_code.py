# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code of constant weight: labels as numbers. Each label names one guest of one tenant.

A label of the code has one category from each of four disjoint bands. All labels have the same number of categories, so
none dominates another. libvirt draws its pairs from a fifth band, disjoint from the four, so no pair dominates a label
and no label dominates a pair. The proof depends on the bands alone: a Code with overlapping bands is refused.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from itertools import combinations

from ..errors import CodeError
from ..libvirt.category_range import MIN_CATEGORIES
from ..selinux.context import MAX_CATEGORY, CategorySet

#: Names of the bands of a code, in order.
_NAMES = ("bands[0] (tenant)", "bands[1] (tenant)", "bands[2] (guest)", "bands[3] (guest)", "dynamic")


@dataclass(frozen=True)
class Band:
    """``size`` consecutive categories, the first of which is ``first``."""

    first: int
    size: int

    @property
    def last(self) -> int:
        """The last category."""
        return self.first + self.size - 1

    def __contains__(self, category: int) -> bool:
        return self.first <= category <= self.last

    def __str__(self) -> str:
        return f"c{self.first}.c{self.last}"


@dataclass(frozen=True)
class Code:
    """One category of each band. The first two bands name the tenant, the others the guest.

    Raises CodeError when two bands overlap, when one exceeds c0 to c1023, or when libvirt could not draw from
    ``dynamic``.
    """

    bands: tuple[Band, Band, Band, Band] = (Band(32, 248), Band(280, 248), Band(528, 248), Band(776, 248))
    #: For libvirt's dynamic guests; in no label of the code.
    dynamic: Band = Band(0, 32)

    def __post_init__(self) -> None:
        if len(self.bands) != 4:
            raise CodeError(
                f"bands are {len(self.bands)}; a label has one category of each of four bands", "bands_count"
            )
        named = list(zip(_NAMES, (*self.bands, self.dynamic)))
        for name, band in named:
            if band.size < 1 or band.first < 0 or band.last > MAX_CATEGORY:
                raise CodeError(
                    f"{name} has {band.size} categories from c{band.first} on; give at least one, within c0 to "
                    f"c{MAX_CATEGORY}",
                    "band_bounds",
                )
        if self.dynamic.size < MIN_CATEGORIES:
            raise CodeError(
                f"dynamic is {self.dynamic}, {self.dynamic.size} categories; libvirt draws from {MIN_CATEGORIES} or "
                "more and starts no guest otherwise",
                "dynamic_band_small",
            )
        for (name, band), (other_name, other) in combinations(named, 2):
            if band.first <= other.last and other.first <= band.last:
                raise CodeError(
                    f"{name} {band} overlaps {other_name} {other}: one guest's label could dominate another's; give "
                    "bands that share no category",
                    "bands_overlap",
                )

    @property
    def tenants(self) -> int:
        """Number of tenants."""
        return self.bands[0].size * self.bands[1].size

    @property
    def guests(self) -> int:
        """Number of guests of each tenant."""
        return self.bands[2].size * self.bands[3].size

    def label(self, tenant: int, guest: int) -> CategorySet:
        """The categories of a guest of a tenant. Raises CodeError for a number that the code does not have."""
        if not 0 <= guest < self.guests:
            why = f"guest number {guest} is outside 0 to {self.guests - 1}, the guests of one tenant"
            raise CodeError(why, "guest_number")
        first, second = divmod(guest, self.bands[3].size)
        own = (1 << (self.bands[2].first + first)) | (1 << (self.bands[3].first + second))
        return CategorySet(self.shared(tenant).mask | own)

    def shared(self, tenant: int) -> CategorySet:
        """The tenant's two categories: the label of files that all its guests share."""
        if not 0 <= tenant < self.tenants:
            raise CodeError(f"tenant number {tenant} is outside 0 to {self.tenants - 1}", "tenant_number")
        first, second = divmod(tenant, self.bands[1].size)
        return CategorySet((1 << (self.bands[0].first + first)) | (1 << (self.bands[1].first + second)))

    def ranks(self, categories: CategorySet) -> tuple[int, int] | None:
        """Tenant and guest of a label of this code; None for any other set."""
        if len(categories) != len(self.bands):
            return None
        places: list[int] = []
        for band in self.bands:
            inside = [category - band.first for category in categories if category in band]
            if len(inside) != 1:
                return None
            places += inside
        return places[0] * self.bands[1].size + places[1], places[2] * self.bands[3].size + places[3]

    def rank(self, tenant: int, guest: int) -> int:
        """Rank of a tenant's guest, below ``tenants * guests``."""
        return tenant * self.guests + guest

    def unrank(self, rank: int) -> tuple[int, int]:
        """Tenant and guest of a rank."""
        return divmod(rank, self.guests)

    @classmethod
    def from_dict(cls, values: t.Mapping[str, t.Any]) -> Code:
        """The code of a dictionary that ``as_dict`` returned."""
        first, second, third, fourth = (Band(*band) for band in values["bands"])
        return cls((first, second, third, fourth), Band(*values["dynamic"]))

    def as_dict(self) -> dict[str, t.Any]:
        """The code as operators write it."""
        return {
            "bands": [[band.first, band.size] for band in self.bands],
            "dynamic": [self.dynamic.first, self.dynamic.size],
        }
