# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts with faults are hardened: foretold (check), done (converge), done again with nothing left (idempotence).

Those are Molecule's own steps; most tests are about what was seen of them. All faults are there before the first run,
so that one run has much to do.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from busy import HOST, IMAGE, Busy, Load, load_of
from disk_exerciser import Counters

from tests.lab.lab import Lab
from tests.scenarios.lab import state_of
from tests.scenarios.looks import States, runs, states, taken
from tests.scenarios.node import Node
from tests.scenarios.playbooks import Run, run

#: What the hosts have beside the lab's default faults.
FAULTS = {
    "kvm1": (
        "conf-duplicate-key",
        "boot-entry-enforcing-0",
        "booleans-open",
        "image-wrong-categories",
        "image-readable",
        "network-filter-missing",
        "guest-none-defined",
        "guest-label-pending",
    ),
    "kvm2": (
        "require-confined-off",
        "selinux-permissive-next-boot",
        "image-lost-label",
        "image-stale-owner",
        "network-filter-partial",
        "guest-foreign-type",
        "guest-static-no-relabel",
    ),
}

Found = set[tuple[str, str, str]]


@dataclass(frozen=True)
class Hardening:
    """One run of ``svirt.fleet.harden``, the findings of its closing audit, and the hosts after it."""

    run: Run
    report: dict[str, Any]
    states: States

    @property
    def found(self) -> Found:
        """(rule, host, subject) of every finding; a process is named without its number."""
        return {(item["rule"], item["host"], _subject(item)) for item in self.report["findings"]}


@dataclass(frozen=True)
class Story:
    """What was seen, in order."""

    begin: States
    foretold: Hardening
    done: Hardening
    again: Hardening
    #: What a busy guest saw of the hardening.
    load: Load


def harden(lab: Lab, *, limit: str = "all", check: bool = False, **variables: Any) -> Hardening:
    """Run the playbook as ``make harden`` does."""
    with tempfile.TemporaryDirectory() as folder:
        extra: dict[str, Any] = {"svirt_report_dir": folder, "svirt_timeout": 120, "selinux_soak_seconds": 0}
        made = run("svirt.fleet.harden", lab.inventory, limit=limit, check=check, **{**extra, **variables})
        report = Path(folder, "report.json")
        assert report.is_file(), f"no closing audit; the playbook ended with {made.status}:\n{made.output}"
        seen = without_load(states(lab)) if limit == "all" else {limit: state_of(lab, limit)}
        return Hardening(made, json.loads(report.read_text(encoding="utf-8")), seen)


def guests(state: dict[str, Any]) -> dict[str, list[str]]:
    """The QEMU processes of a host: process id -> name, start, label."""
    return {pid: about for pid, about in state["processes"].items() if about[0].startswith("qemu-")}


def busy_file(lab: Lab) -> Path:
    """What prepare.py writes of the guest that is busy all the time."""
    return lab.folder / "busy.json"


def read(lab: Lab) -> Story:
    """What Molecule's steps left for the tests."""
    foretold, done, again = runs(lab)
    looks = [(seen.report, without_load(seen.states)) for seen in taken(lab)]
    begin, *after = looks
    busy = json.loads(busy_file(lab).read_text())
    load = load_of(Busy(Node(lab, HOST), busy["pid"]), Counters(**busy["before"]))
    hardenings = [Hardening(run, *look) for run, look in zip((foretold, done, again), after, strict=True)]
    return Story(begin[1], *hardenings, load)


def without_load(states: States) -> States:
    """The same without what the busy guest writes into its image, which is its own."""
    for state in states.values():
        if IMAGE in state["files"]:
            state["files"][IMAGE].update(ctime=None, sha256=None)
    return states


def _subject(item: dict[str, Any]) -> str:
    subject: str = item["subject"]
    return f"process {subject.rpartition(' ')[2]}" if subject.startswith("process ") else subject
