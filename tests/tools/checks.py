# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Runs the checks of `make test`, two at a time, and says of each how long it took.

    python -m tests.tools.checks lint sanity importer unit lab

Checks that only read run side by side; those of the lab run alone, after them. What a check printed is in
build/log/, and on the terminal when it failed. pytest's own closing line comes last.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from tests.tools import clean_copy

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / "build" / "log"
SIDE_BY_SIDE = 2  # what the smallest machine of CI has in cores


@dataclass(frozen=True)
class Check:
    """One command, where it runs, and what it finds in its environment beside ours."""

    name: str
    command: list[str]
    folder: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a check ended."""

    check: Check
    passed: bool
    seconds: float
    log: Path


def python(*words: str) -> list[str]:
    return [sys.executable, *words]


def lint() -> list[Check]:
    copy = clean_copy.COLLECTION
    return [
        Check("ansible-lint", ["ansible-lint", "--offline", "--strict", "--profile", "production"], copy),
        Check("mypy", ["mypy", "-p", "ansible_collections.svirt.fleet.plugins", "-p", "tests"]),
        Check(
            "antsibull-docs",
            ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", "."],
            copy,
        ),
        Check("antsibull-changelog", ["antsibull-changelog", "lint"], copy),
        Check("ruff check", ["ruff", "check", "--no-fix"]),
        Check("ruff format", ["ruff", "format", "--check"]),
        Check("yamllint", ["yamllint", "--strict", "."], copy),
    ]


def sanity() -> list[Check]:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    clean_copy.prepare_ansible_test()
    return [
        Check(
            "ansible-test sanity",
            ["ansible-test", "sanity", "--python", version, "--color", "no", "--truncate", "0", "-v"],
            clean_copy.COLLECTION,
            {"HOME": str(clean_copy.HOME)},
        )
    ]


def importer() -> list[Check]:
    return [Check("galaxy-importer", python("-m", "tests.tools.importer"))]


def unit() -> list[Check]:
    return [Check("pytest", python("-m", "pytest"))]


def lab() -> list[Check]:
    collection = ROOT / "build" / "collections" / "ansible_collections" / "svirt" / "fleet"
    return [Check("molecule tamper", ["molecule", "test", "-s", "tamper"], collection)]


GROUPS = {"lint": lint, "sanity": sanity, "importer": importer, "unit": unit, "lab": lab}
ALONE = {"lab"}


def run(check: Check) -> Outcome:
    """Run one check to its end; its output goes to its log."""
    log = LOGS / (check.name.replace(" ", "-") + ".log")
    started = time.monotonic()
    with log.open("w") as output:
        ended = subprocess.run(
            check.command,
            cwd=check.folder,
            env={**os.environ, **check.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return Outcome(check, ended.returncode == 0, time.monotonic() - started, log)


def report(outcome: Outcome) -> None:
    """One line for a check that passed; for one that failed also what it printed."""
    if not outcome.passed:
        print(outcome.log.read_text(errors="replace").rstrip())
    word = "ok  " if outcome.passed else "FAIL"
    print(f"{word} {outcome.check.name:<22} {outcome.seconds:7.1f} s   {outcome.log.relative_to(ROOT)}", flush=True)


def run_all(checks: list[Check], workers: int) -> list[Outcome]:
    outcomes = []
    with ThreadPoolExecutor(workers) as pool:
        for future in as_completed([pool.submit(run, check) for check in checks]):
            outcomes.append(future.result())
            report(outcomes[-1])
    return outcomes


def closing_line(outcomes: list[Outcome]) -> str | None:
    """The last line that pytest printed."""
    for outcome in outcomes:
        if outcome.check.name == "pytest":
            return outcome.log.read_text(errors="replace").rstrip().rpartition("\n")[2]
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="Run checks, two at a time.")
    parser.add_argument("groups", nargs="+", choices=GROUPS, metavar="GROUP", help=" ".join(GROUPS))
    groups = parser.parse_args().groups
    LOGS.mkdir(parents=True, exist_ok=True)
    clean_copy.refresh()

    together = [check for group in groups if group not in ALONE for check in GROUPS[group]()]
    apart = [check for group in groups if group in ALONE for check in GROUPS[group]()]
    print(f"==> {len(together)} checks, {SIDE_BY_SIDE} at a time; output in {LOGS.relative_to(ROOT)}/", flush=True)
    outcomes = run_all(together, SIDE_BY_SIDE)
    if apart:
        print("==> on the lab, alone", flush=True)
        outcomes += run_all(apart, 1)

    failed = [outcome.check.name for outcome in outcomes if not outcome.passed]
    print(f"==> failed: {', '.join(failed)}" if failed else f"==> all {len(outcomes)} checks passed")
    if last := closing_line(outcomes):
        print(last)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
