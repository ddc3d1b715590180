# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The checks of `make test`, `make proof` and the others, in their turns.

    python -m tests.tools.checks PLAN [--scenario NAME]

test   all that needs no lab, the story (molecule/default), and one of the other scenarios: consecutive commits take
       turns, or --scenario chooses
proof  all that needs no lab, the unit tests of host code on Python 3.9, those that meet Ansible on each further
       ansible-core, all scenarios, and the story once more on hosts that boot Debian's own kernel
soak   the scenarios, the store and the fuzz tests in their long forms, which take hours
lint, sanity

A signal stops the checks and the hosts of their scenarios; what a run that was killed left is stopped by the next one.
What checks printed is in build/log/, and on the terminal when one failed. pytest's own closing line comes last.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from tests.tools import clean_copy, cores, environment, proof, stopping
from tests.tools.running import LOGS, UNDER_WAY, Check, Outcome, run_all, say

COPY = clean_copy.COLLECTION
SIDE_BY_SIDE = 2  # what the smallest machine of CI has in cores
STORY = "default"
#: Those that take turns in `make test`, and how many hosts each has.
SCENARIOS = {"tamper": 2, "fleet": 2, "faults": 1, "transitions": 1}
#: Those that only `make proof` runs, unless one is asked for: their hosts have an image of their own.
PROVED_ONLY = {"el": 2, "bookworm": 2}
#: Hosts are emulated, and use whole processors to the end.
EMULATED = ("transitions",)
#: Plans that start hosts.
WITH_HOSTS = ("test", "proof", "soak")


@dataclass(frozen=True)
class Turn:
    """Checks that run before others, so many at a time."""

    checks: list[Check]
    at_a_time: int = SIDE_BY_SIDE


def sanity() -> Iterator[Check]:
    """Everything on our own Python; what runs on hosts also on the oldest Python that is here."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    yield ansible_test(own)
    for version in ("3.9", "3.10"):
        if environment.probe(f"python{version}"):
            yield ansible_test(version, "--test", "import", "--test", "compile")
            break


def ansible_test(version: str, *words: str) -> Check:
    command = ["ansible-test", "sanity", "--color", "no", "--truncate", "0", "--python", version, *words]
    home = clean_copy.home_for_ansible_test(version)
    return Check(f"ansible-test sanity {version}", command, COPY, {"HOME": str(home)})


def lint() -> Iterator[Check]:
    docs = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--check-extra-docs-refs"]
    docs += ["--validate-collection-refs", "self", "."]
    made = str(environment.BUILD / "nox")
    nox = [str(environment.BUILD / "venv-nox" / "bin" / "nox"), "--envdir", made, "--reuse-existing-virtualenvs"]
    yield Check("ansible-lint", ["ansible-lint", "--offline", "--strict", "--profile", "production"], COPY)
    yield Check("mypy", ["mypy", "-p", "ansible_collections.svirt.fleet.plugins", "-p", "tests"])
    yield Check("antsibull-docs", docs, COPY)
    # reuse walks all folders, and stumbles over those that ansible-test removes from build/ meanwhile.
    yield Check("antsibull-nox", nox, COPY)
    yield Check("antsibull-changelog", ["antsibull-changelog", "lint"], COPY)
    yield Check("ruff check", ["ruff", "check", "--no-fix"])
    yield Check("ruff format", ["ruff", "format", "--check"])
    yield Check("yamllint", ["yamllint", "--strict", "."], COPY)


def without_lab() -> Iterator[Check]:
    """All that needs no lab, and what makes the lab's image and kernel meanwhile."""
    yield Check("lab image", [sys.executable, "-m", "tests.lab", "image", "--install"])
    yield from sanity()
    yield from lint()
    yield Check("galaxy-importer", [sys.executable, "-m", "tests.tools.importer"])
    yield Check("pytest", [sys.executable, "-m", "pytest"])
    yield store()
    yield browser()
    yield schemas()


def target_tests() -> Check:
    """The unit tests of what hosts execute, on EL 9's Python; not run on a machine that has none."""
    return Check("pytest Python 3.9", [sys.executable, "-m", "tests.tools.target_tests"], optional=True)


def schemas() -> Check:
    """Report formats against official schemas, whose environment must be there."""
    command = [sys.executable, "-m", "pytest", "tests/schemas"]
    return Check("pytest schemas", command, variables={"SVIRT_SCHEMAS": "required"})


def browser() -> Check:
    """The HTML report in Chromium, which must be there."""
    command = [sys.executable, "-m", "pytest", "tests/browser"]
    return Check("pytest browser", command, variables={"SVIRT_BROWSER": "required"})


def store() -> Check:
    return Check("pytest store", [sys.executable, "-m", "pytest", "tests/store"])


def on_cores() -> Iterator[Check]:
    """The unit tests that meet Ansible, on each further ansible-core for which a Python is here."""
    own = metadata.version("ansible-core")
    for version in cores.runnable():
        if not own.startswith(f"{version}."):
            yield Check(f"pytest core {version}", [sys.executable, "-m", "tests.tools.cores", version])


def fuzz() -> Check:
    """The fuzz tests of the readers; SVIRT_SOAK gives them more cases."""
    return Check("pytest fuzz", [sys.executable, "-m", "pytest", "-k", "fuzz", "tests/unit"])


def scenario(name: str) -> Check:
    down = [sys.executable, "-m", "tests.lab", "down", "--dir", str(lab_of(name))]
    return Check(f"molecule {name}", ["molecule", "test", "--scenario-name", name], undo=down)


def lab_of(name: str) -> Path:
    """The folder of a scenario's lab, as .config/molecule/config.yml has it."""
    return environment.BUILD / f"lab-{name}"


def smoke() -> Check:
    """The story's own tests on hosts that boot Debian's kernel through GRUB."""
    variables = {"SVIRT_LAB_BOOT_LOADER": "yes", "PYTEST_ADDOPTS": "-k test_harden.py"}
    return replace(scenario(STORY), name="smoke on Debian's kernel", variables=variables)


def scenarios(names: list[str]) -> Iterator[Turn]:
    """Scenarios on two hosts each alone, for a host takes a processor; then those on one, side by side."""
    yield Turn([scenario(name) for name in names if _hosts(name) > 1], 1)
    yield Turn([scenario(name) for name in names if _hosts(name) == 1])


def _hosts(name: str) -> int:
    return {**SCENARIOS, **PROVED_ONLY}.get(name, 2)


def all_scenarios() -> Iterator[Turn]:
    """Every scenario, side by side, the longest first: hosts that run natively are idle for a third of the time."""
    yield Turn([scenario(name) for name in (*PROVED_ONLY, *SCENARIOS, STORY) if name not in EMULATED])
    yield Turn([smoke(), *(scenario(name) for name in EMULATED)])


def whose_turn(commits: int) -> str:
    """The scenario that `make test` runs beside the story, by the number of commits."""
    return list(SCENARIOS)[commits % len(SCENARIOS)]


def plan_test(chosen: str | None) -> list[Turn]:
    commits = proof.git("rev-list", "--count", "HEAD")
    name = chosen or whose_turn(int(commits or 0))
    why = "as was asked" if chosen else f"by its turn, at commit {commits or 'none'}; make proof runs all"
    say(f"==> scenarios: {STORY}, and {name} ({why})")
    return [Turn(list(without_lab())), *scenarios([STORY, name])]


def plan_proof() -> list[Turn]:
    first = Turn([*without_lab(), target_tests(), *on_cores()])
    return [first, *all_scenarios()]


def plan_soak() -> list[Turn]:
    turns = [Turn([store(), fuzz()]), *scenarios([STORY, *SCENARIOS])]
    return [
        replace(turn, checks=[replace(check, limit=None, variables={"SVIRT_SOAK": "1"}) for check in turn.checks])
        for turn in turns
    ]


PLANS: dict[str, Callable[[], list[Turn]]] = {
    "proof": plan_proof,
    "soak": plan_soak,
    "lint": lambda: [Turn(list(lint()))],
    "sanity": lambda: [Turn(list(sanity()))],
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.checks", description="Run a plan of checks.")
    parser.add_argument("plan", choices=["test", *PLANS])
    parser.add_argument(
        "--scenario", choices=[*SCENARIOS, *PROVED_ONLY], help="the scenario that test runs beside the story"
    )
    args = parser.parse_args()
    LOGS.mkdir(parents=True, exist_ok=True)
    stopping.raise_at_signals()
    try:
        if args.plan not in WITH_HOSTS:
            return run_plan(args.plan, args.scenario)
        with stopping.alone():
            for line in stopping.sweep(lab_of(name) for name in (STORY, *SCENARIOS, *PROVED_ONLY)):
                say(f"==> {line}")
            UNDER_WAY.record = stopping.RECORD
            return run_plan(args.plan, args.scenario)
    except stopping.BusyError as error:
        say(f"==> {error}; wait for its end, or stop it by its number")
        return 1
    except stopping.StoppedError as error:
        say(f"==> stopped by {error}")
        return 128 + error.number


def run_plan(plan: str, chosen: str | None) -> int:
    """Run a plan to its end; its exit status."""
    clean_copy.refresh()
    tree = proof.Tree.now()
    started, outcomes = time.monotonic(), list[Outcome]()
    for turn in plan_test(chosen) if plan == "test" else PLANS[plan]():
        if turn.checks:
            outcomes += run_all(turn.checks, turn.at_a_time)
    return conclude(plan, outcomes, time.monotonic() - started, tree)


def conclude(plan: str, outcomes: list[Outcome], seconds: float, tree: proof.Tree) -> int:
    """Say what the run showed; its exit status."""
    for line in (*proof.failed_tests(outcomes), *proof.table(outcomes, seconds)):
        say(line)
    if plan in ("test", "proof"):
        proof.write(plan, outcomes, seconds, tree)
        say(f"     written to {proof.FILE.relative_to(environment.ROOT)}")
    names = {word: [each.check.name for each in outcomes if each.result == word] for word in ("failed", "not run")}
    failed, missing = names["failed"], names["not run"]
    passed = "all" if not missing else f"{len(outcomes) - len(missing)} of"
    say(f"==> failed: {', '.join(failed)}" if failed else f"==> {passed} {len(outcomes)} checks passed")
    if missing:
        say(f"==> not run on this machine, and so not passed: {', '.join(missing)}")
    if last := proof.closing_line(outcomes):
        say(last)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
