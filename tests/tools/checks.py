# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Runs the checks of `make test`, two at a time, and says of each how long it took.

    python -m tests.tools.checks sanity image lint importer unit store lab node

First those that only read, with the lab's image made beside them. Then the scenarios on two hosts, each alone, for an
emulated host takes a whole processor; then those on one host, side by side. What they printed is in build/log/, and on
the terminal when one failed. pytest's own closing line comes last.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tests.lab.machine.process import descendants
from tests.scenarios.soak import SOAK
from tests.tools import clean_copy, environment

ROOT = environment.ROOT
LOGS = environment.BUILD / "log"
COPY = clean_copy.COLLECTION
SPEAKING = threading.Lock()  # checks that run side by side do not talk over each other
NAMED = re.compile(r"(?:FAILED|ERROR) \S+\.py::[^\n\"]+")
COUNTED = re.compile(r"\d+ (?:failed|passed)[^\"=\n]* in [\d.]+s")
SIDE_BY_SIDE = 2  # what the smallest machine of CI has in cores
#: Seconds in which a check has come to its end, or has failed. The long form has no limit.
LIMIT = None if SOAK else 2400.0

# What every check finds in its environment: our tools first, this checkout as svirt.fleet, and text in UTF-8.
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    "ANSIBLE_COLLECTIONS_PATH": str(environment.BUILD / "collections"),
    "LC_ALL": "C.UTF-8",
    "NO_COLOR": "1",
}


@dataclass(frozen=True)
class Check:
    """One command, where it runs, and what it finds in its environment beside ours."""

    name: str
    command: list[str]
    folder: Path = ROOT
    variables: dict[str, str] = field(default_factory=dict)
    #: What takes away what the command started, should it come to no end.
    undo: list[str] | None = None

    @property
    def log(self) -> Path:
        return LOGS / (self.name.replace(" ", "-") + ".log")


@dataclass(frozen=True)
class Outcome:
    """How a check ended."""

    check: Check
    passed: bool
    seconds: float


def say(text: str) -> None:
    with SPEAKING:
        print(text, flush=True)


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
    docs = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", "."]
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


def importer() -> Iterator[Check]:
    yield Check("galaxy-importer", [sys.executable, "-m", "tests.tools.importer"])


def unit() -> Iterator[Check]:
    yield Check("pytest", [sys.executable, "-m", "pytest"])


def store() -> Iterator[Check]:
    yield Check("pytest store", [sys.executable, "-m", "pytest", "tests/store"])


def image() -> Iterator[Check]:
    yield Check("lab image", [sys.executable, "-m", "tests.lab", "image", "--install"])


def lab() -> Iterator[Check]:
    for name in ("default", "tamper", "fleet"):
        yield scenario(name)


def node() -> Iterator[Check]:
    for name in ("faults", "transitions"):
        yield scenario(name)


def scenario(name: str) -> Check:
    molecule = [["molecule", word, "--scenario-name", name] for word in ("test", "destroy")]
    return Check(f"molecule {name}", molecule[0], undo=molecule[1])


GROUPS = {
    "sanity": sanity,
    "lint": lint,
    "importer": importer,
    "unit": unit,
    "store": store,
    "image": image,
    "lab": lab,
    "node": node,
}
#: Groups in the order of their turns, and how many of their checks run at a time.
TURNS = [
    ({"sanity", "image", "lint", "importer", "unit", "store"}, SIDE_BY_SIDE),
    ({"lab"}, 1),
    ({"node"}, SIDE_BY_SIDE),
]


def run(check: Check) -> Outcome:
    """Run one check to its end, or to its limit. Its output goes to its log."""
    say(f"     {check.name} begins")
    started = time.monotonic()
    with check.log.open("w") as log:
        status = call(check, check.command, log)
        if status is None:
            log.write(f"\n{check.name}: no end after {LIMIT:.0f} s, so it was killed\n")
            log.flush()
            if check.undo:
                call(check, check.undo, log)
    return Outcome(check, status == 0, time.monotonic() - started)


def call(check: Check, command: list[str], log: TextIO) -> int | None:
    """Its exit status; None when it came to no end in time and was killed, with all that it started."""
    with subprocess.Popen(
        command,
        cwd=check.folder,
        env={**ENVIRONMENT, **check.variables},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            return process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            for pid in descendants(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return None


def report(outcome: Outcome) -> None:
    """One line for a check that passed, with pytest's count where there is one; for one that failed also its output."""
    text = outcome.check.log.read_text(errors="replace")
    if not outcome.passed:
        say(text.rstrip())
    word, log = "ok  " if outcome.passed else "FAIL", outcome.check.log.relative_to(ROOT)
    count = (COUNTED.findall(text) or [""])[-1]
    say(f"{word} {outcome.check.name:<24} {outcome.seconds:7.1f} s   {log!s:<40} {count}".rstrip())


def run_all(checks: list[Check], at_a_time: int) -> Iterator[Outcome]:
    say(f"==> {len(checks)} checks, {at_a_time} at a time")
    with ThreadPoolExecutor(at_a_time) as pool:
        for future in as_completed([pool.submit(run, check) for check in checks]):
            report(future.result())
            yield future.result()


def closing_line(outcomes: list[Outcome]) -> str | None:
    """The last line that pytest printed."""
    for outcome in outcomes:
        if outcome.check.name == "pytest":
            return outcome.check.log.read_text().rstrip().rpartition("\n")[2]
    return None


def failed_tests(outcomes: list[Outcome]) -> Iterator[str]:
    """What pytest named in the logs of checks that failed; what Ansible printed of it stands in quotes."""
    for outcome in outcomes:
        if not outcome.passed:
            yield from dict.fromkeys(NAMED.findall(outcome.check.log.read_text(errors="replace")))


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the checks, two at a time.")
    parser.add_argument("groups", nargs="+", choices=GROUPS, metavar="GROUP", help=" ".join(GROUPS))
    groups: list[str] = parser.parse_args().groups
    LOGS.mkdir(parents=True, exist_ok=True)
    clean_copy.refresh()

    outcomes: list[Outcome] = []
    for turn, at_a_time in TURNS:
        if checks := [check for group in groups if group in turn for check in GROUPS[group]()]:
            outcomes += run_all(checks, at_a_time)

    for line in failed_tests(outcomes):
        say(line)
    failed = [outcome.check.name for outcome in outcomes if not outcome.passed]
    say(f"==> failed: {', '.join(failed)}" if failed else f"==> all {len(outcomes)} checks passed")
    if last := closing_line(outcomes):
        say(last)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
