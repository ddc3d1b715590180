# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Each rule across hosts by its smallest faults: that finding, and nothing else."""

from __future__ import annotations

import re

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis, comparison
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.fleet import RULES
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s

from tests.unit.support.faults.fleet import CASES, FILE, FleetCase, clean, on_share, resting, row, sharing, static
from tests.unit.support.fleets import guest


def judged(case: FleetCase) -> list[f.Finding]:
    compared_hosts = [analysis.compared_host(snapshot.host.name, snapshot) for snapshot in case.hosts()]
    return list(analysis.judge(compared_hosts, (), case.pools, case.ledger).findings)


def found(*hosts: s.Snapshot) -> list[str]:
    return [
        finding.rule
        for finding in analysis.judge([analysis.compared_host(each.host.name, each) for each in hosts]).findings
    ]


def test_a_clean_fleet_has_no_finding() -> None:
    result = analysis.judge(
        [analysis.compared_host(snapshot.host.name, snapshot) for snapshot in clean()], (), [("kvm1", "kvm2")]
    )
    assert (result.findings, result.outcomes, result.questions) == ((), {}, {})


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_fault_gives_one_finding(case: FleetCase) -> None:
    result = [(one.rule, one.severity, one.reach, one.subject) for one in judged(case)]
    assert result == [(case.rule, case.severity, case.reach, case.subject)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fault_keeps_its_fingerprint(case: FleetCase) -> None:
    assert judged(case)[0].fingerprint == judged(case)[0].fingerprint


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_check_of_the_rule_finds_the_fault(case: FleetCase) -> None:
    compared_hosts = [comparison.compared_host(snapshot.host.name, snapshot) for snapshot in case.hosts()]
    fleet = comparison.compare_hosts(compared_hosts, (), case.pools, case.ledger)
    hits = [(rule.id, hit.subject, hit.reach) for rule in RULES for hit in rule.check(fleet)]
    assert hits == [(case.rule, case.subject, case.reach)]


def test_every_rule_has_a_fault() -> None:
    assert {case.rule for case in CASES} == {rule.id for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_texts_and_data_of_a_rule(rule: f.RuleBase) -> None:
    assert re.fullmatch(r"CAT-\d{3}", rule.id)
    assert rule.severity in f.SEVERITIES
    assert rule.scope in f.SCOPES
    assert rule.cost in f.COSTS
    assert set(rule.needs) <= set(s.AREAS)
    assert all(text.endswith(".") for text in (rule.why, rule.fix))


def test_ids_are_in_order() -> None:
    assert [rule.id for rule in RULES] == sorted({rule.id for rule in RULES})


def test_a_label_of_another_guest_is_worse_than_an_unknown_label() -> None:
    taken = row("somebody", "s0:c33,c287,c528,c781")
    result = analysis.judge([analysis.compared_host(one.host.name, one) for one in clean()], ["kvm9"], (), [taken])
    assert [(one.subject, one.severity) for one in result.findings] == [
        ("guests with a label that the ledger gave to others", "high"),
        ("static labels that the ledger does not know", "medium"),
    ]


def test_one_range_for_all_that_leaves_the_rest_to_static_labels_is_meant() -> None:
    hosts = clean()
    for snapshot in hosts:
        assert snapshot.libvirt.daemon is not None
        snapshot.libvirt.daemon.context = "system_u:system_r:virtd_t:s0-s0:c0.c31"
        snapshot.guests = snapshot.guests[1:]
    assert found(*hosts) == []


@pytest.mark.parametrize("context", ["s0-s0:c0.c5", "s0-s0:c5,c9", "s0-s0:c0.c255,c512.c767"])
def test_a_range_that_the_rule_about_the_daemons_label_reports_is_left_to_it(context: str) -> None:
    hosts = clean()
    assert hosts[0].libvirt.daemon is not None
    hosts[0].libvirt.daemon.context = f"system_u:system_r:virtd_t:{context}"
    assert found(*hosts) == []


def test_what_reach_reports_is_not_reported_again_as_copied() -> None:
    copies = [on_share(name, "s0:c87,c520", **static("s0:c87,c520")) for name in "ab"]
    compared_hosts = [
        analysis.compared_host(f"kvm{number}", sharing(f"kvm{number}", one)) for number, one in enumerate(copies)
    ]
    result = analysis.judge(compared_hosts)
    assert [one.rule for one in result.findings] == ["CAT-001"]
    assert result.findings[0].evidence["copied_from_documentation"] is True


@pytest.mark.parametrize(
    "owner",
    [
        on_share("off", "s0:c1,c2"),
        guest("other", "s0:c1,c2", resources=resting("off", "").resources),
    ],
    ids=["the guest itself", "a guest with the same file"],
)
def test_a_file_whose_owner_runs_elsewhere_carries_its_label_by_right(owner: s.Guest) -> None:
    assert found(sharing("kvm1", owner), sharing("kvm2", resting("off", FILE + "s0:c1,c2"))) == []


def test_a_static_guest_that_its_disk_keeps_where_it_is_meets_nobody() -> None:
    level = "s0:c5,c6"
    one, two = (
        guest(name, level, f"/var/{name}", active=False, persistent_labels=static(level)["persistent_labels"])
        for name in "ab"
    )
    assert found(sharing("kvm1", one), sharing("kvm2", two)) == []


def test_a_wide_static_label_is_left_to_the_rule_about_guests() -> None:
    wide = on_share("w", "s0:c0.c1023", state="shutoff", active=False, **static("s0:c0.c1023"))
    assert found(*clean(), sharing("kvm3", wide)) == []
