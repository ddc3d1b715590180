# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The playbook over hosts that cannot be read, run as an operator runs it: exit status, report, last words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.unit.support.playbooks import Run, inventory, play, refused

__all__ = ["inventory", "refused"]


def audit(inventory: Path, *options: str, **environment: str) -> Run:
    return play("audit", inventory, *options, **environment)


def test_with_every_host_down_the_analysis_still_runs_and_says_unknown(inventory: Path) -> None:
    run = audit(inventory, "--limit", "down")
    assert run.status == 2, run.output
    assert run.report["verdict"] == "unknown"
    assert list(run.hosts) == ["down1", "down2"]
    assert {verdict for verdict, _why in run.hosts.values()} == {"unknown"}
    assert all("refused" in why.lower() for _verdict, why in run.hosts.values())
    assert f"UNKNOWN: 2 hosts: 2 unknown (fail_on high). Report: {run.folder}/report.json" in run.output


@pytest.mark.parametrize(
    "environment",
    [{}, {"ANSIBLE_ANY_ERRORS_FATAL": "true", "ANSIBLE_STRATEGY": "free"}],
    ids=["plain", "any_errors_fatal and free"],
)
def test_a_host_that_is_down_and_a_module_that_fails_stop_nobody(inventory: Path, environment: dict[str, str]) -> None:
    run = audit(inventory, **environment)
    assert run.status == 2, run.output
    assert list(run.hosts) == ["broken1", "down1", "down2"]
    assert {verdict for verdict, _why in run.hosts.values()} == {"unknown"}
    why = run.hosts["broken1"][1]
    assert "/nonexistent/python" in why or "interpreter" in why  # the second in ansible-core 2.18


def test_what_is_unknown_fails_even_when_no_finding_may(inventory: Path) -> None:
    run = audit(inventory, "--limit", "broken1", "-e", "svirt_fail_on=never")
    assert (run.status, list(run.hosts)) == (2, ["broken1"])


def test_check_mode_gives_the_same_report(inventory: Path) -> None:
    run = audit(inventory, "--limit", "broken1", "--check")
    assert (run.status, run.report["verdict"]) == (2, "unknown")


@pytest.mark.parametrize(
    "options",
    [("-e", "svirt_hosts=nobody"), ("--limit", "nobody"), ("-e", "svirt_hosts=down", "--limit", "broken1")],
)
def test_no_host_at_all_is_no_success(inventory: Path, options: tuple[str, ...]) -> None:
    assert audit(inventory, *options).status != 0


def test_an_empty_inventory_is_no_success(tmp_path: Path) -> None:
    empty = tmp_path / "hosts.ini"
    empty.write_text("[kvm]\n")
    run = audit(empty)
    assert run.status in (1, 4)  # by ansible-core's version
    assert "nothing would be done" in run.output


def test_a_bad_waiver_is_named_by_its_place(inventory: Path) -> None:
    run = audit(inventory, "--limit", "broken1", "-e", '{"svirt_waivers": [{"rule": "GST-001"}]}')
    assert run.status == 2
    assert "waivers[0]: reason is missing" in run.output


def test_the_last_runs_snapshot_is_not_taken_for_todays(inventory: Path) -> None:
    stale = inventory.parent / "report" / "snapshots" / "down1.json"
    stale.parent.mkdir(parents=True)
    stale.write_text(
        json.dumps({"schema": "svirt.fleet/unread/1", "host": "down1", "why": "yesterday", "taken_at": 1.0})
    )
    run = audit(inventory, "--limit", "down1")
    assert "refused" in run.hosts["down1"][1].lower()


def test_what_was_read_before_can_be_judged_without_reading(inventory: Path) -> None:
    audit(inventory, "--limit", "down1")
    before = inventory.parent / "report" / "snapshots"
    run = audit(inventory, "--limit", "down1,down2", "-e", f"svirt_snapshots={before}")
    assert "refused" in run.hosts["down1"][1].lower()
    assert "the host was not probed" in run.hosts["down2"][1]


def test_slices_collect_and_one_job_judges(inventory: Path) -> None:
    name = ("-e", "svirt_inventory=prod")
    for limit in ("down1", "broken1"):
        run = audit(inventory, "--limit", limit, *name, "-e", "svirt_run_steps=collect")
        assert run.status == 0, run.output
        assert not (run.folder / "report.json").exists()
        shutil.rmtree(run.folder)  # each job has its own
    run = audit(inventory, *name, "-e", "svirt_run_steps=judge")
    assert run.status == 2, run.output
    assert "UNREACHABLE" not in run.output
    assert set(run.hosts) == {"broken1", "down1", "down2"}
    assert "refused" in run.hosts["down1"][1].lower()
    assert run.report["run"] in run.hosts["down2"][1]  # no slice has read it
    again = audit(inventory, *name, "-e", "svirt_run_steps=judge")
    assert (again.status, run.report["run"] in again.output) == (2, True)


def test_a_step_of_another_playbook_is_refused(inventory: Path) -> None:
    run = audit(inventory, "-e", "svirt_run_steps=reserve")
    assert run.status == 2
    assert "collect, judge" in " ".join(run.output.split())
    assert not (run.folder / "snapshots").exists()
