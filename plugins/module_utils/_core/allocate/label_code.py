# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels as numbers: each guest of each tenant has one set of categories, and the set tells guest and tenant.

A label of the code has one category of each of four bands that share none. Two different labels so have as many
categories as each other, and none holds another. libvirt's own pairs are drawn from a fifth band, which meets none of
the four, so no pair lies within a label and none holds one. That is the whole proof, and it rests on nothing but the
bands: a Code that would break it cannot be made.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from itertools import combinations

from ..errors import CodeError
from ..libvirt.category_range import MIN_CATEGORIES
from ..selinux.context import MAX_CATEGORY, CategorySet

#: What each band of a code is for, in order.
_NAMES = ("bands[0] (tenant)", "bands[1] (tenant)", "bands[2] (guest)", "bands[3] (guest)", "dynamic")


@dataclass(frozen=True)
class Band:
    """``size`` categories from ``first`` on."""

    first: int
    size: int

    @property
    def last(self) -> int:
        """The highest category, included."""
        return self.first + self.size - 1

    def __contains__(self, category: int) -> bool:
        return self.first <= category <= self.last

    def __str__(self) -> str:
        return f"c{self.first}.c{self.last}"


@dataclass(frozen=True)
class Code:
    """Labels of constant weight: one category of each band. The first two bands name the tenant, the others the guest.

    Raises CodeError when two bands meet, when one leaves c0 to c1023, or when libvirt could not draw from ``dynamic``.
    """

    bands: tuple[Band, Band, Band, Band] = (Band(32, 248), Band(280, 248), Band(528, 248), Band(776, 248))
    #: Left to libvirt's dynamic guests; in no label of the code.
    dynamic: Band = Band(0, 32)

    def __post_init__(self) -> None:
        if len(self.bands) != 4:
            raise CodeError(f"bands are {len(self.bands)}; a label has one category of each of four bands")
        named = list(zip(_NAMES, (*self.bands, self.dynamic)))
        for name, band in named:
            if band.size < 1 or band.first < 0 or band.last > MAX_CATEGORY:
                raise CodeError(
                    f"{name} has {band.size} categories from c{band.first} on; give at least one, within c0 to "
                    f"c{MAX_CATEGORY}"
                )
        if self.dynamic.size < MIN_CATEGORIES:
            raise CodeError(
                f"dynamic is {self.dynamic}, {self.dynamic.size} categories; libvirt draws from {MIN_CATEGORIES} or "
                "more and starts no guest otherwise"
            )
        for (name, band), (other_name, other) in combinations(named, 2):
            if band.first <= other.last and other.first <= band.last:
                raise CodeError(
                    f"{name} {band} meets {other_name} {other}: one guest's label could hold another's; give bands "
                    "that share no category"
                )

    @property
    def tenants(self) -> int:
        """How many tenants there can be."""
        return self.bands[0].size * self.bands[1].size

    @property
    def guests(self) -> int:
        """How many guests each tenant can have."""
        return self.bands[2].size * self.bands[3].size

    def label(self, tenant: int, guest: int) -> CategorySet:
        """The categories of a guest of a tenant. Raises CodeError for a number that the code does not have."""
        if not 0 <= guest < self.guests:
            raise CodeError(f"guest number {guest} is outside 0 to {self.guests - 1}, the guests of one tenant")
        first, second = divmod(guest, self.bands[3].size)
        own = (1 << (self.bands[2].first + first)) | (1 << (self.bands[3].first + second))
        return CategorySet(self.shared(tenant).mask | own)

    def shared(self, tenant: int) -> CategorySet:
        """The tenant's two categories: the label of what all its guests share, and no other tenant's reach."""
        if not 0 <= tenant < self.tenants:
            raise CodeError(f"tenant number {tenant} is outside 0 to {self.tenants - 1}")
        first, second = divmod(tenant, self.bands[1].size)
        return CategorySet((1 << (self.bands[0].first + first)) | (1 << (self.bands[1].first + second)))

    def ranks(self, categories: CategorySet) -> tuple[int, int] | None:
        """Tenant and guest of a label of this code; None for any other set."""
        if len(categories) != len(self.bands):
            return None
        found: list[int] = []
        for band in self.bands:
            inside = [category - band.first for category in categories if category in band]
            if len(inside) != 1:
                return None
            found += inside
        return found[0] * self.bands[1].size + found[1], found[2] * self.bands[3].size + found[3]

    def rank(self, tenant: int, guest: int) -> int:
        """One number for tenant and guest, below ``tenants * guests``."""
        return tenant * self.guests + guest

    def unrank(self, rank: int) -> tuple[int, int]:
        """Tenant and guest of such a number."""
        return divmod(rank, self.guests)

    @classmethod
    def of(cls, told: t.Mapping[str, t.Any]) -> Code:
        """The code of what `told` gave."""
        first, second, third, fourth = (Band(*band) for band in told["bands"])
        return cls((first, second, third, fourth), Band(*told["dynamic"]))

    def told(self) -> dict[str, t.Any]:
        """The code as operators write it."""
        return {
            "bands": [[band.first, band.size] for band in self.bands],
            "dynamic": [self.dynamic.first, self.dynamic.size],
        }
