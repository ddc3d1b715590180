# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""A check is a command; this runs checks side by side and says of each how long it took."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tests.lab.machine.process import Process
from tests.tools import environment, stopping

ROOT = environment.ROOT
LOGS = environment.BUILD / "log"
SPEAKING = threading.Lock()  # checks that run side by side do not talk over each other
COUNTED = re.compile(r"(\d+) (failed|passed|deselected|skipped|xfailed|errors?)\b")
CLOSING = re.compile(r"\d+ (?:failed|passed)[^\"=\n]* in [\d.]+s")

UNDER_WAY = stopping.UnderWay()
_UNDO = 300.0  # seconds
#: Exit status of a check that cannot run on this machine, as automake has it; the last line of its log says why.
NOT_RUN = 77

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
    #: Seconds in which it has come to its end, or has failed; None: no limit.
    limit: float | None = 3600.0
    #: Whether it may end with NOT_RUN.
    optional: bool = False

    @property
    def log(self) -> Path:
        return LOGS / (self.name.replace(" ", "-") + ".log")


@dataclass(frozen=True)
class Outcome:
    """How a check ended. counts: what pytest counted in all its runs, by its words."""

    check: Check
    passed: bool
    seconds: float
    counts: dict[str, int]
    #: It needs what this machine lacks. Such a check has not passed.
    not_run: bool = False

    @property
    def result(self) -> str:
        return "passed" if self.passed else "not run" if self.not_run else "failed"


def say(text: str) -> None:
    with SPEAKING:
        print(text, flush=True)


def run_all(checks: Sequence[Check], at_a_time: int) -> Iterator[Outcome]:
    """Run checks, so many side by side, and report each as it ends. Whatever ends this early ends them, too."""
    say(f"==> {len(checks)} checks, {at_a_time} at a time")
    with ThreadPoolExecutor(at_a_time) as pool:
        futures = [pool.submit(run, check) for check in checks]
        try:
            for future in as_completed(futures):
                report(future.result())
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            UNDER_WAY.stop()
            raise


def run(check: Check) -> Outcome:
    """Run one check to its end, or to its limit. Its output goes to its log."""
    started = time.monotonic()
    with check.log.open("w") as log:
        status = call(check, log)
        if status is None or UNDER_WAY.stopping:
            why = "the run was stopped" if UNDER_WAY.stopping else f"no end after {check.limit:.0f} s"
            log.write(f"\n{check.name}: {why}, so it was killed\n")
            log.flush()
            undo(check, log)
    counts = counts_of(check.log.read_text(errors="replace"))
    not_run = check.optional and status == NOT_RUN
    return Outcome(check, status == 0, time.monotonic() - started, counts, not_run)


def call(check: Check, log: TextIO) -> int | None:
    """Its exit status; None when it did not run to its end, and was killed with all that it started."""
    given = {"cwd": check.folder, "env": {**ENVIRONMENT, **check.variables}}
    with UNDER_WAY.start(check.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **given) as own:
        if own is None:
            return None
        say(f"     {check.name} begins")
        try:
            return own.wait(check.limit)
        except subprocess.TimeoutExpired:
            stopping.end([Process.of(own.pid)])
            return None


def undo(check: Check, log: TextIO) -> None:
    """Take away what a check that was killed left, and say what that was."""
    if check.undo is None:
        return
    try:
        done = subprocess.run(
            check.undo, cwd=check.folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=_UNDO, check=False
        )
        said = done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        said = f"{' '.join(check.undo)}: not done after {_UNDO:.0f} s"
    log.write(said)
    for line in said.splitlines():
        say(f"     {check.name}: {line}")


def counts_of(text: str) -> dict[str, int]:
    """What pytest counted, summed over its closing lines in a log."""
    total: dict[str, int] = {}
    # A line that Ansible shows stands in its log twice, as part of a list and by itself.
    for line in dict.fromkeys(CLOSING.findall(text)):
        for number, word in COUNTED.findall(line):
            total[word] = total.get(word, 0) + int(number)
    return total


def line_of(outcome: Outcome) -> str:
    """Result, name, seconds and counts of a check."""
    word = {"passed": "ok  ", "not run": "skip", "failed": "FAIL"}[outcome.result]
    counts = ", ".join(f"{number} {what}" for what, number in outcome.counts.items())
    return f"{word} {outcome.check.name:<24} {outcome.seconds:7.1f} s   {counts}".rstrip()


def report(outcome: Outcome) -> None:
    """One line for a check that passed; for any other also its output."""
    if not outcome.passed:
        say(outcome.check.log.read_text(errors="replace").rstrip())
    say(f"{line_of(outcome)}   {outcome.check.log.relative_to(ROOT)}")
