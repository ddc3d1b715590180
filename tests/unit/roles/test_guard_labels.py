# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The guard's script stands alone, so it has its own label parser: it must agree with the core's."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import LabelError
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import Level, parse_context
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.roles.test_guard import guard

PREFIX = "system_u:system_r:svirt_t:"


def by_core(level: str) -> tuple[int, int] | None:
    """Sensitivity and categories of the high level; None: refused."""
    try:
        high = parse_context(PREFIX + level).high
    except LabelError:
        return None
    return high.sensitivity, high.categories.mask


def by_guard(level: str) -> tuple[int, int] | None:
    try:
        return tuple(guard.level_of(PREFIX + level))
    except guard.GuardError:
        return None


@pytest.mark.parametrize(
    ("level", "high"),
    [
        ("s0", (0, 0)),
        ("s0:c1", (0, 0b10)),
        ("s0:c2,c1", (0, 0b110)),
        ("s0:c0.c3", (0, 0b1111)),
        ("s0-s0:c0.c1023", (0, (1 << 1024) - 1)),
        ("s0:c1-s0:c1,c2", (0, 0b110)),
        ("s0-s1", (1, 0)),
        ("s0:c1\n", (0, 0b10)),
        ("s0:c1\0", (0, 0b10)),
        # The kernel looks names up in the policy: it has c1 and s0, not c01 and s00.
        ("s0:c01", None),
        ("s0:c1.c02", None),
        ("s00:c1", None),
        ("s0:c00", None),
        # The high level must dominate the low one.
        ("s0:c1-s0:c2", None),
        ("s1-s0", None),
        ("s0:c1-s0", None),
        # No range.
        ("s0-s0-s0", None),
        ("s0-", None),
        ("-s0", None),
        ("x-s0:c1", None),
        ("s0:", None),
        ("s0:c1,", None),
        ("s0:c3.c1", None),
        ("s0:c1024", None),
        ("s0:c1.c1024", None),
        ("s0:c\u0661", None),
        ("s\u0660:c1", None),
        ("s0 :c1", None),
        ("S0:c1", None),
        ("SystemLow", None),
        ("", None),
        ("s0:" + "c1," * 2000 + "c1", None),
    ],
)
def test_odd_spellings_mean_the_same_to_both(level: str, high: tuple[int, int] | None) -> None:
    assert by_core(level) == high
    assert by_guard(level) == high


NUMBERS = st.one_of(st.integers(0, 5), st.integers(1020, 1026), st.sampled_from(["01", "00", ""]))
CATEGORY = st.builds("c{}".format, NUMBERS)
PART = st.one_of(CATEGORY, st.builds("{}.{}".format, CATEGORY, CATEGORY))
LEVELS = st.builds(
    "{}{}".format,
    st.sampled_from(["s0", "s0", "s1", "s9", "s00", "s10"]),
    st.one_of(st.just(""), st.builds(":{}".format, st.lists(PART, max_size=4).map(",".join))),
)
RANGES = st.one_of(LEVELS, st.lists(LEVELS, min_size=2, max_size=3).map("-".join))


@settings(max_examples=1000)
@given(st.one_of(RANGES, st.text(alphabet="sc0129.,-:\n", max_size=20)))
def test_parsing_agrees(level: str) -> None:
    assert by_guard(level) == by_core(level)


@settings(max_examples=1000)
@given(RANGES, RANGES)
def test_dominance_agrees(one: str, other: str) -> None:
    levels: list[t.Any] = []
    for level in (one, other):
        if by_core(level) is None:
            return
        levels.append((guard.level_of(PREFIX + level), parse_context(PREFIX + level).high))
    (mine, core_mine), (theirs, core_theirs) = levels
    assert isinstance(core_mine, Level)
    assert mine.reaches(theirs) is core_mine.dominates(core_theirs)
