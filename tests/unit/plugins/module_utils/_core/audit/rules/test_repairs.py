# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Each printed repair, done in the situation in which it was printed: the finding goes, and nothing new comes."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import waivers
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import RULES
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.fleet import RULES as FLEET_RULES
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Snapshot

from tests.unit.support.faults.fleet import CASES as FLEET_CASES
from tests.unit.support.faults.fleet import FleetCase
from tests.unit.support.fleet_repairs import REPAIRS, Fleet, fleet_of, repairs_of
from tests.unit.support.fleet_repairs import Change as FleetChange
from tests.unit.support.judging import findings
from tests.unit.support.repair_table import ASIDE, TABLE, Situation
from tests.unit.support.repairs import KINDS, harmed

ROWS = [(row, repair) for row in TABLE for repair in row.repairs]


def finding_in(snapshot: Snapshot, row: Situation) -> f.Finding:
    """The finding that the row is about."""
    result = [item for item in findings(snapshot) if (item.rule, item.subject) == (row.rule, row.subject)]
    assert len(result) == 1, [(item.rule, item.subject) for item in findings(snapshot)]
    return result[0]


@pytest.mark.parametrize(("row", "repair"), ROWS, ids=[f"{row}: {', '.join(repair)}" for row, repair in ROWS])
def test_the_repair_removes_the_finding_and_harms_nobody(row: Situation, repair: tuple[str, ...]) -> None:
    snapshot = row.host()
    before = {(item.rule, item.subject) for item in findings(snapshot)}
    finding = finding_in(snapshot, row)
    healthy = harmed(snapshot)
    running = [(guest.name, guest.context) for guest in snapshot.guests if guest.active]
    for name in repair:
        assert KINDS[name].is_in(finding.fix), f"{name} is not in: {finding.fix}"
        KINDS[name].apply(snapshot, finding)
        assert [lost for lost in harmed(snapshot) if lost not in healthy] == []
    after = {(item.rule, item.subject) for item in findings(snapshot)}
    assert (row.rule, row.subject) not in after
    assert after <= before
    if finding.cost in ("none", "daemon_restart") and "power cycle" not in repair and "migration" not in repair:
        assert [(guest.name, guest.context) for guest in snapshot.guests if guest.active] == running


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_the_text_names_no_other_repair(row: Situation) -> None:
    finding = finding_in(row.host(), row)
    named = {name for name, kind in KINDS.items() if kind.is_in(finding.fix)}
    listed = {name for repair in row.repairs for name in repair}
    assert named - listed - ASIDE.get(row.rule, frozenset()) - {"waiver"} == set()
    assert named & set(row.never) == set()
    assert "delete" not in finding.fix.lower()


def test_each_rule_is_in_the_table() -> None:
    assert {row.rule for row in TABLE} == {rule.id for rule in RULES}


FLEET_ROWS = [(case, *repair) for case in FLEET_CASES for repair in repairs_of(case)]


def fleet_findings(fleet: Fleet, case: FleetCase) -> list[f.Finding]:
    compared_hosts = [analysis.compared_host(host.host.name, host) for host in fleet.hosts]
    return list(analysis.judge(compared_hosts, (), case.pools, fleet.ledger).findings)


@pytest.mark.parametrize(
    ("case", "phrase", "change"), FLEET_ROWS, ids=[f"{case}: {phrase}" for case, phrase, _change in FLEET_ROWS]
)
def test_the_repair_across_hosts_removes_the_finding(case: FleetCase, phrase: str, change: FleetChange) -> None:
    fleet = fleet_of(case)
    finding = next(item for item in fleet_findings(fleet, case) if item.rule == case.rule)
    assert phrase in finding.fix
    assert "delete" not in finding.fix.lower()
    change(fleet, finding)
    assert [(item.rule, item.subject) for item in fleet_findings(fleet, case)] == []


def test_each_rule_across_hosts_has_repairs() -> None:
    assert set(REPAIRS) == {rule.id for rule in FLEET_RULES}


def test_the_repair_of_an_expired_waiver_is_to_remove_it_or_to_give_it_another_date() -> None:
    today = datetime.date(2026, 11, 30)
    waiver = {"rule": "GST-002", "subject": "guest web", "reason": "known", "expires": "2026-11-29"}
    (expired,) = waivers.apply([], waivers.parse([waiver]), today).active
    assert "remove the waiver" in expired.fix
    assert "a new reason and date" in expired.fix
    for mended in ([], [{**waiver, "reason": "agreed", "expires": "2026-12-31"}]):
        assert waivers.apply([], waivers.parse(mended), today).active == ()
