# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``svirt.fleet.allocate`` on the lab, as an operator runs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.lab import Lab
from tests.scenarios.playbooks import Run, run


@dataclass(frozen=True)
class Allocation:
    """One run of the playbook, and the report of its closing audit."""

    run: Run
    report: dict[str, Any]

    @property
    def found(self) -> set[tuple[str, str, str]]:
        """(rule, host, subject) of every finding."""
        return {(item["rule"], item["host"], item["subject"]) for item in self.report["findings"]}

    @property
    def categories(self) -> set[tuple[str, str, str]]:
        """Those about categories across hosts."""
        return {item for item in self.found if item[0].startswith("CAT-")}

    def of(self, module: str) -> list[dict[str, Any]]:
        """All results of a module, of whatever host."""
        return [item["result"] for item in self.run.results if item["action"].rpartition(".")[2] == module]


def domain(lab: Lab, strategy: str, **more: Any) -> dict[str, Any]:
    """The whole lab as one label domain."""
    return {"name": "lab", "hosts": lab.names(), "strategy": strategy, "migration": True, **more}


def allocate(lab: Lab, folder: Path, *, check: bool = False, **variables: Any) -> Allocation:
    """Run the playbook. The ledger is in the folder; the exit status is the caller's to judge."""
    extra: dict[str, Any] = {
        "svirt_report_dir": str(folder),
        "svirt_store": f"sqlite:///{folder}/fleet.db",
        "svirt_timeout": 120,
        "svirt_serial": "100%",
    }
    made = run("svirt.fleet.allocate", lab.inventory, check=check, **{**extra, **variables})
    report = folder / "report.json"
    assert report.is_file(), f"no closing audit; the playbook ended with {made.status}:\n{made.output}"
    return Allocation(made, json.loads(report.read_text(encoding="utf-8")))
