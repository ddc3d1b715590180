# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The module on a journal of its own."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils import _module
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.file_write import change_file
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Entry, Journal
from ansible_collections.svirt.fleet.plugins.modules import svirt_rollback

from tests.unit.support.handed_in import hand_journal
from tests.unit.support.module_args import patch_module_args

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "journal")


@pytest.fixture
def conf(tmp_path: Path, folder: str) -> Path:
    """A file that two runs changed."""
    path = tmp_path / "qemu.conf"
    path.write_text("0\n")
    for content in (b"1\n", b"2\n"):
        with Journal("libvirt_security", folder) as journal:
            change_file(str(path), content, journal)
    return path


@pytest.fixture
def run(folder: str, monkeypatch: pytest.MonkeyPatch, capsys: t.Any) -> Run:
    hand_journal(monkeypatch, svirt_rollback, folder)
    monkeypatch.setattr(_module, "respawn_for", lambda _binding: None)

    def call(**arguments: t.Any) -> dict[str, t.Any]:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            svirt_rollback.main()
        result = json.loads(capsys.readouterr().out)
        result.pop("invocation", None)
        return t.cast("dict[str, t.Any]", result)

    return call


@pytest.mark.parametrize(("count", "content", "left"), [(1, "1\n", 1), (None, "0\n", 0), (9, "0\n", 0)])
def test_check_mode_predicts_the_run(run: Run, conf: Path, count: int | None, content: str, left: int) -> None:
    request = {"runs": count} if count else {}
    result = run(**request, _ansible_check_mode=True, _ansible_diff=True)
    assert conf.read_text() == "2\n"
    done = run(**request, _ansible_diff=True)
    assert done == result
    assert done["changed"] is True
    assert conf.read_text() == content
    assert len(done["before"]) == 2
    assert len(done["after"]) == left
    assert [item["subject"] for item in done["plan"]] == [str(conf)] * (2 - left)
    assert (done["diff"][0]["before"], done["diff"][0]["after"]) == ("2\n", content)


def test_nothing_to_put_back(run: Run, folder: str) -> None:
    result = run()
    assert (result["changed"], result["before"], result["plan"]) == (False, [], [])
    assert not Path(folder).exists()


def test_the_second_run_changes_nothing(run: Run, conf: Path) -> None:
    run()
    assert run()["changed"] is False


def test_what_fails_is_named_and_the_rest_is_put_back(run: Run, conf: Path, folder: str) -> None:
    with Journal("later", folder) as journal:
        journal.record([Entry("nonsense", "the thing", {})])
    result = run()
    assert result["failed"] is True
    assert "the thing: 000003-later: this version of svirt.fleet cannot put back" in result["msg"]
    assert result["changed"] is True
    assert [item["run"] for item in result["after"]] == ["000003-later"]
    assert conf.read_text() == "0\n"


def test_without_strict_what_was_not_restored_is_returned_and_the_module_succeeds(
    run: Run, conf: Path, folder: str
) -> None:
    with Journal("later", folder) as journal:
        journal.record([Entry("nonsense", "the thing", {})])
    conf.write_text("edited\n")
    told = run(strict=False, _ansible_check_mode=True)
    result = run(strict=False)
    for answer in (told, result):
        assert "failed" not in answer
        assert [item["code"] for item in answer["refused"]] == ["changed_since", "later_change_stays"]
        assert [item["subject"] for item in answer["failed_entries"]] == ["the thing"]


def test_a_count_that_is_none(run: Run) -> None:
    assert "give at least 1" in run(runs=0)["msg"]
