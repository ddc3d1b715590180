# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import LabelError, PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.model import ImagePlan
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.wishes import (
    FALLBACK,
    ImageWish,
    ImageWishes,
    checked,
    unknown_labels,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.file_contexts import of_folder

from tests.unit.support import factory
from tests.unit.support.factory import AT_REST, CONTENT, IMAGES
from tests.unit.support.faults.case import file_of
from tests.unit.support.image_plans import codes, lines, plan, with_orphan


def test_wishes() -> None:
    wish = ImageWish("/srv/a.iso", CONTENT)
    assert plan(factory.host(), labels=(wish,)) == ImagePlan()  # it has that label
    wish = ImageWish("/srv/a.iso", AT_REST)
    assert lines(plan(factory.host(), labels=(wish,))) == [("relabel", "image /srv/a.iso", AT_REST)]
    assert plan(factory.host(), labels=(wish,), within=("/srv",)).refused == []
    outside = plan(factory.host(), labels=(wish,), within=("/srv/b", "/sr"))
    assert codes(outside) == {"image /srv/a.iso": "out_of_bounds"}
    assert lines(plan(factory.host(), labels=(ImageWish("/srv/a.iso"),))) == [("relabel", "image /srv/a.iso", AT_REST)]


def test_a_new_rule_counts_for_a_wish_already() -> None:
    wish, rules = ImageWish("/data/vms"), (of_folder("/data/vms"),)
    see = {"kind": "dir", "links": 5, "default": "system_u:object_r:default_t:s0"}
    result = plan(factory.host(), labels=(wish,), rules=rules, see=see)
    assert lines(result) == [("relabel", "image /data/vms", AT_REST)]


def test_a_wish_never_touches_what_a_running_guest_uses() -> None:
    for path in (f"{IMAGES}/web.qcow2", f"{IMAGES}/base.qcow2", f"{IMAGES}/quorum.raw"):
        (left,) = plan(factory.host(), labels=(ImageWish(path, AT_REST),)).refused
        assert left.reason.code == "guest_runs"
    inode = file_of(factory.host(), "web").file.inode
    (left,) = plan(factory.host(), labels=(ImageWish("/srv/a", AT_REST),), see={"inode": inode}).refused
    assert left.reason.code == "guest_runs"


def test_a_wish_goes_before_a_repair() -> None:
    snapshot = with_orphan(factory.host())
    result = plan(snapshot, labels=(ImageWish(f"{IMAGES}/gone.raw", CONTENT),))
    assert lines(result) == [("relabel", f"image {IMAGES}/gone.raw", CONTENT)]


@pytest.mark.parametrize(
    ("wish", "error"),
    [(ImageWish("a"), PlanError), (ImageWish("/a\0"), PlanError), (ImageWish("/a", "nonsense"), LabelError)],
)
def test_wishes_that_make_no_sense(wish: ImageWish, error: type[Exception]) -> None:
    with pytest.raises(error):
        checked(wish)


def test_paths_of_wishes_are_normalised() -> None:
    assert checked(ImageWish("//srv//./a/../b")).path == "/srv/b"


def test_labels_that_the_policy_does_not_know() -> None:
    wishes = ImageWishes(labels=(ImageWish("/a", "u:object_r:nonsense_t:s0"), ImageWish("/b")))
    assert unknown_labels(wishes, lambda label: label != FALLBACK) == ["u:object_r:nonsense_t:s0"]
    assert unknown_labels(wishes, lambda _label: False) == []
