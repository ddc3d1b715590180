# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux import policy_access
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.policy_access import (
    AccessVector,
    AccessVerdict,
    Check,
    PolicyClass,
)

GUEST = "system_u:system_r:svirt_t:s0:c1,c2"
DISK = "system_u:object_r:svirt_image_t:s0:c1,c2"
BITS = {"read": 2, "write": 4, "open": 32}


def given(**changes: t.Any) -> dict[str, t.Any]:
    return {"source": GUEST, "target": DISK, "class": "file", "permissions": ["read", "write"], **changes}


def test_labels_are_canonical_and_permissions_are_asked_for_once() -> None:
    source = "system_u:system_r:svirt_t:s0:c2,c1"
    (check,) = policy_access.parse_checks([given(source=source, permissions=["write", "read", "write"])])
    assert check == Check(GUEST, DISK, "file", ("write", "read"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"source": "system_u:system_r:svirt_t:SystemLow"}, "level_malformed"),
        ({"target": "svirt_image_t"}, "level_missing"),
        ({"class": "../booleans"}, "name_malformed"),
        ({"permissions": ["read", "a/b"]}, "name_malformed"),
        ({"permissions": []}, "permission_count"),
        ({"permissions": [f"p{number}" for number in range(33)]}, "permission_count"),
        ({"class": "file\n"}, "name_malformed"),
    ],
)
def test_a_check_that_cannot_be_asked_is_refused_and_numbered(changes: dict[str, t.Any], code: str) -> None:
    with pytest.raises(PlanError, match="check 1") as caught:
        policy_access.parse_checks([given(), given(**changes)])
    assert caught.value.code == code


def test_the_number_of_checks_is_bounded() -> None:
    with pytest.raises(PlanError) as caught:
        policy_access.parse_checks([given()] * 10_001)
    assert caught.value.code == "too_many_checks"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("43a7f ffffffff 0 ffffffff 1 0", AccessVector(0x43A7F)),
        ("10 ffffffff 0 ffffffff 1 1", AccessVector(0x10, permissive=True)),
        ("10 ffffffff 0 ffffffff 1 2", AccessVector(0x10)),
    ],
)
def test_an_answer_of_the_kernel(text: str, answer: AccessVector) -> None:
    assert policy_access.parse_answer(text) == answer


@pytest.mark.parametrize("text", ["", "1 2 3", "x ffffffff 0 ffffffff 1 0"])
def test_an_answer_of_unknown_form_is_no_denial(text: str) -> None:
    answer = policy_access.parse_answer(text)
    assert answer.problem is not None
    assert answer.problem.code == "answer_malformed"
    assert policy_access.verdict(Check(GUEST, DISK), PolicyClass(6, BITS), answer).status == "unknown"


@pytest.mark.parametrize(
    ("mask", "status", "allowed", "denied"),
    [
        (6, "allowed", ("read", "write"), ()),
        (2, "partly", ("read",), ("write",)),
        (32, "denied", (), ("read", "write")),
    ],
)
def test_a_verdict_names_what_is_allowed_and_what_is_not(
    mask: int, status: str, allowed: tuple[str, ...], denied: tuple[str, ...]
) -> None:
    verdict = policy_access.verdict(Check(GUEST, DISK), PolicyClass(6, BITS), AccessVector(mask))
    assert (verdict.status, verdict.allowed, verdict.denied) == (status, allowed, denied)


def test_a_permission_that_the_policy_lacks_is_unknown() -> None:
    verdict = policy_access.verdict(Check(GUEST, DISK, "file", ("read", "fly")), PolicyClass(6, BITS), AccessVector(6))
    assert verdict.problem is not None
    assert (verdict.status, verdict.problem.code) == ("unknown", "permission_unknown")
    assert (verdict.allowed, verdict.denied, verdict.permissive) == ((), (), None)


@pytest.mark.parametrize(
    ("expect", "mask", "permissive", "enforcing", "code"),
    [
        ("allowed", 6, False, True, None),
        ("allowed", 2, False, True, "denied"),
        ("denied", 32, False, True, None),
        ("denied", 2, False, True, "allowed"),
        ("denied", 32, True, True, "domain_permissive"),
        ("denied", 32, False, False, "host_permissive"),
        (None, 32, False, True, None),
    ],
)
def test_expectations(expect: str | None, mask: int, permissive: bool, enforcing: bool, code: str | None) -> None:
    check = Check(GUEST, DISK, expect=expect)
    violation = policy_access.verdict(check, PolicyClass(6, BITS), AccessVector(mask, permissive)).violation(enforcing)
    assert (violation.code if violation else None) == code


def test_what_is_unknown_breaks_nothing_and_passes_nothing() -> None:
    unknown = AccessVerdict(Check(GUEST, DISK, expect="denied"), problem=Reason("label_unknown", "no such label"))
    met = AccessVerdict(Check(GUEST, DISK, expect="denied"), denied=("read", "write"), permissive=False)
    broken = AccessVerdict(Check(GUEST, DISK, expect="denied"), allowed=("read",), denied=("write",), permissive=False)
    result = policy_access.report([unknown, met, broken], enforcing=True)
    assert [item["status"] for item in result["results"]] == ["unknown", "denied", "partly"]
    assert [(item["index"], item["code"], item["why"]) for item in result["violations"]] == [
        (2, "allowed", "allowed: read")
    ]
    assert [(item["index"], item["code"], item["why"]) for item in result["unknown"]] == [
        (0, "label_unknown", "no such label")
    ]
    assert result["summary"] == {
        "checks": 3,
        "allowed": 0,
        "denied": 1,
        "partly": 1,
        "unknown": 1,
        "violations": 1,
        "unanswered": 1,
    }
