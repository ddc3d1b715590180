# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Allocation over hosts that cannot be read, over snapshots without hosts, and its apply part by itself."""

from __future__ import annotations

import json
import os
import re
import sys
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.action import fleet_store
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store

from tests.unit.plugins.module_utils._core.migrate.test_check import dynamic, hypervisor
from tests.unit.support.actions import run
from tests.unit.support.playbooks import Run, inventory, play, refused

__all__ = ["inventory", "refused"]

ROOT = Path(__file__).resolve().parents[3]
DAEMONS = (Path("/usr/sbin/libvirtd"), Path("/usr/sbin/virtqemud"))


def allocate(inventory: Path, *options: str, steps: t.Sequence[str] = (), **environment: str) -> Run:
    variables: dict[str, t.Any] = {"svirt_store": f"sqlite:///{inventory.parent / 'ledger.db'}"}
    if steps:
        variables["svirt_run_steps"] = list(steps)
    return play("allocate", inventory, "-e", json.dumps(variables), *options, **environment)


def changes(run: Run) -> list[int]:
    return [int(count) for count in re.findall(r"changed=(\d+)", run.output)]


def orders(run: Run) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads((run.folder / "allocation.json").read_text()))


@pytest.fixture
def fleet(tmp_path: Path, refused: int) -> Path:
    """Two hosts that another job has read into the store; nobody answers at their addresses."""
    path = tmp_path / "hosts.ini"
    path.write_text("".join(f"kvm{n} ansible_host=127.0.0.1 ansible_port={refused}\n" for n in (1, 2)))
    for number in (1, 2):
        uuid = f"00000000-0000-4000-8000-00000000000{number}"
        guest = replace(dynamic(f"web{number}", f"s0:c{number},c{number + 10}"), uuid=uuid)
        one = hypervisor(f"kvm{number}", guest)
        _snapshots.write_snapshot(tmp_path / "elsewhere", f"kvm{number}", encode(one))
    run(
        fleet_store,
        store=f"sqlite:///{tmp_path / 'ledger.db'}",
        snapshots=str(tmp_path / "elsewhere"),
        hosts=["kvm1", "kvm2"],
        inventory=str(path),
        run_kind="allocate",
    )
    return path


def test_with_every_host_down_nothing_is_applied_and_the_verdict_is_unknown(inventory: Path) -> None:
    run = allocate(inventory, "--limit", "down")
    assert run.status == 2, run.output
    assert run.report["verdict"] == "unknown"
    assert list(run.hosts) == ["down1", "down2"]
    assert "Range that libvirt draws" not in run.output
    assert "Could not match" not in run.output  # a group that nobody is in


def test_check_mode_needs_no_ledger(inventory: Path) -> None:
    run = allocate(inventory, "--limit", "down", "--check")
    assert run.report["verdict"] == "unknown"
    assert not (inventory.parent / "ledger.db").exists()


def test_no_host_at_all_is_no_success(inventory: Path) -> None:
    assert allocate(inventory, "-e", "svirt_hosts=nobody").status != 0
    assert allocate(inventory, "--limit", "nobody").status != 0


def test_steps_that_do_not_exist_are_refused(fleet: Path) -> None:
    run = allocate(fleet, steps=["survey"])
    assert run.status == 2
    assert "give a list of collect, judge, reserve, apply, confirm" in " ".join(run.output.split())


def test_reserving_contacts_no_host_and_the_second_time_changes_nothing(fleet: Path) -> None:
    first = allocate(fleet, steps=["reserve"])
    assert first.status == 0, first.output
    assert sum(changes(first)) == 1  # the action runs once for all hosts
    result = orders(first)
    assert [entry["range"] for entry in result.values()] == [{"low": 0, "high": 31}] * 2
    labels = [guest["label"] for entry in result.values() for guest in entry["guests"]]
    assert len(set(labels)) == 2
    assert all(label.startswith("system_u:system_r:svirt_t:s0:c") for label in labels)
    again = allocate(fleet, steps=["reserve"])
    assert (again.status, set(changes(again))) == (0, {0})
    assert orders(again) == result


def test_check_mode_predicts_what_is_then_reserved(fleet: Path) -> None:
    result = orders(allocate(fleet, "--check", steps=["reserve"]))
    assert not Store(f"sqlite:///{fleet.parent / 'ledger.db'}").has_ledger
    assert orders(allocate(fleet, steps=["reserve"])) == result


def test_the_strategy_of_ranges(fleet: Path) -> None:
    run = allocate(fleet, "-e", "svirt_strategy=range", steps=["reserve"])
    ranges = [entry["range"] for entry in orders(run).values()]
    assert ranges == [{"low": 0, "high": 63}, {"low": 64, "high": 127}]
    assert [entry["guests"] for entry in orders(run).values()] == [[], []]


PARTED = {"svirt_label_domains": [{"name": f"d{n}", "hosts": [f"kvm{n}"]} for n in (1, 2)]}


def test_domains_that_part_what_belongs_together_get_nothing_and_fail_the_run(fleet: Path) -> None:
    run = allocate(fleet, "-e", json.dumps(PARTED), steps=["reserve"])
    assert run.status == 2, run.output
    closing = run.output.partition("TASK [Verdict]")[2]
    assert all(f"{name}: " in closing for name in ("d1", "d2"))
    assert "share the labelled storage" in " ".join(closing.split())
    assert [entry["guests"] for entry in orders(run).values()] == [[], []]


def test_what_is_refused_keeps_no_label_from_the_others_and_fails_the_run(fleet: Path) -> None:
    variables = {"svirt_allocate_guests": ["web1", "wbe2"]}
    run = allocate(fleet, "-e", json.dumps(variables), steps=["reserve"])
    assert run.status == 2, run.output
    assert "wbe2: " in run.output.partition("TASK [Verdict]")[2]
    assert [len(entry["guests"]) for entry in orders(run).values()] == [1, 0]


def test_what_was_refused_is_named_by_the_closing_verdict_whatever_the_audit_may_fail_on(fleet: Path) -> None:
    """Nothing is applied, so no host is contacted before the audit, which judges the snapshots that are there."""
    run = allocate(
        fleet, "--check", "-e", json.dumps({**PARTED, "svirt_fail_on": "never"}), steps=["reserve", "confirm"]
    )
    assert run.status == 2, run.output
    closing = run.output.partition("TASK [svirt.fleet.audit : Verdict]")[2]
    assert "refused or not changed" in closing
    assert "d1: " in closing


@pytest.mark.parametrize("steps", ["[]", "''", "null"])
def test_a_run_without_steps_is_no_success(fleet: Path, steps: str) -> None:
    assert allocate(fleet, "-e", f'{{"svirt_run_steps": {steps}}}'.replace("'", '"')).status != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="the modules want root")
@pytest.mark.skipif(any(map(Path.exists, DAEMONS)), reason="it would change this very machine")
def test_a_part_by_itself_goes_by_what_was_left_and_the_canary_holds_the_others(fleet: Path) -> None:
    local = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    fleet.write_text(f"kvm1 {local}\nkvm2 {local}\n")
    allocate(fleet, steps=["reserve"])
    run = allocate(fleet, "--check", steps=["apply"])
    assert run.status == 2, run.output
    looked, _play, done = run.output.partition("PLAY [Apply]")
    assert "FAILED!" not in looked
    (canary,) = re.findall(r"fatal: \[(kvm[12])\]: FAILED!", done)
    assert "no libvirt daemon for QEMU is installed" in done
    assert {"kvm1": "kvm2", "kvm2": "kvm1"}[canary] not in done.partition("PLAY RECAP")[0]
    assert "PLAY [Confirm" not in done


def test_the_parts_are_in_the_order_in_which_no_label_is_given_twice() -> None:
    plays = yaml.safe_load((ROOT / "playbooks/allocate.yml").read_text())
    tasks = [task for one in plays for task in one.get("tasks", [])]
    operations = [
        task["svirt.fleet.category_allocation"]["operation"]
        for task in tasks
        if "svirt.fleet.category_allocation" in task
    ]
    assert operations == ["reserve", "publish", "observe"]
    (apply,) = [one for one in plays if one["name"] == "Apply"]
    assert (apply["serial"], apply["max_fail_percentage"]) == ("{{ svirt_serial | default([1, '25%', '100%']) }}", 0)
    assert plays[-1]["ansible.builtin.import_playbook"] == "audit.yml"
    assert [one["name"] for one in plays].index("Confirm the result") == len(plays) - 2
