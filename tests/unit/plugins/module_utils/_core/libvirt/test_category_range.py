# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon's range as libvirt's own parser takes it, oddities included."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import LabelError
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.category_range import DaemonRange, libvirt_range
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("context", "low", "high"),
    [
        ("system_u:system_r:virtd_t", 0, 1023),
        ("system_u:system_r:virtd_t:s0", 0, 1023),
        ("system_u:system_r:virtqemud_t:s0-s0", 0, 1023),
        ("system_u:system_r:virtd_t:s0-s0:c0.c1023", 0, 1023),
        ("system_u:system_r:virtd_t:s0-s0:c0.c1023\0", 0, 1023),
        ("system_u:system_r:virtd_t:s0-s0:c256.c511", 256, 511),
        ("system_u:system_r:virtd_t:s0-s0:c0.c255,c512.c767", 0, 255),
        ("system_u:system_r:virtd_t:s0:c0.c10-s0:c0.c1023", 0, 10),
        ("system_u:system_r:virtd_t:s0-s0:c0.c7", 0, 7),
        ("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c31 trailing", 0, 31),
    ],
)
def test_range(context: str, low: int, high: int) -> None:
    found = libvirt_range(context)
    assert (found.low, found.high, found.sensitivity) == (low, high, "s0")


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ("c5", "No category range available"),
        ("c5,c9", "Cannot parse category in c5,c9"),
        ("c5.9", "Cannot parse category in c5.9"),
        ("x1.c9", "Cannot parse category in x1.c9"),
        ("c.c9", "Cannot parse category in c.c9"),
        ("", "Cannot parse category in "),
        ("c0.c6", "Category range c0-c6 too small"),
        ("c9.c1", "Category range c9-c1 too small"),
    ],
)
def test_refusals_with_libvirts_own_words(categories: str, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        libvirt_range(f"system_u:system_r:virtd_t:s0-s0:{categories}")


@pytest.mark.parametrize("context", ["", "kernel", "a:b"])
def test_no_context(context: str) -> None:
    with pytest.raises(LabelError, match="Unable to parse current SELinux context"):
        libvirt_range(context)


def test_context_beyond_any_kernel() -> None:
    with pytest.raises(LabelError, match="longer than"):
        libvirt_range("u:r:t:s0" + "x" * 5000)


@pytest.mark.parametrize(
    ("categories", "pairs"),
    [(1024, 523776), (512, 130816), (256, 32640), (128, 8128), (64, 2016), (32, 496), (8, 28)],
)
def test_distinct_pairs(categories: int, pairs: int) -> None:
    found = DaemonRange(0, categories - 1)
    assert (found.categories, found.pairs) == (categories, pairs)
    if categories <= 64:
        assert pairs == sum(1 for _pair in itertools.combinations(range(categories), 2))


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [((0, 31), (32, 63), False), ((0, 32), (32, 63), True), ((0, 1023), (40, 50), True), ((9, 20), (0, 8), False)],
)
def test_overlap(one: tuple[int, int], other: tuple[int, int], overlap: bool) -> None:
    assert DaemonRange(*one).overlaps(DaemonRange(*other)) is overlap
    assert DaemonRange(*other).overlaps(DaemonRange(*one)) is overlap


def test_text_form() -> None:
    assert str(libvirt_range("u:r:t:s0-s0:c8.c15")) == "c8.c15"


@given(st.text(max_size=80), st.text(alphabet="c.,0123456789-s:", max_size=30))
def test_any_text_is_a_range_or_refused(text: str, tail: str) -> None:
    for context in (text, f"u:r:t:s0-s0:{tail}"):
        try:
            found = libvirt_range(context)
        except LabelError:
            continue
        assert found.categories >= 8
