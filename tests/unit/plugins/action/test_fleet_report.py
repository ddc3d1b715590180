# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible_collections.svirt.fleet.plugins.action import fleet_report
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_text import report_text
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import ReportError
from ansible_collections.svirt.fleet.plugins.modules import fleet_report as documented
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots
from ansible_collections.svirt.fleet.plugins.plugin_utils._formats import writing
from ansible_collections.svirt.fleet.plugins.plugin_utils._formats.table import FORMATS

from tests.unit.support.actions import run
from tests.unit.support.rendered import READERS
from tests.unit.support.reports import whole


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return _snapshots.write_text(tmp_path / "report.json", report_text(whole()))


def test_each_format_is_written_beside_the_report(report: Path) -> None:
    before = report.read_bytes()
    result = run(fleet_report, report=str(report), formats=list(FORMATS))
    assert result["verdict"] == "fail"
    assert result["counts"] == whole()["fleet"]["findings"]
    assert set(result["files"]) == set(FORMATS) - {"json"}
    for name, path in result["files"].items():
        assert Path(path).parent == report.parent
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert READERS[name](Path(path).read_bytes().decode()).verdict == "fail"
    assert report.read_bytes() == before
    assert {path.name for path in report.parent.iterdir()} == {f"report.{form.suffix}" for form in FORMATS.values()}


@pytest.mark.parametrize("option", ["run", "since_run"])
def test_a_report_in_a_file_is_no_run(report: Path, option: str) -> None:
    with pytest.raises(AnsibleActionFail, match=f"{option} names a run in the store"):
        run(fleet_report, False, False, report=str(report), formats=["csv"], **{option: "before"})
    assert not (report.parent / "report.csv").exists()


def test_the_report_itself_is_copied_to_another_folder(report: Path) -> None:
    folder = report.parent / "new" / "place"
    result = run(fleet_report, report=str(report), formats=["json"], dest=str(folder))
    assert result["files"] == {"json": str(folder / "report.json")}
    assert (folder / "report.json").read_bytes() == report.read_bytes()


def test_a_file_that_is_replaced_keeps_its_permissions(report: Path) -> None:
    public = report.parent / "report.prom"
    public.write_text("old")
    public.chmod(0o644)
    run(fleet_report, report=str(report), formats=["prometheus"])
    assert public.stat().st_mode & 0o777 == 0o644
    assert "svirt_fleet_verdict" in public.read_text()


def code_of(report: Path, *names: str, folder: Path | None = None) -> str:
    """The code of the error that the action's steps raise."""
    with pytest.raises(ReportError) as caught:
        writing.write_formats(writing.load(report), report, folder or report.parent, names)
    return caught.value.code


def test_a_format_that_does_not_exist_is_told_with_the_nearest(report: Path) -> None:
    assert code_of(report, "prometeus") == "unknown_format"
    with pytest.raises(AnsibleActionFail, match="did you mean prometheus"):
        run(fleet_report, report=str(report), formats=["csv", "prometeus"])
    assert not (report.parent / "report.csv").exists()


def test_a_folder_that_cannot_be_written_is_told(report: Path) -> None:
    taken = report.parent / "taken"
    taken.write_text("a file")
    assert code_of(report, "csv", folder=taken) == "not_writable"


def test_an_empty_list_of_formats_is_refused(report: Path) -> None:
    with pytest.raises(AnsibleActionFail, match="name at least one"):
        run(fleet_report, report=str(report), formats=[])


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "no_report"),
        (b"", "no_json"),
        (b"{", "no_json"),
        (b"[" * 100_000, "no_json"),
        (b"\xff\xfe\xfd", "no_json"),
        (b"{}", "not_a_report"),
        (json.dumps({**whole(), "verdict": "green"}).encode(), "bad_choice"),
        (json.dumps({**whole(), "findings": [{}]}).encode(), "missing_field"),
    ],
)
def test_a_report_that_cannot_be_used_is_told(tmp_path: Path, content: bytes | None, code: str) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReportError) as caught:
        writing.load(path)
    assert caught.value.code == code
    assert str(path) in str(caught.value)


def test_a_folder_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ReportError) as caught:
        writing.load(tmp_path)
    assert caught.value.code == "not_readable"


def test_the_documentation_has_all_options_and_formats() -> None:
    options = yaml.safe_load(documented.DOCUMENTATION)["options"]
    assert set(options) == set(fleet_report.ActionModule.ARGUMENTS)
    told = " ".join(options["formats"]["description"])
    for name, form in FORMATS.items():
        assert f"V({name})" in told
        assert f"C(report.{form.suffix})" in told
