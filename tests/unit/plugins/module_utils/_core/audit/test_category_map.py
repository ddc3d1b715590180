# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.category_map import MAX_RANGES, category_map
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet.comparison import compared_host

from tests.unit.support.fleets import guest, host


def test_guests_are_counted_by_cell() -> None:
    levels = ["s0:c1,c2", "s0:c3,c15", "s0:c5,c900", "s0:c40,c300,c600,c900", "s0:c1", "s0:c0.c1023"]
    guests = [guest(f"u{number}", level) for number, level in enumerate(levels)]
    placed = compared_host("kvm1", host("kvm1", guests)).guests
    assert len(placed) == len([one for one in placed if one.uuid])
    cells = category_map(placed, [(0, 31), (0, 31), (0, 1023)])
    assert cells["pairs"] == [[0, 0, 2], [0, 56, 1]]
    assert cells["tenants"] == [[2, 18, 1]]
    assert cells["others"] == len(placed) - 4
    assert cells["ranges"] == [[0, 31, 2], [0, 1023, 1]]


def test_ranges_are_bounded() -> None:
    cells = category_map([], [(number % 1000, number // 1000) for number in range(5000)])
    assert len(cells["ranges"]) == MAX_RANGES
