# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The code's proof, tried on codes of every shape: a bijection, and no label that holds another."""

from __future__ import annotations

import itertools
import math

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_code import Band, Code
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import CodeError
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import CategorySet
from hypothesis import given
from hypothesis import strategies as st

DEFAULT = Code()
SMALL = Code((Band(8, 2), Band(10, 3), Band(20, 3), Band(30, 2)), Band(0, 8))


@st.composite
def codes(draw: st.DrawFn) -> Code:
    """Bands of any size and order, with gaps."""
    sizes = [draw(st.integers(1, 150)) for _band in range(4)]
    dynamic = draw(st.integers(8, 150))
    first = 0
    result: dict[int, Band] = {}
    for index in draw(st.permutations(range(5))):
        first += draw(st.integers(0, 40))
        size = dynamic if index == 4 else sizes[index]
        result[index] = Band(first, size)
        first += size
    return Code((result[0], result[1], result[2], result[3]), result[4])


@st.composite
def codes_and_ranks(draw: st.DrawFn) -> tuple[Code, int, int]:
    code = draw(codes())
    ranks = st.integers(0, code.tenants * code.guests - 1)
    return code, draw(ranks), draw(ranks)


def test_default_has_the_figures_of_the_design() -> None:
    assert (DEFAULT.tenants, DEFAULT.guests) == (61504, 61504)
    assert DEFAULT.tenants * DEFAULT.guests == 248**4
    assert str(DEFAULT.label(0, 0)) == "c32,c280,c528,c776"
    assert str(DEFAULT.label(61503, 61503)) == "c279,c527,c775,c1023"
    assert str(DEFAULT.label(1, 249)) == "c32,c281,c529,c777"
    assert str(DEFAULT.shared(249)) == "c33,c281"
    assert DEFAULT.as_dict() == {"bands": [[32, 248], [280, 248], [528, 248], [776, 248]], "dynamic": [0, 32]}


def test_a_whole_small_code_is_a_bijection_without_dominance() -> None:
    numbers = list(itertools.product(range(SMALL.tenants), range(SMALL.guests)))
    labels = [SMALL.label(*number) for number in numbers]
    assert len(set(labels)) == len(labels) == math.prod(band.size for band in SMALL.bands)
    assert [SMALL.ranks(label) for label in labels] == numbers
    assert sorted(SMALL.rank(*number) for number in numbers) == list(range(len(numbers)))
    assert not any(one.dominates(other) for one, other in itertools.permutations(labels, 2))
    pairs = [CategorySet.of(pair) for pair in itertools.combinations(range(8), 2)]
    assert not any(one.dominates(other) for a in labels for b in pairs for one, other in ((a, b), (b, a)))


@given(codes_and_ranks())
def test_label_and_number_are_one_to_one(drawn: tuple[Code, int, int]) -> None:
    code, rank, _other = drawn
    tenant, guest = code.unrank(rank)
    assert code.rank(tenant, guest) == rank
    assert code.ranks(code.label(tenant, guest)) == (tenant, guest)


@given(codes_and_ranks())
def test_no_label_holds_another(drawn: tuple[Code, int, int]) -> None:
    code, one, other = drawn
    labels = code.label(*code.unrank(one)), code.label(*code.unrank(other))
    assert labels[0].dominates(labels[1]) is (one == other)


@given(codes_and_ranks(), st.data())
def test_dynamic_pairs_and_labels_never_meet(drawn: tuple[Code, int, int], data: st.DataObject) -> None:
    code, rank, _other = drawn
    label = code.label(*code.unrank(rank))
    drawn_pair = st.sets(st.integers(code.dynamic.first, code.dynamic.last), min_size=2, max_size=2)
    pair = CategorySet.of(data.draw(drawn_pair))
    assert label.mask & pair.mask == 0
    assert not label.dominates(pair)
    assert not pair.dominates(label)


@given(codes_and_ranks())
def test_what_a_tenant_shares_is_reached_by_its_own_guests_only(drawn: tuple[Code, int, int]) -> None:
    code, one, other = drawn
    (tenant, guest), (stranger, _guest) = code.unrank(one), code.unrank(other)
    assert code.label(tenant, guest).dominates(code.shared(tenant))
    assert code.label(tenant, guest).dominates(code.shared(stranger)) is (tenant == stranger)


@given(codes(), st.sets(st.integers(0, 1023), max_size=6))
def test_any_set_is_a_label_of_the_code_or_none(code: Code, categories: set[int]) -> None:
    result = code.ranks(CategorySet.of(categories))
    if result is not None:
        assert code.label(*result) == CategorySet.of(categories)


@given(st.lists(st.tuples(st.integers(-2, 60), st.integers(-1, 60)), min_size=5, max_size=5))
def test_a_code_that_is_accepted_is_proved(drawn: list[tuple[int, int]]) -> None:
    *bands, dynamic = (Band(first, size) for first, size in drawn)
    try:
        code = Code((bands[0], bands[1], bands[2], bands[3]), dynamic)
    except CodeError:
        return
    categories = [set(range(band.first, band.last + 1)) for band in (*code.bands, code.dynamic)]
    assert all(categories)
    assert sum(map(len, categories)) == len(set().union(*categories))
    assert len(categories[4]) >= 8


@pytest.mark.parametrize(
    ("bands", "dynamic", "code"),
    [
        ([(32, 248), (279, 248), (528, 248), (776, 248)], (0, 32), "bands_overlap"),
        ([(32, 248), (280, 248), (528, 248), (777, 248)], (0, 32), "band_bounds"),
        ([(32, 248), (280, 248), (528, 0), (776, 248)], (0, 32), "band_bounds"),
        ([(-1, 8), (280, 248), (528, 8), (776, 248)], (20, 32), "band_bounds"),
        ([(31, 248), (280, 248), (528, 248), (776, 248)], (0, 32), "bands_overlap"),
        ([(32, 248), (280, 248), (528, 248), (776, 248)], (0, 7), "dynamic_band_small"),
        ([(32, 248), (280, 248), (528, 248)], (0, 32), "bands_count"),
    ],
)
def test_bands_that_prove_nothing_are_refused(
    bands: list[tuple[int, int]], dynamic: tuple[int, int], code: str
) -> None:
    with pytest.raises(CodeError) as caught:
        Code(tuple(Band(*band) for band in bands), Band(*dynamic))  # type: ignore[arg-type]  # the wrong number is tried
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("tenant", "guest", "code"),
    [
        (-1, 0, "tenant_number"),
        (61504, 0, "tenant_number"),
        (0, -1, "guest_number"),
        (0, 61504, "guest_number"),
    ],
)
def test_numbers_beyond_the_code_are_refused(tenant: int, guest: int, code: str) -> None:
    with pytest.raises(CodeError) as caught:
        DEFAULT.label(tenant, guest)
    assert caught.value.code == code
