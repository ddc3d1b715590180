# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._backends import guard_hook as work
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.guard import GuardView
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.own_files import LINK, PROGRAM, SETTINGS
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.own_programs.guard import Guard
from ansible_collections.svirt.fleet.plugins.modules import guard_hook

from tests.unit.support import hosts
from tests.unit.support.handed_in import hand_journal
from tests.unit.support.hooks import HostRoot, answer, tree
from tests.unit.support.module_args import patch_module_args

SCRIPT = (Path(__file__).resolve().parents[4] / "roles/guard/files/svirt_guard.py").read_text()


def run(capsys: pytest.CaptureFixture[str], **arguments: t.Any) -> dict[str, t.Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        guard_hook.main()
    written = capsys.readouterr()
    return {**json.loads(written.out), "written": written.err}


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host in a folder; this machine's Python tries the script, and the program is not run."""

    def make(_root: object, run_command: t.Any) -> Guard:
        def run_some(command: list[str], **more: t.Any) -> tuple[int, str, str]:
            return (0, "", "") if command[0].endswith(PROGRAM) else run_command(command, **more)

        return Guard(HostRoot(tree(), answer), run_some, str(tmp_path))

    for folder in ("usr/local/lib", "usr/sbin", "etc/libvirt"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(work, "Guard", make)
    hand_journal(monkeypatch, guard_hook, tmp_path / "journal")
    return tmp_path


def test_check_mode_predicts_the_run(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foretold = run(capsys, content=SCRIPT, _ansible_check_mode=True, _ansible_diff=True)
    assert not os.path.lexists(f"{top}{LINK}")
    assert not (top / "journal").exists()
    done = run(capsys, content=SCRIPT, _ansible_diff=True)
    for result in (foretold, done):
        result.pop("invocation", None)
    assert foretold == done
    assert done["changed"] is True
    assert done["before"]["installed"] is False
    assert done["after"]["installed"] is True
    assert [item["needs"] for item in done["pending"]] == ["daemon_restart"]
    assert [item["action"] for item in done["plan"]][-1] == "link"
    assert done["diff"][-1]["after"] == f"{PROGRAM}\n"
    again = run(capsys, content=SCRIPT, _ansible_diff=True)
    assert (again["changed"], again["plan"], again["diff"]) == (False, [], [])
    assert again["before"] == again["after"] == done["after"]
    assert [path.name for path in (top / "journal").iterdir() if path.name != "lock"] == ["000001-guard_hook.jsonl"]


def test_what_the_guard_does_without_is_in_the_result_of_each_run_and_warned_of(
    top: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = Reason("judged_by_status", "the policy does not let it")
    monkeypatch.setattr(Guard, "view", lambda _self: GuardView(("svirt_t",), False, (limit,)))
    first, second = run(capsys, content=SCRIPT), run(capsys, content=SCRIPT)
    for result in (first, second):
        assert [(item["subject"], item["code"]) for item in result["limits"]] == [(LINK, "judged_by_status")]
    # Where the controller's code is loaded too, as by other tests, warnings are written at once.
    assert "guard: the policy does not let it" in " ".join(first["written"].split()) + json.dumps(first.get("warnings"))
    assert second["changed"] is False
    assert first["after"]["settings"]["readable"] == ["svirt_t"]
    assert first["after"]["settings"]["ask"] is False


def test_settings_change_and_the_guard_goes(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, content=SCRIPT)
    changed = run(capsys, content=SCRIPT, collision="allow")
    assert [item["subject"] for item in changed["plan"]] == [SETTINGS]
    assert changed["after"]["settings"]["collision"] == "allow"
    gone = run(capsys, state="absent")
    assert [item["action"] for item in gone["plan"]] == ["unlink", "remove", "remove", "remove"]
    assert (gone["after"]["installed"], gone["pending"]) == (False, [])
    assert not os.path.lexists(f"{top}{LINK}")
    assert run(capsys, state="absent")["changed"] is False


@pytest.mark.parametrize("check", [False, True])
def test_a_script_that_does_not_work_changes_nothing(
    top: Path, capsys: pytest.CaptureFixture[str], check: bool
) -> None:
    result = run(capsys, content="this is no python", _ansible_check_mode=check)
    assert result["failed"] is True
    assert "SyntaxError" in result["msg"]
    assert not os.path.lexists(f"{top}{LINK}")
    assert not (top / "etc/svirt-fleet").exists()


def test_a_daemon_that_may_not_run_it(
    top: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "objections", lambda *_: [Reason("denied", "denied: execute")])
    result = run(capsys, content=SCRIPT)
    assert result["msg"].endswith(": denied: execute")
    assert not os.path.lexists(f"{top}{LINK}")
    assert run(capsys, content=SCRIPT, foreseen_policy=True)["failed"] is True  # by now it would be loaded
    foretold = run(capsys, content=SCRIPT, foreseen_policy=True, _ansible_check_mode=True)
    assert foretold["changed"] is True


def test_without_selinux_it_is_left_out_aloud(
    top: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Guard(HostRoot(hosts.apparmor()), lambda *_, **__: (0, "", ""), str(top))
    monkeypatch.setattr(work, "Guard", lambda *_: host)
    result = run(capsys, content=SCRIPT)
    assert (result["changed"], result["plan"], result["pending"]) == (False, [], [])
    assert [(item["subject"], item["code"]) for item in result["refused"]] == [(LINK, "selinux_off")]
    assert result["before"] == result["after"]


def test_content_is_needed(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "state is present but all of the following are missing: content" in run(capsys)["msg"]
    assert run(capsys, content="")["msg"].startswith("content is empty")
