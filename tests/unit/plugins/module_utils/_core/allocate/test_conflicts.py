# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The index of taken sets, against comparing with each."""

from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.conflicts import CategorySetIndex
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_code import Band, Code
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import CategorySet
from hypothesis import given
from hypothesis import strategies as st

CODE = Code((Band(20, 3), Band(8, 3), Band(12, 3), Band(16, 3)), Band(0, 8))
IN_BANDS = CategorySet.of(category for band in CODE.bands for category in range(band.first, band.last + 1))

# Mostly sets that a label may hold or lie within.
SETS = st.lists(
    st.one_of(
        st.sets(st.integers(0, 24), max_size=5),
        st.sets(st.integers(8, 23), min_size=6, max_size=15),
        st.tuples(st.integers(20, 22), st.integers(8, 10), st.integers(12, 14), st.integers(16, 18)).map(set),
    ).map(CategorySet.of),
    max_size=12,
)


@given(SETS, st.integers(0, CODE.tenants * CODE.guests - 1))
def test_a_conflict_is_what_comparing_with_each_finds(sets: list[CategorySet], rank: int) -> None:
    taken = CategorySetIndex(CODE)
    taken.update(sets)
    label = CODE.label(*CODE.unrank(rank))
    expected = [
        categories
        for categories in sets
        if categories.mask
        and not categories.dominates(IN_BANDS)
        and (categories.dominates(label) or label.dominates(categories))
    ]
    conflict = taken.conflict(label)
    assert (conflict is not None) == bool(expected)
    assert conflict is None or conflict in expected


@given(SETS, st.integers(0, CODE.tenants - 1))
def test_a_tenant_is_in_the_way_of_a_set_within_what_it_shares(sets: list[CategorySet], tenant: int) -> None:
    taken = CategorySetIndex(CODE)
    taken.update(sets)
    shared = CODE.shared(tenant)
    expected = [categories for categories in sets if categories.mask and shared.dominates(categories)]
    conflict = taken.tenant_conflict(shared)
    assert (conflict is not None) == bool(expected)
    assert conflict is None or conflict in expected


def test_nothing_is_clear_of_a_set_that_holds_all_so_it_does_not_count() -> None:
    taken = CategorySetIndex(CODE)
    taken.update([CategorySet.of(range(1024)), CategorySet()])
    assert taken.conflict(CODE.label(0, 0)) is None
