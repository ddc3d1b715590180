# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import dataclasses

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_model import read_report
from ansible_collections.svirt.fleet.plugins.plugin_utils._formats import pictures

from tests.unit.support.reports import HOSTILE, across, built, read


def test_the_map_draws_cells_ranges_and_collisions() -> None:
    picture = pictures.category_picture(read())
    assert picture
    paths = dict(picture.paths)
    assert (picture.guests, picture.four, picture.others, picture.ranges) == (906, 12, 2, 2)
    assert picture.collisions == 2
    assert "M160 320h8v8h-8z" in paths["pair5"]
    assert paths["clash"].count("M") == 2
    assert [path for name, path in picture.paths if name == "range"] == ["M0 0V16H16z", "M256 256V272H272z"]


def test_a_report_of_an_older_version_has_no_map() -> None:
    assert pictures.category_picture(dataclasses.replace(read(), categories=None)) is None


def test_reach_is_one_way_where_one_group_contains_another() -> None:
    reached = [{"guest": name, "host": "kvm2", "level": "s0:c1", "uuid": name} for name in HOSTILE]
    finding = across("s0:c1,c2", "E1", ["kvm1"], reaches=reached)
    report = read_report(built([], fleet=analysis.Fleet((finding,))))
    (arrow,) = pictures.reach(report).arrows
    assert arrow.target
    assert [len(box.names) for box in (arrow.source, arrow.target)] == [2, 3]
    assert arrow.target.names[-1][1] == f"and {len(HOSTILE) - 2} more"


def test_groups_are_bounded() -> None:
    found = tuple(across(f"s0:c{number},c{number + 1}", "E2", ["kvm1", "kvm2"]) for number in range(30))
    drawn = pictures.reach(read_report(built([], fleet=analysis.Fleet(found))))
    assert (len(drawn.arrows), drawn.left_out) == (pictures.MAX_GROUPS, 30 - pictures.MAX_GROUPS)
