# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The label algebra against brute force on sets of numbers."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import LabelError
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux import context
from hypothesis import given
from hypothesis import strategies as st

SETS = st.frozensets(st.integers(0, 1023), max_size=24) | st.frozensets(st.integers(0, 12))
LEVELS = st.tuples(st.integers(0, 3), SETS)


def level_text(sensitivity: int, numbers: frozenset[int]) -> str:
    return f"s{sensitivity}:{','.join(f'c{number}' for number in numbers)}" if numbers else f"s{sensitivity}"


def brute_text(numbers: frozenset[int]) -> str:
    """The kernel's form, built number by number."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    words = [f"c{run[0]}.c{run[-1]}" if len(run) > 2 else ",".join(f"c{one}" for one in run) for run in parts]
    return ",".join(words)


@given(SETS)
def test_a_set_holds_what_was_put_in(numbers: frozenset[int]) -> None:
    result = context.CategorySet.of(numbers)
    assert list(result) == sorted(numbers)
    assert len(result) == len(numbers)
    assert str(result) == brute_text(numbers)
    assert context.parse_categories(str(result)) == result


@given(SETS, SETS)
def test_dominance_of_sets_is_superset(one: frozenset[int], other: frozenset[int]) -> None:
    assert context.CategorySet.of(one).dominates(context.CategorySet.of(other)) is (one >= other)
    both = context.CategorySet.of(one | other)
    assert both.dominates(context.CategorySet.of(one))


@given(LEVELS, LEVELS)
def test_dominance_of_levels(one: tuple[int, frozenset[int]], other: tuple[int, frozenset[int]]) -> None:
    left, right = context.parse_level(level_text(*one)), context.parse_level(level_text(*other))
    assert left.dominates(right) is (one[0] >= other[0] and one[1] >= other[1])


@given(st.lists(st.integers(0, 1023), max_size=20))
def test_order_and_repetition_do_not_matter(numbers: list[int]) -> None:
    written = "s0" + (":" + ",".join(f"c{number}" for number in numbers) if numbers else "")
    canonical = context.canonical_level(written)
    assert canonical == context.canonical_level(canonical)
    assert list(context.parse_level(canonical).categories) == sorted(set(numbers))


@given(LEVELS, LEVELS)
def test_a_range_needs_a_high_that_dominates(low: tuple[int, frozenset[int]], high: tuple[int, frozenset[int]]) -> None:
    text = f"{level_text(*low)}-{level_text(*high)}"
    if high[0] >= low[0] and high[1] >= low[1]:
        assert context.parse_range(text) == (
            context.parse_level(level_text(*low)),
            context.parse_level(level_text(*high)),
        )
    else:
        with pytest.raises(LabelError) as caught:
            context.parse_range(text)
        assert caught.value.code == "range_order"


@given(LEVELS, LEVELS, st.booleans())
def test_reach_is_by_the_high_level_of_constrained_types(
    process: tuple[int, frozenset[int]], target: tuple[int, frozenset[int]], constrained: bool
) -> None:
    source = context.parse_context(f"system_u:system_r:svirt_t:s0-{level_text(*process)}")
    file = context.parse_context(f"system_u:object_r:svirt_image_t:{level_text(*target)}")
    dominates = process[0] >= target[0] and process[1] >= target[1]
    assert context.reaches(source, file, constrained) is (not constrained or dominates)


@pytest.mark.parametrize(
    ("process", "target", "reached"),
    [
        ("s0:c1,c2", "s0:c1,c2", True),
        ("s0:c1,c2", "s0:c2,c1", True),
        ("s0:c1,c2", "s0:c1", True),
        ("s0:c1,c2", "s0", True),
        ("s0:c1,c2", "s0:c1,c2,c3", False),
        ("s0:c1,c2", "s0:c3,c4", False),
        ("s0:c1.c3", "s0:c1,c3", True),
        ("s0-s0:c0.c1023", "s0:c1,c2", True),
        ("s0-s0:c0.c1023", "s0:c0.c1023", True),
        ("s0", "s0:c1", False),
    ],
)
def test_reach_by_hand(process: str, target: str, reached: bool) -> None:
    source = context.parse_context(f"system_u:system_r:svirt_t:{process}")
    file = context.parse_context(f"system_u:object_r:svirt_image_t:{target}")
    assert context.reaches(source, file, True) is reached


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("s0", "s0"),
        ("s0-s0", "s0"),
        ("s0:c2,c1", "s0:c1,c2"),
        ("s0:c1,c2,c3", "s0:c1.c3"),
        ("s0:c1.c2", "s0:c1,c2"),
        ("s0:c5,c5", "s0:c5"),
        ("s0-s0:c0.c1023", "s0-s0:c0.c1023"),
        ("s0:c0.c1023", "s0:c0.c1023"),
    ],
)
def test_canonical_level(text: str, canonical: str) -> None:
    assert context.canonical_level(text) == canonical


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SystemLow", "level_malformed"),
        ("SystemLow-SystemHigh", "level_malformed"),
        ("", "level_malformed"),
        ("s0:", "level_malformed"),
        ("s0:c1024", "category_out_of_range"),
        ("s0:c99999", "category_out_of_range"),
        ("s0:c01", "category_malformed"),
        ("s0:1", "category_malformed"),
        ("s0:c1,,c2", "category_malformed"),
        ("s0:c1,", "category_malformed"),
        ("s0:c9.c1", "category_order"),
        ("s0:c1.c2.c3", "category_malformed"),
        ("s0:c1 ,c2", "category_malformed"),
        ("s0:c\u0661", "category_malformed"),
        ("s0:c1\n", "category_malformed"),
        ("s0:c1-s0:c2", "range_order"),
        ("s00", "level_malformed"),
        ("s0:" + "c1," * 2000, "too_long"),
    ],
)
def test_levels_that_are_refused(text: str, code: str) -> None:
    with pytest.raises(LabelError) as caught:
        context.canonical_level(text)
    assert caught.value.code == code


def test_context() -> None:
    result = context.parse_context("unconfined_u:unconfined_r:svirt_t:s0-s0:c2,c1\0")
    assert (result.user, result.role, result.type) == ("unconfined_u", "unconfined_r", "svirt_t")
    assert (result.range, list(result.categories)) == ("s0-s0:c1,c2", [1, 2])
    assert str(result) == "unconfined_u:unconfined_r:svirt_t:s0-s0:c1,c2"
    assert context.parse_context("u:r:t:s0:c1\n").range == "s0:c1"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "level_missing"),
        ("u:r:t", "level_missing"),
        ("u:r:t:SystemLow", "level_malformed"),
        ("u:r:{{ x }}:s0", "identifier_malformed"),
        (":r:t:s0", "identifier_malformed"),
        ("u:r:t\x1b[31m:s0", "identifier_malformed"),
    ],
)
def test_contexts_that_are_refused(text: str, code: str) -> None:
    with pytest.raises(LabelError) as caught:
        context.parse_context(text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("u:r:svirt_t", "svirt_t"),
        ("u:r:svirt_t:SystemLow", "svirt_t"),
        ("u:r:svirt_t:s0\0", "svirt_t"),
        ("u:r", None),
        ("", None),
        ("u:r:a b:s0", None),
    ],
)
def test_type_of(text: str, type_: str | None) -> None:
    assert context.type_of(text) == type_


@pytest.mark.parametrize("numbers", [[-1], [1024], [1, 5000]])
def test_numbers_outside_the_policy(numbers: list[int]) -> None:
    with pytest.raises(LabelError) as caught:
        context.CategorySet.of(numbers)
    assert caught.value.code == "category_out_of_range"


@given(st.text(max_size=100), st.text(alphabet="sc0123456789.,-:", max_size=40))
def test_any_text_is_refused_or_is_the_same_when_written_and_read_again(text: str, tail: str) -> None:
    for parse in (context.parse_context, context.canonical_level, context.parse_categories, context.parse_range):
        for candidate in (text, tail, f"u:r:t:{tail}"):
            try:
                rules = parse(candidate)
            except LabelError:
                continue
            written = "-".join(map(str, rules)) if isinstance(rules, tuple) else str(rules)
            assert parse(written) == rules
