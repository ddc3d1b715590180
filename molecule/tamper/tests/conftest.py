# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab that the scenario started, without faults."""

from __future__ import annotations

import os

import pytest

from tests.lab.lab import DEFAULT_DIR, Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The running lab; its folder is SVIRT_LAB_DIR, or that of ``make lab``."""
    found = Lab.at(os.environ.get("SVIRT_LAB_DIR", DEFAULT_DIR))
    assert found.names(), f"no lab runs in {found.folder}; start it with: python -m tests.lab up"
    return found
