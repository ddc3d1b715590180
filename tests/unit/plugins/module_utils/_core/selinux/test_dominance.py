# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux import dominance
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import CategorySet, Level
from hypothesis import given, settings
from hypothesis import strategies as st


@dataclass
class One:
    level: Level
    bits: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.bits = dominance.few(self.level.categories)


def of(*levels: Level) -> dict[str, One]:
    return {str(level): One(level) for level in levels}


def made(categories: range | set[int], sensitivity: int = 0) -> Level:
    return Level(sensitivity, CategorySet.of(categories))


NUMBERS = st.one_of(st.integers(0, 6), st.integers(1015, 1023))
SETS = st.one_of(st.sets(NUMBERS, max_size=5), st.sets(NUMBERS, min_size=9), st.just(set(range(1024))))


@settings(max_examples=400)
@given(st.lists(st.builds(made, SETS, st.sampled_from([0, 0, 0, 1])), max_size=25))
def test_it_finds_what_comparing_all_with_all_finds(levels: list[Level]) -> None:
    entries = of(*levels)
    brute = {
        key: sorted(other for other, two in entries.items() if other != key and one.level.dominates(two.level))
        for key, one in entries.items()
    }
    compared = dominance.compare(entries)
    assert dict(compared.below) == {key: lower for key, lower in brute.items() if lower}
    assert compared.skipped == frozenset()


@pytest.mark.parametrize("lower", [set(), {0}, {1}])
def test_pairs_dominate_what_has_fewer_categories(lower: set[int]) -> None:
    assert dominance.compare(of(made(lower), made({0, 1}))).below == {"s0:c0,c1": [str(made(lower))]}


def test_labels_that_cost_too_much_are_named_and_the_others_are_compared() -> None:
    pairs = [made({0, other}) for other in range(1, 101)]
    wide = [made(range(number, 1024)) for number in range(3)]
    compared = dominance.compare(of(*pairs, *wide, made({1, 2, 3, 4}), made({1, 2})), budget=150)
    assert compared.skipped == {"s0:c1.c1023", "s0:c2.c1023"} or len(compared.skipped) == 2
    assert compared.below["s0:c1.c4"] == ["s0:c1,c2"]


def test_few_categories_are_listed_in_order_and_many_are_not() -> None:
    assert dominance.few(CategorySet.of({9, 1, 4})) == (1, 4, 9)
    assert dominance.few(CategorySet.of(range(9))) == ()
