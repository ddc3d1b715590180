# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The playbook that renders a report, run as an operator runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_text import report_text
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots

from tests.unit.support.playbooks import inventory, play, refused
from tests.unit.support.rendered import READERS
from tests.unit.support.reports import whole

__all__ = ["inventory", "refused"]


@pytest.fixture
def report(inventory: Path) -> Path:
    return _snapshots.write_text(inventory.parent / "report" / "report.json", report_text(whole()))


def test_a_run_is_rendered_without_its_files_and_without_contacting_a_host(inventory: Path) -> None:
    audit = play("audit", inventory, "--limit", "down1", "-e", "svirt_run_id=first").report
    (inventory.parent / "report" / "report.json").unlink()
    play("audit", inventory, "--limit", "down2", "-e", "svirt_run_id=second")
    run = play("report", inventory, "-e", '{"svirt_report_formats": ["json", "csv"], "svirt_run_id": "first"}')
    assert run.status == 0, run.output
    assert "unreachable=1" not in run.output
    assert run.report == audit
    assert READERS["csv"]((run.folder / "report.csv").read_text()).verdict == "unknown"
    play("report", inventory, "-e", "svirt_report_formats=json")
    assert run.report["run"] == "second"


def test_formats_of_a_file_are_written_beside_it(inventory: Path, report: Path) -> None:
    run = play("report", inventory, "-e", "svirt_report_formats=junit,csv", "-e", f"svirt_report_file={report}")
    assert run.status == 0, run.output
    assert "unreachable=1" not in run.output
    for name, file in (("junit", "report.junit.xml"), ("csv", "report.csv")):
        assert READERS[name]((report.parent / file).read_bytes().decode()).verdict == "fail"


@pytest.mark.usefixtures("report")
def test_a_limit_would_leave_the_play_out_and_is_refused(inventory: Path) -> None:
    run = play("report", inventory, "-e", "svirt_report_formats=junit", "--limit", "down1")
    assert run.status != 0
    assert "--limit 'down1' would leave it out" in " ".join(run.output.split())
    assert not (run.folder / "report.junit.xml").exists()


def test_another_report_is_rendered_beside_itself_or_in_the_folder(inventory: Path, report: Path) -> None:
    other = report.rename(report.parent / "old.json")
    run = play("report", inventory, "-e", f"svirt_report_file={other}", "-e", "svirt_report_formats=markdown")
    assert run.status == 0, run.output
    assert READERS["markdown"]((run.folder / "old.md").read_text()).verdict == "fail"


def test_a_format_that_does_not_exist_is_told_with_the_nearest(inventory: Path, report: Path) -> None:
    run = play("report", inventory, "-e", "svirt_report_formats=junti", "-e", f"svirt_report_file={report}")
    assert run.status == 2
    assert "did you mean junit?" in run.output


def test_a_missing_report_is_told(inventory: Path) -> None:
    run = play("report", inventory, "-e", "svirt_report_file=nowhere.json")
    assert run.status == 2
    assert "there is no report at" in run.output
    run = play("report", inventory)
    assert run.status == 2
    assert "there is no store" in " ".join(run.output.split())


def test_an_unknown_format_of_an_audit_is_told_before_hosts_are_read(inventory: Path) -> None:
    run = play("audit", inventory, "-e", "svirt_report_formats=jnuit")
    assert run.status == 2
    assert "did you mean junit?" in run.output
    assert not (run.folder / "snapshots").exists()


def test_an_audit_writes_the_formats_asked_for(inventory: Path) -> None:
    run = play("audit", inventory, "--limit", "down1", "-e", "svirt_report_formats=prometheus,junit")
    assert run.status == 2, run.output
    assert READERS["prometheus"]((run.folder / "report.prom").read_text()).verdict == "unknown"
    assert READERS["junit"]((run.folder / "report.junit.xml").read_text()).verdict == "unknown"
