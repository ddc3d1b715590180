# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import LabelError, PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.model import ImagePlan
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.requested import (
    FALLBACK,
    ImageRequest,
    ImageRequests,
    checked,
    unknown_labels,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.file_contexts import of_folder

from tests.unit.support import factory
from tests.unit.support.factory import AT_REST, CONTENT, IMAGES
from tests.unit.support.faults.case import file_of
from tests.unit.support.image_plans import codes, lines, plan, with_orphan


def test_requests() -> None:
    request = ImageRequest("/srv/a.iso", CONTENT)
    assert plan(factory.host(), labels=(request,)) == ImagePlan()  # it has that label
    request = ImageRequest("/srv/a.iso", AT_REST)
    assert lines(plan(factory.host(), labels=(request,))) == [("relabel", "image /srv/a.iso", AT_REST)]
    assert plan(factory.host(), labels=(request,), within=("/srv",)).refused == []
    outside = plan(factory.host(), labels=(request,), within=("/srv/b", "/sr"))
    assert codes(outside) == {"image /srv/a.iso": "out_of_bounds"}
    assert lines(plan(factory.host(), labels=(ImageRequest("/srv/a.iso"),))) == [
        ("relabel", "image /srv/a.iso", AT_REST)
    ]


def test_a_new_rule_counts_for_a_request_already() -> None:
    request, rules = ImageRequest("/data/vms"), (of_folder("/data/vms"),)
    see = {"kind": "dir", "links": 5, "default": "system_u:object_r:default_t:s0"}
    result = plan(factory.host(), labels=(request,), rules=rules, see=see)
    assert lines(result) == [("relabel", "image /data/vms", AT_REST)]


def test_a_request_never_touches_what_a_running_guest_uses() -> None:
    for path in (f"{IMAGES}/web.qcow2", f"{IMAGES}/base.qcow2", f"{IMAGES}/quorum.raw"):
        (left,) = plan(factory.host(), labels=(ImageRequest(path, AT_REST),)).refused
        assert left.reason.code == "guest_runs"
    inode = file_of(factory.host(), "web").file.inode
    (left,) = plan(factory.host(), labels=(ImageRequest("/srv/a", AT_REST),), see={"inode": inode}).refused
    assert left.reason.code == "guest_runs"


def test_a_request_goes_before_a_repair() -> None:
    snapshot = with_orphan(factory.host())
    result = plan(snapshot, labels=(ImageRequest(f"{IMAGES}/gone.raw", CONTENT),))
    assert lines(result) == [("relabel", f"image {IMAGES}/gone.raw", CONTENT)]


@pytest.mark.parametrize(
    ("requested", "error"),
    [(ImageRequest("a"), PlanError), (ImageRequest("/a\0"), PlanError), (ImageRequest("/a", "nonsense"), LabelError)],
)
def test_requests_that_make_no_sense(requested: ImageRequest, error: type[Exception]) -> None:
    with pytest.raises(error):
        checked(requested)


def test_paths_of_requests_are_normalised() -> None:
    assert checked(ImageRequest("//srv//./a/../b")).path == "/srv/b"


def test_labels_that_the_policy_does_not_know() -> None:
    requests = ImageRequests(labels=(ImageRequest("/a", "u:object_r:nonsense_t:s0"), ImageRequest("/b")))
    assert unknown_labels(requests, lambda label: label != FALLBACK) == ["u:object_r:nonsense_t:s0"]
    assert unknown_labels(requests, lambda _label: False) == []
