# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Section L: no way through Ansible ends green without a verdict, and the cause of a failure is shown whole."""

from __future__ import annotations

import datetime
import json
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.lookup.fleet_hosts import skipped
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.finding import Settings
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules import catalogue
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.plugin_utils import _failure, _snapshots

from tests.unit.support import factory
from tests.unit.support.playbooks import play, refused

__all__ = ["refused"]

ROOT = Path(__file__).resolve().parents[3]
# awx_setup writes the configuration of AWX: it has no hosts and no verdict, and needs a collection that is not here.
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml") if path.stem not in ("survey", "awx_setup"))
MIGRATION = ("-e", '{"svirt_migration_guests": ["web"], "svirt_migration_target": "here"}')


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A host that answers and has no findings: this machine runs no hypervisor."""
    path = tmp_path / "hosts.ini"
    path.write_text(f"[kvm]\nhere ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    return path


def test_l1_every_play_takes_its_hosts_from_the_lookup() -> None:
    for path in (ROOT / "playbooks" / f"{name}.yml" for name in ("survey", *PLAYBOOKS)):
        for part in yaml.safe_load(path.read_text()):
            if "hosts" in part:
                assert part["hosts"].startswith("{{ query('svirt.fleet.fleet_hosts', "), f"{path.name}: {part['name']}"
                assert not part.get("tags"), path.name


RUNS = [
    ("audit", ("--skip-tags", "always,all"), {}),
    ("audit", ("--start-at-task", "Judge the fleet"), {}),
    ("audit", (), {"ANSIBLE_RUN_TAGS": "anything"}),
    ("audit", (), {"ANSIBLE_SKIP_TAGS": "all"}),
    *((name, ("--tags", "anything"), {}) for name in PLAYBOOKS),
]


@pytest.mark.parametrize(("name", "options", "environment"), RUNS)
def test_l1_a_run_that_leaves_tasks_out_fails(
    here: Path, name: str, options: tuple[str, ...], environment: dict[str, str]
) -> None:
    run = play(name, here, *options, *(MIGRATION if name == "migration_check" else ()), **environment)
    assert run.status != 0
    assert "would leave out parts of this playbook" in run.output
    assert "TASK" not in run.output


def test_l1_hosts_outside_the_limit_are_named_and_may_use_shared_storage(here: Path) -> None:
    here.write_text(here.read_text() + "there ansible_connection=local\n")
    run = play("audit", here, "--limit", "here", "-e", "ansible_python_interpreter=/nonexistent/python")
    assert run.report["fleet"]["left_out"] == ["there"]
    assert "Outside --limit, neither read nor compared: there." in run.output
    assert list(run.hosts) == ["here"]


@pytest.mark.parametrize("options", [("--list-tasks", "--tags", "x"), ("--list-hosts",), ("--syntax-check",)])
def test_l1_listings_are_no_runs(here: Path, options: tuple[str, ...]) -> None:
    assert play("audit", here, *options).status == 0


@pytest.mark.parametrize("limit", ["localhost", "nobody", "here,!here"])
def test_l1_a_limit_that_leaves_no_host_fails(here: Path, limit: str) -> None:
    assert play("audit", here, "--limit", limit).status != 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"tags": ["all"], "skip_tags": ()}, ""),
        ({}, ""),
        ({"tags": ["all", "x"]}, "--tags x"),
        ({"tags": ["always"]}, "--tags always"),
        ({"skip_tags": ["x", "notest"]}, "--skip-tags x"),
        ({"skip_tags": ["molecule-notest", "notest", "molecule-idempotence-notest"]}, ""),
        ({"start_at_task": "Verdict"}, "--start-at-task 'Verdict'"),
        ({"step": True}, "--step"),
    ],
)
def test_l1_options_that_leave_tasks_out(arguments: dict[str, t.Any], named: str) -> None:
    assert skipped(arguments).partition(" would ")[0] == named


def test_l2_the_closing_failure_is_the_task_verdict_and_looks_like_no_crash(here: Path) -> None:
    run = play("audit", here, "-e", "ansible_python_interpreter=/nonexistent/python")
    assert run.status == 2
    closing = run.output.partition("TASK [svirt.fleet.audit : Verdict]")[2]
    assert "verdict unknown: 0 of 1 hosts fail" in closing
    for sign in ("[ERROR]", "Origin:", "Traceback", "MODULE FAILURE", "json char"):
        assert sign not in run.output, run.output


def test_l2_a_run_in_which_nothing_was_judged_has_no_verdict(here: Path) -> None:
    book = here.parent / "book.yml"
    judged: list[t.Any] = [{}, {"skipped": True, "changed": False}, {"verdict": "pass", "msg": "x", "asked": 2}, "pass"]
    for answer in judged:
        task = {"svirt.fleet.fleet_verdict": {"judged": answer}}
        book.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
        assert play(str(book), here).status == 2, answer


def test_l2_a_host_that_is_lost_before_it_is_read_is_not_judged_by_an_earlier_run(here: Path, refused: int) -> None:
    down = f"down ansible_connection=ssh ansible_host=127.0.0.1 ansible_port={refused}\n"
    here.write_text(here.read_text() + down)
    _snapshots.write_snapshot(here.parent / "report" / "snapshots", "down", encode(factory.host()))
    book = here.parent / "book.yml"
    first = {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.raw": "true"}]}
    book.write_text(yaml.safe_dump([first, {"ansible.builtin.import_playbook": "svirt.fleet.audit"}]))
    run = play(str(book), here)
    assert run.status != 0
    assert run.hosts["down"][0] == "unknown"
    assert "was not probed" in run.hosts["down"][1]


def test_l2_what_an_earlier_run_read_is_no_answer_where_nothing_can_be_written(here: Path) -> None:
    folder = here.parent / "report" / "snapshots"
    here.write_text("here ansible_connection=local ansible_python_interpreter=/nonexistent/python\n")
    folder.mkdir(parents=True)
    (folder / "here.json").mkdir()  # in place of a file that cannot be replaced
    run = play("audit", here)
    assert run.status == 2
    assert run.output.count("TASK [") == 1
    assert "cannot be removed" in run.output


@pytest.mark.parametrize("folder", ["~/report", "$HOME/report"])
def test_l2_the_report_folder_may_be_written_as_shells_do(here: Path, folder: str) -> None:
    run = play("audit", here, "-e", f"svirt_report_dir={folder}", HOME=str(here.parent))
    assert "verdict " in run.output.partition("Verdict]")[2], run.output
    assert "Traceback" not in run.output
    assert list(run.hosts) == ["here"]
    assert not (here.parent / folder.partition("/")[0]).exists()


def test_l2_a_role_without_steps_has_no_verdict(here: Path) -> None:
    run = play("audit", here, "-e", '{"audit_steps": []}')
    assert run.status == 2
    assert "run the whole audit" in run.output.partition("Verdict]")[2]
    assert "Traceback" not in run.output


@pytest.mark.parametrize("refused", [[], [{"subject": "d1", "why": "it shares storage with d2"}]])
def test_l2_a_pass_is_none_where_a_step_before_it_refused_something(here: Path, refused: list[dict[str, str]]) -> None:
    snapshots = here.parent / "snapshots"
    _snapshots.write_snapshot(snapshots, "here", encode(factory.host()))
    given = {"svirt_snapshots": str(snapshots), "audit_results": [{"changed": True, "refused": refused}]}
    run = play("audit", here, "-e", json.dumps(given))
    assert run.report["verdict"] == "pass", run.output
    assert run.status == (2 if refused else 0)
    assert ("d1: it shares storage with d2" in run.output.partition("Verdict]")[2]) is bool(refused)


FAILURES: dict[str, tuple[dict[str, t.Any], str]] = {
    "sudo without a password": (
        {"msg": "MODULE FAILURE: No start of json char found", "module_stderr": "sudo: a password is required"},
        "let the user that Ansible connects as become root",
    ),
    "not in sudoers": (
        {"msg": "MODULE FAILURE", "module_stderr": "anna is not in the sudoers file.", "rc": 1},
        "let the user that Ansible connects as become root",
    ),
    "no sudo": ({"msg": "MODULE FAILURE", "module_stderr": "/bin/sh: 1: sudo: not found", "rc": 127}, "install sudo"),
    "no interpreter": (
        {"msg": "The module interpreter '/none' was not found.", "module_stderr": "/bin/sh: 1: /none: not found"},
        "set ansible_python_interpreter",
    ),
    "an old Python": (
        {"msg": "MODULE FAILURE", "module_stderr": "SyntaxError: future feature annotations is not defined", "rc": 1},
        "set ansible_python_interpreter to a Python 3.9",
    ),
    "a full disk": ({"msg": "MODULE FAILURE", "module_stderr": "OSError: No space left on device"}, "free space"),
    "a broken library": ({"msg": "MODULE FAILURE", "module_stderr": "Segmentation fault", "rc": 139}, ""),
}


@pytest.mark.parametrize("name", list(FAILURES))
def test_l3_the_cause_of_a_failure_is_whole_and_its_remedy_comes_first(name: str) -> None:
    answer, remedy = FAILURES[name]
    why = _failure.cause(answer)
    assert why.startswith(remedy)
    assert answer["module_stderr"] in why
    assert "json char" not in why


def test_l4_a_cause_that_several_rules_wait_for_is_one_headline() -> None:
    off = factory.host()
    off.selinux.mode = "disabled"
    for guest in off.guests:
        guest.context = None
    entry = report.build(
        [report.judged(catalogue.judge("kvm1", off, Settings()), off.coverage)],
        analysis.judge([analysis.compared_host("kvm1", off)]),
        (),
        "high",
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    )["hosts"][0]
    assert entry["why"].startswith("SELinux is off, so labels mean nothing now: ")
    assert " rules wait for it" in entry["why"]
    assert entry["why"].count("SELinux is off") == 1


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_l5_variables_are_checked_before_a_host_is_contacted(here: Path, name: str) -> None:
    run = play(name, here, "-e", "svirt_failon=critical", *(MIGRATION if name == "migration_check" else ()))
    assert run.status == 2
    assert "did you mean svirt_fail_on?" in run.output
    assert run.output.count("TASK [") == 1
    assert "[ERROR]" not in run.output
