# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab that a scenario started, as a fixture for its tests, and what its hosts look like."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.lab.lab import DEFAULT_DIR, Lab

_LOOK = Path(__file__).with_name("host_state.py")


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The running lab; its folder is SVIRT_LAB_DIR, or that of ``make lab``."""
    running = Lab.at(os.environ.get("SVIRT_LAB_DIR", DEFAULT_DIR))
    assert running.names(), f"no lab runs in {running.folder}; start it with: python -m tests.lab up"
    return running


def state_of(lab: Lab, host: str) -> dict[str, Any]:
    """All of a host that an audit must leave alone: files, processes, selinux; see host_state.py."""
    document: dict[str, Any] = json.loads(lab.remote(host).call("python3 -", stdin=_LOOK.read_text()).stdout)
    return document
