# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Molecule's own steps did, for the tests of ``verify``: the record of each playbook, and the hosts between them.

``python -m tests.scenarios.looks`` takes a look at all hosts of the scenario's lab, and at the last report. A
scenario's molecule.yml has such a look between its steps.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.lab import Lab
from tests.scenarios.lab import state_of
from tests.scenarios.playbooks import Run

States = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Look:
    """The hosts of a lab at one time, and the report that was there; none before the first audit."""

    states: States
    report: dict[str, Any]


def states(lab: Lab) -> States:
    """All that an audit must leave alone, of every host, now."""
    with ThreadPoolExecutor(len(lab.names())) as pool:
        return dict(zip(lab.names(), pool.map(lambda host: state_of(lab, host), lab.names()), strict=True))


def take(lab: Lab) -> Path:
    """Look at the hosts, and keep what was seen."""
    folder = _folder(lab)
    folder.mkdir(exist_ok=True)
    look = folder / f"{len(list(folder.glob('*.json'))):02}.json"
    report = lab.folder / "report" / "report.json"
    seen = {"states": states(lab), "report": json.loads(report.read_text()) if report.exists() else {}}
    look.write_text(json.dumps(seen))
    return look


def taken(lab: Lab) -> list[Look]:
    """All looks that were taken, in order."""
    return [Look(**json.loads(path.read_text())) for path in sorted(_folder(lab).glob("*.json"))]


def runs(lab: Lab) -> list[Run]:
    """What each run of converge.yml returned, in order. All of them ended well, or Molecule had not gone on."""
    paths = sorted((lab.folder / "records").glob("*.jsonl"))
    return [Run(0, str(path), [json.loads(line) for line in path.read_text().splitlines()]) for path in paths]


def _folder(lab: Lab) -> Path:
    return lab.folder / "looks"


if __name__ == "__main__":
    print(take(Lab.at(os.environ["SVIRT_LAB_DIR"])))
