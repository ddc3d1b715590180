# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts with faults are hardened: foretold, done, done again with nothing left to do.

The story is told once, and most tests are about it. All faults are there before the first run, so that one run has
much to do.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from busy import IMAGE, Busy, Load, under_load

from tests.lab import faults
from tests.lab.lab import Lab
from tests.scenarios.lab import state_of
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
States = dict[str, dict[str, Any]]


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
        seen = states(lab) if limit == "all" else {limit: state_of(lab, limit)}
        return Hardening(made, json.loads(report.read_text(encoding="utf-8")), seen)


def each(lab: Lab, act: Callable[[str], Any]) -> dict[str, Any]:
    """The same for all hosts at once."""
    with ThreadPoolExecutor(len(lab.names())) as pool:
        return dict(zip(lab.names(), pool.map(act, lab.names()), strict=True))


def states(lab: Lab) -> States:
    """All that matters of every host, now. What the busy guest writes into its image is its own."""
    found = each(lab, lambda host: state_of(lab, host))
    for state in found.values():
        if IMAGE in state["files"]:
            state["files"][IMAGE].update(ctime=None, sha256=None)
    return found


def guests(state: dict[str, Any]) -> dict[str, list[str]]:
    """The QEMU processes of a host: process id -> name, start, label."""
    return {pid: about for pid, about in state["processes"].items() if about[0].startswith("qemu-")}


def tell(lab: Lab, busy: Busy) -> Story:
    """Let it happen, with a guest that is busy all the time."""
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {text}", file=sys.__stderr__, flush=True)

    each(lab, lambda host: faults.inject(host, *faults.default_faults(host), *FAULTS[host], lab=lab.folder))
    # Asked the first time after its start, libvirt tries QEMU out in a folder of its own among the guests'.
    each(lab, lambda host: lab.remote(host).call("virsh capabilities"))
    begin = states(lab)
    say("the faults are there")
    foretold = harden(lab, check=True)
    say("foretold")
    runs: list[Hardening] = []
    load = under_load(busy, lambda: runs.append(harden(lab)))
    say("hardened")
    again = harden(lab)
    say("hardened again")
    return Story(begin, foretold, runs[0], again, load)


def _subject(item: dict[str, Any]) -> str:
    subject: str = item["subject"]
    return f"process {subject.rpartition(' ')[2]}" if subject.startswith("process ") else subject
