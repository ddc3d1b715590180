# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which checks a plan runs, and what a run prints and writes."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.tools import checks, environment, proof, running
from tests.tools.running import NOT_RUN, Check, Outcome, counts_of

ROOT = Path(__file__).resolve().parents[3]
CLOSING = "\x1b[32m=== 31 passed, 2 deselected in 328.50s (0:05:28) ===\x1b[0m"


def names(turns: list[checks.Turn]) -> list[str]:
    return [check.name for turn in turns for check in turn.checks]


@given(st.integers(0, 10**6))
def test_consecutive_commits_run_every_scenario_in_their_turns(count: int) -> None:
    turns = [checks.whose_turn(count + each) for each in range(len(checks.SCENARIOS))]
    assert sorted(turns) == sorted(checks.SCENARIOS)


def test_every_scenario_of_molecule_is_in_the_proof() -> None:
    there = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
    assert there == {checks.STORY, *checks.SCENARIOS, *checks.PROVED_ONLY}
    assert {f"molecule {name}" for name in there} <= set(names(checks.plan_proof()))


def test_two_checks_of_one_lab_are_not_side_by_side() -> None:
    for turn in (*checks.plan_proof(), *checks.plan_test("faults")):
        labs = [str(check.undo) for check in turn.checks if check.undo]
        assert len(set(labs)) == len(labs)


def test_every_further_core_that_a_python_here_runs_is_in_the_proof_only(monkeypatch: pytest.MonkeyPatch) -> None:
    python = environment.Interpreter("/usr/bin/python3.12", "3.12.1", True)
    monkeypatch.setattr(environment, "core_python", lambda core: None if core == "2.18" else python)
    monkeypatch.setattr(metadata, "version", {"ansible-core": "2.19.14"}.get)
    wanted = {f"pytest core {core}" for core in environment.CORES} - {"pytest core 2.18", "pytest core 2.19"}
    assert {name for name in names(checks.plan_proof()) if name.startswith("pytest core")} == wanted
    assert not any(name.startswith("pytest core") for name in names(checks.plan_test("fleet")))


def test_every_supported_core_has_a_lock_and_a_workflow() -> None:
    floor = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"]
    assert floor == f">={min(environment.CORES)}.0"
    for core in environment.CORES:
        for ending in ("in", "txt"):
            lines = (ROOT / "requirements" / f"core-{core}.{ending}").read_text().splitlines()
            assert [line for line in lines if line.startswith(f"ansible-core=={core}.")]
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert set(jobs["sanity"]["strategy"]["matrix"]["core"]) == set(environment.CORES)
    units = jobs["units"]["strategy"]["matrix"]["include"]
    assert {job["core"] for job in units} == set(environment.CORES)
    assert all(f"python{job['python']}" in environment.CORES[job["core"]] for job in units)


def test_core_runs_on_the_newest_python_that_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "versions" / "3.12.1" / "bin" / "python3.12"
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    here = ["/usr/bin/python3.11", "/usr/bin/python3.14"]
    monkeypatch.setattr(environment, "candidates", lambda names: [path for path in here if Path(path).name in names])
    works = {"/usr/bin/python3.11": True, "/usr/bin/python3.14": False, str(kept): True}
    monkeypatch.setattr(environment, "probe", lambda path: environment.Interpreter(path, "3", works[path]))
    assert environment.python_for("core-2.18").path == "/usr/bin/python3.11"
    with pytest.raises(environment.SetUpError):
        environment.python_for("core-2.20")
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert environment.python_for("core-2.18").path == str(kept)
    assert environment.python_for("core-2.20").path == str(kept)


def test_tests_on_the_oldest_python_are_in_the_proof_only() -> None:
    assert checks.target_tests().name in names(checks.plan_proof())
    assert checks.target_tests().name not in names(checks.plan_test("fleet"))


@pytest.mark.parametrize("name", [*checks.SCENARIOS, *checks.PROVED_ONLY])
def test_scenario_can_be_chosen(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    planned = names(checks.plan_test(name))
    assert [each for each in planned if each.startswith("molecule")] == ["molecule default", f"molecule {name}"]
    assert name in capsys.readouterr().out


def test_whatever_needs_no_lab_is_in_every_test() -> None:
    for plan in (checks.plan_test("fleet"), checks.plan_proof()):
        wanted = {"pytest", "pytest store", "mypy", "galaxy-importer", "lab image"}
        assert wanted <= set(names(plan))


def test_long_forms_have_no_limit() -> None:
    soak = [check for turn in checks.plan_soak() for check in turn.checks]
    assert soak
    assert all(check.limit is None and check.variables == {"SVIRT_SOAK": "1"} for check in soak)


def test_counts_are_summed_over_the_runs_in_a_log() -> None:
    again = CLOSING.replace("31 passed", "1 failed, 4 passed").replace("328", "12")
    shown = f'    "{CLOSING}",\n'
    assert counts_of(f"{CLOSING}\n{shown}{again}\n") == {"passed": 35, "deselected": 4, "failed": 1}
    assert counts_of("nothing was collected") == {}


def outcome(name: str, passed: bool, seconds: float) -> Outcome:
    return Outcome(Check(name, ["true"]), passed, seconds, {"passed": 3})


def test_table_begins_with_the_longest_and_warns_of_a_run_that_is_too_long() -> None:
    outcomes = [outcome("mypy", True, 60.0), outcome("molecule fleet", False, 900.0)]
    lines = list(proof.table(outcomes, 960.0))
    assert [line.split()[:2] for line in lines[1:3]] == [["FAIL", "molecule"], ["ok", "mypy"]]
    assert not any("WARNING" in line for line in lines)
    assert any("WARNING" in line for line in proof.table(outcomes, proof.LONG * 60 + 1))


def test_proof_names_the_commit_and_every_check() -> None:
    outcomes = [outcome("mypy", True, 60.04), outcome("molecule fleet", False, 900.0)]
    tree = proof.Tree("5a8afcb", changed=False)
    found = json.loads(json.dumps(proof.document("proof", outcomes, 960.0, tree, tree)))
    assert (found["commit"], found["uncommitted_changes"], found["result"]) == ("5a8afcb", False, "failed")
    assert found["same_tree_to_the_end"]
    assert found["checks"][0] == {"name": "mypy", "result": "passed", "seconds": 60.0, "count": {"passed": 3}}
    assert [each["result"] for each in found["checks"]] == ["passed", "failed"]


@pytest.mark.parametrize("after", [proof.Tree("e025ab8", changed=False), proof.Tree("5a8afcb", changed=True)])
def test_proof_reports_a_tree_that_changed_under_it(after: proof.Tree) -> None:
    before = proof.Tree("5a8afcb", changed=False)
    found = proof.document("proof", [outcome("mypy", True, 60.0)], 60.0, before, after)
    assert (found["commit"], found["same_tree_to_the_end"]) == ("5a8afcb", False)
    assert found["uncommitted_changes"] == after.changed


def test_check_that_was_not_run_has_not_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LOGS", tmp_path)
    ends = [sys.executable, "-c", f"import sys; print('no such Python here'); sys.exit({NOT_RUN})"]
    missing = running.run(Check("elsewhere", ends, optional=True))
    failed = running.run(Check("here", ends))
    assert (missing.result, failed.result) == ("not run", "failed")

    tree = proof.Tree("5a8afcb", changed=False)
    passed = outcome("mypy", True, 60.0)
    found = proof.document("proof", [passed, missing], 60.0, tree, tree)
    assert (found["result"], found["checks"][1]["result"]) == ("incomplete", "not run")
    assert proof.document("proof", [passed, missing, failed], 60.0, tree, tree)["result"] == "failed"
    assert not running.line_of(missing).startswith("ok")


def test_run_says_what_it_did_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(proof, "FILE", environment.ROOT / "proof.json")
    monkeypatch.setattr(proof, "write", lambda *_given: None)
    missing = Outcome(Check("pytest Python 3.9", ["true"]), False, 1.0, {}, not_run=True)
    tree = proof.Tree("5a8afcb", changed=False)
    assert checks.conclude("proof", [outcome("mypy", True, 60.0), missing], 61.0, tree) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("==>")][1:] == [
        "==> 1 of 2 checks passed",
        "==> not run on this machine, and so not passed: pytest Python 3.9",
    ]
