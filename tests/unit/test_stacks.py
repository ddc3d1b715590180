# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Hosts of management stacks (docs/stacks.md): silent above low in their clean state; their typical fault is found."""

from __future__ import annotations

import datetime
import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Snapshot

from tests.unit.support import hosts, stacks
from tests.unit.support.stacks import STACKS, Stack

NOW = datetime.datetime(2026, 11, 30, 12, 0, 0, tzinfo=datetime.timezone.utc)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "stacks.md"
#: Nodes without a libvirt of their own: nothing of sVirt applies to them.
NODES = {"KubeVirt", "Kata"}
#: Stacks that write the guest's XML anew at each start, so that a static label does not last.
ANEW = {"nova", "oVirt, file domain", "oVirt, block domain", "OpenNebula", "CloudStack", "Kolla", "TripleO, EDPM"}


def snapshot_of(stack: Stack, fault: bool) -> Snapshot:
    tree = stack.make()
    if fault:
        stack.fault(tree)
    return hosts.look(tree)


def audited(stack: Stack, snapshot: Snapshot) -> tuple[list[f.Finding], dict[str, t.Any]]:
    """All findings, of the host and across hosts, and the host's entry in the report."""
    judgement = judge("node1", snapshot, f.Settings(profile=stack.profile))
    fleet = analysis.judge([analysis.compared_host("node1", snapshot)])
    document = report.build([report.judged(judgement, snapshot.coverage)], fleet, (), "medium", NOW)
    return [*judgement.findings, *fleet.findings], document["hosts"][0]


@pytest.mark.parametrize("name", STACKS)
def test_the_clean_state_is_silent_above_low(name: str) -> None:
    stack = STACKS[name]
    snapshot = snapshot_of(stack, fault=False)
    findings, entry = audited(stack, snapshot)
    assert [(item.rule, item.subject) for item in findings if f.at_least(item.severity, "medium")] == []
    assert entry["verdict"] == ("not_applicable" if name in NODES else "pass")
    assert [outcome["rule"] for outcome in entry["outcomes"] if outcome["status"] == "unknown"] == []


@pytest.mark.parametrize("name", STACKS)
def test_the_typical_fault_is_found(name: str) -> None:
    stack = STACKS[name]
    findings, entry = audited(stack, snapshot_of(stack, fault=True))
    assert stack.shows in {(item.rule, item.severity) for item in findings}
    assert entry["verdict"] == "fail"


@pytest.mark.parametrize("name", sorted(set(STACKS) - NODES))
def test_the_guest_is_read_wholly(name: str) -> None:
    snapshot = snapshot_of(STACKS[name], fault=False)
    (guest,) = snapshot.guests
    assert (guest.active, guest.error, guest.context) == (True, "", hosts.LABEL)
    kinds = {item.kind for item in guest.resources if item.file.exists}
    assert "disk" in kinds
    owned = {process.guest for process in snapshot.processes}
    assert owned == {hosts.UUID}


def test_files_of_a_containers_guest_are_known_by_their_place_on_the_host() -> None:
    snapshot = snapshot_of(STACKS["Kolla"], fault=False)
    disk = next(item for item in snapshot.guests[0].resources if item.kind == "disk")
    assert disk.path.startswith(stacks.NOVA)
    assert (disk.file.resolved or "").startswith(stacks.KOLLA_VOLUME)
    assert snapshot.libvirt.daemon is not None
    assert snapshot.libvirt.daemon.own_files is True


def test_a_repair_of_a_containers_libvirt_belongs_into_the_container() -> None:
    stack = STACKS["Kolla"]
    findings, _entry = audited(stack, snapshot_of(stack, fault=True))
    fixes = [item.fix for item in findings if item.rule == "LIB-001"]
    assert ["not on the host" in fix for fix in fixes] == [True]


def test_a_user_that_the_container_does_not_name_is_in_doubt() -> None:
    tree = stacks.kolla()
    tree.file(f"{stacks.THERE}/etc/passwd", "root:x:0:0::/:/\n")
    judgement = judge("node1", hosts.look(tree), f.Settings())
    assert [item.rule for item in judgement.outcomes if item.status == f.UNKNOWN] == ["LIB-006"]


def test_the_page_names_each_stack_and_says_which_write_the_xml_anew() -> None:
    text = DOCUMENT.read_text()
    table = {cells[0]: cells for line in text.split("\n") if (cells := _cells(line))}
    for name in STACKS:
        row = table[name]
        assert (row[1] == "yes") == (name in ANEW)
        assert STACKS[name].shows[0] in row[-1]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []
