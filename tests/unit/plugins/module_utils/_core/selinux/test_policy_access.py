# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux import policy_access
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.policy_access import (
    Answer,
    Check,
    ClassFacts,
    Verdict,
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
    ("changes", "said"),
    [
        ({"source": "system_u:system_r:svirt_t:SystemLow"}, "check 1: source: level 'SystemLow' does not start with"),
        ({"target": "svirt_image_t"}, "check 1: target: label 'svirt_image_t' has no level"),
        ({"class": "../booleans"}, "check 1: class '../booleans' is no name of a policy"),
        ({"permissions": ["read", "a/b"]}, "check 1: permission 'a/b' is no name of a policy"),
        ({"permissions": []}, "check 1 names 0 permissions; give 1 to 32"),
        ({"permissions": [f"p{number}" for number in range(33)]}, "check 1 names 33 permissions"),
        ({"class": "file\n"}, "is no name of a policy"),
    ],
)
def test_what_cannot_be_asked_is_named(changes: dict[str, t.Any], said: str) -> None:
    with pytest.raises(PlanError) as caught:
        policy_access.parse_checks([given(), given(**changes)])
    assert said in str(caught.value)


def test_the_number_of_checks_is_bounded() -> None:
    with pytest.raises(PlanError, match="10001 checks were given; at most 10000"):
        policy_access.parse_checks([given()] * 10_001)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("43a7f ffffffff 0 ffffffff 1 0", Answer(0x43A7F)),
        ("10 ffffffff 0 ffffffff 1 1", Answer(0x10, permissive=True)),
        ("10 ffffffff 0 ffffffff 1 2", Answer(0x10)),
    ],
)
def test_an_answer_of_the_kernel(text: str, answer: Answer) -> None:
    assert policy_access.parse_answer(text) == answer


@pytest.mark.parametrize("text", ["", "1 2 3", "x ffffffff 0 ffffffff 1 0"])
def test_an_answer_of_unknown_form_is_no_denial(text: str) -> None:
    answer = policy_access.parse_answer(text)
    assert "has an unknown form" in answer.problem
    assert policy_access.verdict(Check(GUEST, DISK), ClassFacts(6, BITS), answer).status == "unknown"


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
    found = policy_access.verdict(Check(GUEST, DISK), ClassFacts(6, BITS), Answer(mask))
    assert (found.status, found.allowed, found.denied) == (status, allowed, denied)


def test_a_permission_that_the_policy_lacks_is_unknown() -> None:
    found = policy_access.verdict(Check(GUEST, DISK, "file", ("read", "fly")), ClassFacts(6, BITS), Answer(6))
    assert (found.status, found.problem) == ("unknown", "the loaded policy's class file has no permission fly")
    assert (found.allowed, found.denied, found.permissive) == ((), (), None)


@pytest.mark.parametrize(
    ("expect", "mask", "permissive", "enforcing", "why"),
    [
        ("allowed", 6, False, True, ""),
        ("allowed", 2, False, True, "denied: write"),
        ("denied", 32, False, True, ""),
        ("denied", 2, False, True, "allowed: read"),
        ("denied", 32, True, True, "denied by the policy, but the domain is permissive: the denial is only logged"),
        ("denied", 32, False, False, "denied by the policy, but SELinux is permissive: the denial is only logged"),
        (None, 32, False, True, ""),
    ],
)
def test_expectations(expect: str | None, mask: int, permissive: bool, enforcing: bool, why: str) -> None:
    check = Check(GUEST, DISK, expect=expect)
    found = policy_access.verdict(check, ClassFacts(6, BITS), Answer(mask, permissive))
    assert found.broken(enforcing) == why


def test_what_is_unknown_breaks_nothing_and_passes_nothing() -> None:
    unknown = Verdict(Check(GUEST, DISK, expect="denied"), problem="no such label")
    met = Verdict(Check(GUEST, DISK, expect="denied"), denied=("read", "write"), permissive=False)
    broken = Verdict(Check(GUEST, DISK, expect="denied"), allowed=("read",), denied=("write",), permissive=False)
    result = policy_access.report([unknown, met, broken], enforcing=True)
    assert [item["status"] for item in result["results"]] == ["unknown", "denied", "partly"]
    assert [(item["index"], item["why"]) for item in result["violations"]] == [(2, "allowed: read")]
    assert [(item["index"], item["why"]) for item in result["unknown"]] == [(0, "no such label")]
    assert result["summary"] == {
        "checks": 3,
        "allowed": 0,
        "denied": 1,
        "partly": 1,
        "unknown": 1,
        "violations": 1,
        "unanswered": 1,
    }
