# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.outcome import diff, result
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason

from tests.unit.support import factory
from tests.unit.support.factory import AT_REST, IMAGES
from tests.unit.support.faults.case import file_of
from tests.unit.support.image_plans import OTHERS, plan, with_orphan


def test_the_result_holds_changes_and_failures() -> None:
    snapshot = with_orphan(factory.host())
    file_of(snapshot, "spare").file.label = OTHERS
    planned = plan(snapshot)
    whole = result(planned, [], {})
    assert whole["changed"] is True
    assert [line["subject"] for line in whole["plan"]] == [f"image {IMAGES}/gone.raw", f"image {IMAGES}/spare.qcow2"]
    assert whole["before"]["files"][f"{IMAGES}/gone.raw"]["label"] == OTHERS
    assert whole["after"]["files"][f"{IMAGES}/gone.raw"]["label"] == AT_REST
    failed = {change.target.key: Reason("path_changed", "moved") for change in planned.changes}
    none = result(planned, [], failed)
    assert (none["changed"], none["plan"]) == (False, whole["plan"])
    assert none["after"] == none["before"]
    assert none["refused"][0] == {"subject": f"image {IMAGES}/gone.raw", "why": "moved", "code": "path_changed"}
    assert [item["before_header"] for item in diff(whole)] == [
        f"{IMAGES}/gone.raw (label)",
        f"{IMAGES}/spare.qcow2 (label)",
    ]
    assert diff(whole)[0]["after"].startswith(f"label: {AT_REST}\nowner: ")
