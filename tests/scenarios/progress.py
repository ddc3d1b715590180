# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line for each test of a scenario as it ends, in build/log: Molecule shows nothing until all have ended.

A conftest.py that takes the hook over has it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

_LOGS = Path(__file__).parents[2] / "build" / "log"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # What is set up for the first test that asks, such as a scenario's story, may take longer than all tests.
    if report.when == "call" or report.failed or report.duration >= 10:
        _LOGS.mkdir(parents=True, exist_ok=True)
        name = Path(os.environ.get("SVIRT_LAB_DIR", "lab")).name
        line = (
            f"{time.strftime('%H:%M:%S')} {report.outcome:7} {report.when:8} {report.duration:7.1f} s  {report.nodeid}"
        )
        with (_LOGS / f"progress-{name}.log").open("a", encoding="utf-8") as log:
            log.write(line + "\n")
