# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis, policy_answers
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux import policy_access
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s

from tests.unit.support.faults.fleet import FILE, on_share, sharing
from tests.unit.support.fleets import PROCESS, guest, host

TWO = "s0:c1,c2"
SILENT = "the host did not answer all that was asked"
ASKED = {"source": PROCESS + TWO, "target": FILE + TWO}


def judged(*hosts: s.Snapshot, answers: dict[str, t.Any] | None = None) -> analysis.Fleet:
    compared_hosts = [analysis.compared_host(snapshot.host.name, snapshot) for snapshot in hosts]
    return analysis.judge(compared_hosts, answers=None if answers is None else policy_answers.read(answers))


def local() -> s.Snapshot:
    return host("kvm1", [guest("a", TWO, "/var/a"), guest("b", TWO, "/var/b")])


def said(status: str, **more: t.Any) -> dict[str, t.Any]:
    return {"kvm1": {"results": [{**ASKED, "status": status, **more}]}}


def test_the_attackers_host_is_asked_and_each_question_is_a_check() -> None:
    result = judged(sharing("kvm1", on_share("a", "s0:c1,c2,c4")), sharing("kvm2", on_share("b", TWO)))
    assert list(result.questions) == ["kvm1"]
    assert [(one["source"], one["target"]) for one in result.questions["kvm1"]] == [
        (PROCESS + "s0:c1,c2,c4", FILE + TWO)
    ]
    assert policy_access.parse_checks(result.questions["kvm1"])[0].permissions == ("read", "write")


@pytest.mark.parametrize(
    ("answers", "decided", "severity", "why"),
    [
        (None, "algebra", "critical", "the loaded policy was not asked"),
        (said("allowed"), "confirmed by policy", "critical", None),
        (said("partly"), "confirmed by policy", "critical", None),
        (said("denied", permissive=True), "confirmed by policy", "critical", None),
        (said("denied", permissive=False), "denied by policy", "high", None),
        (said("unknown", why="no such type"), "algebra", "critical", "the policy could not answer: no such type"),
        ({}, "algebra", "critical", "the host did not answer all that was asked"),
        (
            {"kvm1": {"unreachable": True, "msg": "no route"}},
            "algebra",
            "critical",
            "kvm1 could not be asked: no route",
        ),
        ({"kvm1": {"results": "nonsense"}}, "algebra", "critical", "kvm1 could not be asked: it gave no answer"),
        (
            {"kvm1": {"results": [7, {"source": 1}]}},
            "algebra",
            "critical",
            "the host did not answer all that was asked",
        ),
    ],
)
def test_a_finding_says_who_decided(answers: t.Any, decided: str, severity: str, why: str | None) -> None:
    result = judged(local(), answers=answers).findings[0]
    assert (result.evidence["decided_by"], result.severity) == (decided, severity)
    assert result.evidence.get("unconfirmed_because") == why


def test_an_answer_of_another_host_confirms_nothing() -> None:
    answers = {"kvm2": said("allowed")["kvm1"]}
    assert judged(local(), answers=answers).findings[0].evidence["decided_by"] == "algebra"


def test_confirming_does_not_change_the_fingerprint() -> None:
    before, after = (judged(local(), answers=answers).findings[0] for answers in (None, said("allowed")))
    assert before.fingerprint == after.fingerprint


@pytest.mark.parametrize(("status", "severity"), [("allowed", "critical"), ("denied", "info"), ("unknown", "high")])
def test_a_container_is_as_bad_as_the_policy_says(status: str, severity: str) -> None:
    container = "system_u:system_r:container_t:s0:c1,c2"
    one = host("kvm1", [guest("a", TWO, "/var/a")], containers=[s.ContainerLabel(container, [5], 1)])
    asked = judged(one).questions["kvm1"]
    assert {(check["source"], check["target"]) for check in asked} == {
        (container, FILE + TWO),
        (PROCESS + TWO, "system_u:object_r:container_file_t:s0:c1,c2"),
    }
    answers = {"kvm1": {"results": [{**check, "status": status} for check in asked]}}
    result = judged(one, answers=answers).findings
    assert [(item.rule, item.severity) for item in result] == [("CAT-011", severity)]


def test_questions_are_few_for_a_group_and_bounded_for_a_host() -> None:
    many = host("kvm1", [guest(str(number), TWO, f"/var/{number}") for number in range(50)])
    assert len(judged(many).questions["kvm1"]) <= policy_answers.MAX_PER_GROUP
    pairs = [f"s0:c{number},c1000" for number in range(policy_answers.MAX_PER_HOST + 20)]
    crowd = host("kvm1", [guest(f"{level}{twin}", level, f"/var/{level}{twin}") for level in pairs for twin in "ab"])
    result = judged(crowd, answers={})
    assert len(result.questions["kvm1"]) == policy_answers.MAX_PER_HOST
    assert any("questions on other groups" in finding.evidence["unconfirmed_because"] for finding in result.findings)
