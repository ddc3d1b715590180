# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the real playbooks over the lab, as a user would: their exit status, their output, what each task returned."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PLUGINS = Path(__file__).parent / "callback_plugins"
#: Seconds that a playbook may take; emulated hosts on a busy machine are slow.
LIMIT = 3600


@dataclass(frozen=True)
class Run:
    """One run of a playbook: exit status, what it printed, and for every task on every host its result."""

    status: int
    output: str
    results: list[dict[str, Any]]

    def of(self, host: str, module: str) -> list[dict[str, Any]]:
        """The results of one module on one host, in order. A module is named without its collection."""
        return [
            item["result"]
            for item in self.results
            if item["host"] == host and item["action"].rpartition(".")[2] == module
        ]

    @property
    def changed(self) -> list[tuple[str, str]]:
        """Host and task of every result that says changed."""
        return [(item["host"], item["task"]) for item in self.results if item["changed"]]

    @property
    def failed(self) -> list[tuple[str, str, str]]:
        """Host, task and message of every result that failed."""
        return [_failure(item) for item in self.results if item["failed"]]

    @property
    def failed_beside_the_verdict(self) -> list[tuple[str, str, str]]:
        """The same without the verdict, which fails for the findings of the analysis."""
        others = (item for item in self.results if item["action"].rpartition(".")[2] not in _VERDICTS)
        return [_failure(item) for item in others if item["failed"]]


_VERDICTS = ("fleet_analysis", "fleet_verdict")


def _failure(item: dict[str, Any]) -> tuple[str, str, str]:
    return item["host"], item["task"], str(item["result"].get("msg"))


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


def run(name: str, inventory: Path, *, limit: str = "all", check: bool = False, **variables: Any) -> Run:
    """Run a playbook, by path or as svirt.fleet.NAME. The exit status is the caller's to judge."""
    with (
        tempfile.NamedTemporaryFile(prefix="svirt-record-") as record,
        tempfile.TemporaryDirectory(prefix="svirt-store-") as folder,
    ):
        given = {"svirt_store": f"sqlite:///{folder}/fleet.db", **variables}
        words = ["ansible-playbook", name, "-i", str(inventory), "--limit", limit, "-e", json.dumps(given)]
        result = subprocess.run(
            [*words, *(["--check", "--diff"] if check else [])],
            env={**_environment(), "SVIRT_RECORD": record.name},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        lines = Path(record.name).read_text(encoding="utf-8").splitlines()
    return Run(result.returncode, result.stdout + result.stderr, [json.loads(line) for line in lines])


def audit(inventory: Path, limit: str = "all", **variables: Any) -> Audit:
    """Run the audit. The exit status is the caller's to judge; a missing report is an error here."""
    with tempfile.TemporaryDirectory() as folder:
        # An emulated host whose daemon has just been restarted takes its time.
        extra: dict[str, Any] = {"svirt_report_dir": folder, "svirt_timeout": 120, **variables}
        result = run("svirt.fleet.audit", inventory, limit=limit, **extra)
        report = Path(folder, "report.json")
        assert report.is_file(), f"no report; the playbook ended with {result.status}:\n{result.output}"
        return Audit(result.status, result.output, json.loads(report.read_text(encoding="utf-8")))


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_CALLBACK_PLUGINS": str(_PLUGINS),
        "ANSIBLE_CALLBACKS_ENABLED": "record",
        "COLUMNS": "120",
    }
