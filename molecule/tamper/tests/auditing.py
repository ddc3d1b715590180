# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the real playbook over the lab, as a user would, and reads its report."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Audit:
    """One run of ``svirt.fleet.audit``: exit status, what it printed, report.json."""

    status: int
    output: str
    report: dict[str, Any]

    @property
    def found(self) -> set[tuple[str, str, str]]:
        """(rule, host, subject) of every finding."""
        return {(item["rule"], item["host"], item["subject"]) for item in self.report["findings"]}

    def host(self, name: str) -> dict[str, Any]:
        """The report's entry of a host."""
        return next(entry for entry in self.report["hosts"] if entry["name"] == name)


def audit(inventory: Path, limit: str = "all", **variables: object) -> Audit:
    """Run the playbook. The exit status is the caller's to judge; a missing report is an error here."""
    with tempfile.TemporaryDirectory() as folder:
        # An emulated host whose daemon has just been restarted takes its time.
        extra = {"svirt_report_dir": folder, "svirt_timeout": 120, **variables}
        words = ["ansible-playbook", "svirt.fleet.audit", "-i", str(inventory), "--limit", limit]
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "120"}
        done = subprocess.run(
            [*words, "-e", json.dumps(extra)], env=environment, capture_output=True, text=True, check=False
        )
        report = Path(folder, "report.json")
        assert report.is_file(), f"no report; the playbook ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return Audit(done.returncode, done.stdout + done.stderr, json.loads(report.read_text(encoding="utf-8")))
