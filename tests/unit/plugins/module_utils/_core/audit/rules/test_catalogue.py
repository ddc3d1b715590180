# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every rule: healthy hosts pass, one fault gives one finding, and what is not known never passes."""

from __future__ import annotations

import re

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import RULES, Judgement, judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import AREAS, OK, Process, Snapshot, Xen

from tests.unit.support import factory
from tests.unit.support.faults.all import CASES
from tests.unit.support.faults.case import Case


def judged(snapshot: Snapshot, profile: str = "local") -> Judgement:
    return judge("kvm1", snapshot, f.Settings(profile))


def outcome(judgement: Judgement, rule: str) -> f.Outcome:
    return next(item for item in judgement.outcomes if item.rule == rule)


def test_hardened_host_passes_every_rule_that_applies() -> None:
    judgement = judged(factory.host())
    assert judgement.findings == ()
    assert {item.rule: item.status for item in judgement.outcomes if item.status != f.PASS} == {
        "SEL-009": f.NOT_APPLICABLE
    }


@pytest.mark.parametrize("make", [factory.stock_host, factory.debian_host, factory.fedora_host])
def test_stock_host_has_only_what_libvirts_own_defaults_leave_open(make: object) -> None:
    assert callable(make)
    judgement = judged(make())
    assert [(item.rule, item.severity) for item in judgement.findings] == [("LIB-002", "medium"), ("LIB-005", "low")]
    assert not [item for item in judgement.outcomes if item.status == f.UNKNOWN]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_fault_gives_one_finding(case: Case) -> None:
    snapshot = factory.host()
    case.fault(snapshot)
    assert [(item.rule, item.subject) for item in judged(snapshot).findings] == [(case.rule, case.subject)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_could_not_be_read_never_passes(case: Case) -> None:
    snapshot = factory.host()
    case.unreadable(snapshot)
    judgement = judged(snapshot)
    assert case.rule not in {item.rule for item in judgement.findings}
    result = outcome(judgement, case.rule)
    assert result.status == f.UNKNOWN
    assert result.why
    assert result.codes


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fault_keeps_its_fingerprint(case: Case) -> None:
    first, second = factory.host(), factory.host()
    case.fault(first)
    case.fault(second)
    second.taken_at += 3600
    for process in second.processes:
        process.pid += 1
    fingerprints = [{item.fingerprint for item in judged(snapshot).findings} for snapshot in (first, second)]
    assert fingerprints[0] == fingerprints[1]


def test_every_rule_has_a_fault() -> None:
    assert {case.rule for case in CASES} == {rule.id for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_texts_and_data_of_a_rule(rule: f.Rule) -> None:
    assert re.fullmatch(r"(SEL|LIB|GST|IMG|NET)-\d{3}", rule.id)
    assert rule.severity in f.SEVERITIES
    assert rule.scope in f.SCOPES
    assert rule.cost in f.COSTS
    assert rule.needs
    assert set(rule.needs) <= set(AREAS)
    assert rule.references
    assert len(rule.title) <= 80
    assert not rule.title.endswith(".")
    for text in (rule.why, rule.fix):
        assert text.endswith((".", ".)"))
        assert "  " not in text


def test_ids_are_in_order_and_unique() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    for family in ("SEL", "LIB", "GST", "IMG", "NET"):
        own = [id_ for id_ in ids if id_.startswith(family)]
        assert own == sorted(own)


def test_apparmor_host_is_not_applicable() -> None:
    snapshot = factory.host()
    for area in ("selinux", "xen"):
        snapshot.coverage[area].status = f.NOT_APPLICABLE
        snapshot.coverage[area].why = "AppArmor confines guests here"
        snapshot.coverage[area].codes = ["apparmor"]
    snapshot.selinux.mode = "disabled"
    judgement = judged(snapshot)
    assert judgement.findings == ()
    assert {(item.status, item.codes) for item in judgement.outcomes} == {(f.NOT_APPLICABLE, ("apparmor",))}


@pytest.mark.parametrize(
    ("flask", "expected"), [("enforcing", []), ("permissive", ["SEL-009"]), ("disabled", ["SEL-009"])]
)
def test_under_xen_only_flask_counts(flask: str, expected: list[str]) -> None:
    snapshot = factory.host()
    snapshot.coverage["xen"].status = OK
    snapshot.xen = Xen(flask)
    snapshot.selinux.mode = "disabled"
    snapshot.libvirt.models = []
    snapshot.processes.append(Process(9, "qemu", "/usr/lib/xen/bin/qemu-system-i386", "domU", None, 0))
    judgement = judged(snapshot)
    assert [item.rule for item in judgement.findings] == expected
    assert {item.status for item in judgement.outcomes if item.rule != "SEL-009"} == {f.NOT_APPLICABLE}
