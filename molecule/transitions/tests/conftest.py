# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one host of this scenario, and which tests are only for the long form."""

from __future__ import annotations

import os

import pytest

from tests.lab.lab import Lab
from tests.scenarios.lab import lab
from tests.scenarios.selinux import Machine

__all__ = ["lab", "machine"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: takes minutes of reboots; runs with SVIRT_SOAK=1, as make soak does")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("SVIRT_SOAK") != "1":
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="runs with SVIRT_SOAK=1"))


@pytest.fixture(scope="session")
def machine(lab: Lab) -> Machine:
    """The first host of the lab. Where it enforces, what the role installs is there."""
    found = Machine(lab, lab.names()[0])
    if found.mode == "enforcing":
        found.ask()
    return found
