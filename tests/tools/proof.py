# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""What a run of the checks showed: the table of times, the names of failed tests, build/proof.json."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tools.running import ROOT, Outcome, line_of

FILE = ROOT / "build" / "proof.json"
#: Minutes after which a run is too long for CI, which ends at 90.
LONG = 45
_NAMED = re.compile(r"(?:FAILED|ERROR) \S+\.py::[^\n\"]+")


def table(outcomes: Sequence[Outcome], seconds: float) -> Iterator[str]:
    """Every check with its time, the longest first, and how long all took together."""
    yield "==> what each check took"
    yield from (line_of(each) for each in sorted(outcomes, key=lambda each: -each.seconds))
    yield f"     all together {seconds / 60:.1f} minutes"
    if seconds > LONG * 60:
        yield f"     WARNING: more than {LONG} minutes; CI ends at 90, and a slow day is twice as long"


@dataclass(frozen=True)
class Tree:
    """What the checkout holds: its commit, and whether anything in it is not committed."""

    commit: str
    changed: bool

    @classmethod
    def now(cls) -> Tree:
        return cls(git("rev-parse", "HEAD"), bool(git("status", "--porcelain")))


def document(plan: str, outcomes: Sequence[Outcome], seconds: float, before: Tree, after: Tree) -> dict[str, Any]:
    """The run as build/proof.json has it: seconds of wall clock, and pytest's counts by its own words.

    before, after: the checkout when the run began and when it ended. A run proves a commit only if both are the same.
    """
    return {
        "plan": plan,
        "commit": before.commit,
        "uncommitted_changes": before.changed or after.changed,
        "same_tree_to_the_end": before == after,
        "ended_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "result": _result(outcomes),
        "seconds": round(seconds, 1),
        "checks": [
            {
                "name": each.check.name,
                "result": each.result,
                "seconds": round(each.seconds, 1),
                "count": each.counts,
            }
            for each in outcomes
        ],
    }


def _result(outcomes: Sequence[Outcome]) -> str:
    """Of the whole run: "incomplete" when nothing failed, and something was not run."""
    results = {each.result for each in outcomes}
    return "failed" if "failed" in results else "incomplete" if "not run" in results else "passed"


def write(plan: str, outcomes: Sequence[Outcome], seconds: float, before: Tree, path: Path = FILE) -> None:
    """Keep what a run showed of the commit that it began with."""
    path.write_text(json.dumps(document(plan, outcomes, seconds, before, Tree.now()), indent=2) + "\n")


def git(*words: str) -> str:
    """What git says of the checkout; empty where there is none."""
    done = subprocess.run(["git", *words], cwd=ROOT, check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def failed_tests(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What pytest named in the logs of checks that failed; what Ansible printed of it stands in quotes."""
    for outcome in outcomes:
        if outcome.result == "failed":
            yield from dict.fromkeys(_NAMED.findall(outcome.check.log.read_text(errors="replace")))


def closing_line(outcomes: Sequence[Outcome]) -> str | None:
    """The last line that pytest printed, of the unit tests."""
    for outcome in outcomes:
        if outcome.check.name == "pytest":
            return outcome.check.log.read_text().rstrip().rpartition("\n")[2]
    return None
