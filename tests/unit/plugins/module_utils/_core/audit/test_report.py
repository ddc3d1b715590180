# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import datetime
import json
import random
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report, waivers
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    AREAS,
    NOT_APPLICABLE,
    OK,
    UNKNOWN,
    Coverage,
)

from tests.unit.support.fleets import finding, guest, host

NOW = datetime.datetime(2026, 11, 23, 3, 0, 0, tzinfo=datetime.timezone.utc)
READ = {area: Coverage(OK) for area in AREAS}


def result(name: str = "kvm1", *findings: f.Finding, **parts: t.Any) -> report.HostResult:
    """A host that was read wholly and passed one rule."""
    values: dict[str, t.Any] = {"coverage": READ, "outcomes": (f.Outcome("TST-001", f.PASS),), "findings": findings}
    return report.HostResult(name, **{**values, **parts})


def built(*results: report.HostResult, fail_on: str = "high", **parts: t.Any) -> dict[str, t.Any]:
    return report.build(
        results,
        parts.get("fleet", analysis.Fleet()),
        waivers.parse(parts.get("waivers", [])),
        fail_on,
        parts.get("now", NOW),
    )


def lacking(area: str, status: str, why: str = "it did not answer") -> dict[str, Coverage]:
    return {**READ, area: Coverage(status, why)}


NOT_READ = report.unread("kvm9", "down")
APPARMOR = result("deb1", coverage=lacking("selinux", NOT_APPLICABLE, "AppArmor is in force"))


@pytest.mark.parametrize(
    ("one", "fail_on", "verdict"),
    [
        (result(), "high", "pass"),
        (result("kvm1", finding(severity="high")), "high", "fail"),
        (result("kvm1", finding(severity="critical")), "high", "fail"),
        (result("kvm1", finding(severity="medium")), "high", "pass"),
        (result("kvm1", finding(severity="info")), "info", "fail"),
        (result("kvm1", finding(severity="critical")), "never", "pass"),
        (NOT_READ, "never", "unknown"),
        (result(coverage=lacking("images", UNKNOWN)), "high", "unknown"),
        (result(outcomes=(f.Outcome("TST-001", f.UNKNOWN, "web: no answer"),)), "high", "unknown"),
        (
            result("kvm1", finding(severity="low"), outcomes=(f.Outcome("TST-001", f.FAIL, "db: no answer"),)),
            "high",
            "unknown",
        ),
        (result("kvm1", finding(severity="high"), coverage=lacking("images", UNKNOWN)), "high", "fail"),
        (APPARMOR, "high", "not_applicable"),
        (result(coverage=lacking("libvirt", NOT_APPLICABLE)), "high", "not_applicable"),
        (result(coverage=lacking("xen", NOT_APPLICABLE)), "high", "pass"),
        (result(outcomes=(f.Outcome("TST-001", f.NOT_APPLICABLE, "Xen"),)), "high", "not_applicable"),
        (result("kvm1", finding(severity="high"), coverage=lacking("libvirt", NOT_APPLICABLE)), "high", "fail"),
        (
            result(coverage={**lacking("libvirt", NOT_APPLICABLE), "images": Coverage(UNKNOWN, "hangs")}),
            "high",
            "unknown",
        ),
    ],
)
def test_the_verdict_of_a_host(one: report.HostResult, fail_on: str, verdict: str) -> None:
    assert built(one, fail_on=fail_on)["hosts"][0]["verdict"] == verdict


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        ([], "unknown"),
        ([result()], "pass"),
        ([result(), APPARMOR], "pass"),
        ([APPARMOR], "unknown"),
        ([result(), NOT_READ], "unknown"),
        ([result(), NOT_READ, result("kvm2", finding("kvm2"))], "fail"),
    ],
)
def test_the_verdict_of_all(results: list[report.HostResult], verdict: str) -> None:
    assert built(*results)["verdict"] == verdict


def test_a_finding_of_no_host_fails_all() -> None:
    expired = [{"rule": "TST-001", "subject": "web", "reason": "r", "expires": "2026-01-01"}]
    document = built(result(), waivers=expired, fail_on="medium")
    assert (document["verdict"], document["hosts"][0]["verdict"]) == ("fail", "pass")


def test_a_waived_finding_fails_nobody_and_is_listed() -> None:
    accepted = [{"rule": "TST-001", "subject": "web", "reason": "r", "expires": "2026-12-31"}]
    document = built(result("kvm1", finding()), waivers=accepted)
    assert document["verdict"] == "pass"
    assert document["findings"] == []
    assert document["waived"][0]["waiver"] == {
        "expires": "2026-12-31",
        "index": 0,
        "reason": "r",
        "rule": "TST-001",
        "subject": "web",
    }


def test_unused_waivers_are_listed_and_are_no_finding() -> None:
    unused = [{"rule": "TST-009", "subject": "web", "reason": "r", "expires": "2026-12-31"}]
    document = built(result(), waivers=unused)
    assert (document["verdict"], document["findings"]) == ("pass", [])
    assert [waiver["index"] for waiver in document["unused_waivers"]] == [0]


def test_a_finding_across_hosts_fails_each_host_that_it_names() -> None:
    pair = f.finding_of(analysis.SHARED, "", f.Hit("s0:c1,c2", "k", {"hosts": ["kvm1", "kvm2"]}), "E2")
    document = built(result(), result("kvm2"), result("kvm3"), fleet=analysis.Fleet((pair,)))
    assert [entry["verdict"] for entry in document["hosts"]] == ["fail", "fail", "pass"]
    assert document["hosts"][0]["counts"]["critical"] == 1
    assert document["fleet"]["findings"]["critical"] == 1


def test_the_shape_of_a_finding() -> None:
    pair = f.finding_of(analysis.SHARED, "", f.Hit("s0:c1,c2", "k", {"hosts": []}), "E2")
    first, second = built(result("kvm1", finding()), fleet=analysis.Fleet((pair,)))["findings"]
    common = {"rule", "severity", "scope", "host", "subject", "title", "evidence", "fix", "cost", "fingerprint"}
    assert (set(first), first["class"]) == (common | {"class"}, "E2")
    assert set(second) == common


def test_the_shape_of_the_report() -> None:
    document = built(result(outcomes=(f.Outcome("A", f.PASS), f.Outcome("B", f.NOT_APPLICABLE, "no"))), NOT_READ)
    assert list(document) == [
        "schema",
        "generated_at",
        "verdict",
        "fail_on",
        "hosts",
        "findings",
        "fleet",
        "waived",
        "unused_waivers",
    ]
    assert document["generated_at"] == "2026-11-23T03:00:00Z"
    assert document["hosts"][0]["outcomes"] == [{"rule": "B", "status": "not_applicable", "why": "no"}]
    assert (document["hosts"][1]["why"], document["hosts"][1]["coverage"]) == ("down", {})
    assert document["fleet"]["hosts"] == {"total": 2, "fail": 0, "unknown": 1, "pass": 1, "not_applicable": 0}


def test_codes_of_an_outcome_are_named_within_bounds() -> None:
    doubted = f.unknown("TST-001", [Reason(f"{number}" * 100, "it hangs") for number in range(90)])
    flooded = {**READ, "images": Coverage(UNKNOWN, "it hangs", ["x" * 1000] * 5000)}
    host_entry = built(result(outcomes=(doubted,), coverage=flooded))["hosts"][0]
    (entry,) = host_entry["outcomes"]
    assert set(entry) == {"rule", "status", "why", "codes"}
    assert set(host_entry["coverage"]["boot"]) == {"status", "why"}
    for codes in (entry["codes"], host_entry["coverage"]["images"]["codes"]):
        assert 0 < len(codes) < 90
        assert all(len(code) < 100 for code in codes)


def test_two_analyses_differ_in_their_time_only() -> None:
    results = [
        result(f"kvm{n}", *(finding(f"kvm{n}", f"g{m}", severity=s) for m, s in enumerate(f.SEVERITIES)))
        for n in range(9)
    ]
    once = built(*results)
    random.Random(7).shuffle(results)  # noqa: S311 - no secret
    again = built(*results, now=NOW + datetime.timedelta(minutes=5))
    assert once.pop("generated_at") != again.pop("generated_at")
    assert json.dumps(once) == json.dumps(again)


def test_findings_are_sorted_worst_first() -> None:
    found = [finding("kvm2", severity="low"), finding("kvm1", severity="low"), finding("kvm3", severity="critical")]
    document = built(*(result(one.host, one) for one in found))
    assert [(one["severity"], one["host"]) for one in document["findings"]] == [
        ("critical", "kvm3"),
        ("low", "kvm1"),
        ("low", "kvm2"),
    ]


def test_a_guest_that_could_not_be_compared_makes_its_host_unknown() -> None:
    across = analysis.judge([analysis.compared_host("kvm1", host("kvm1", [guest("a", None)]))])
    entry = built(result(), fleet=across)["hosts"][0]
    assert entry["verdict"] == "unknown"
    assert "guest-a" in entry["why"]
    assert [outcome["rule"] for outcome in entry["outcomes"]] == ["CAT-001", "CAT-002", "CAT-003"]
