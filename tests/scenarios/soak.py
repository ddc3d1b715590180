# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The long form of the scenarios: SVIRT_SOAK=1, as ``make soak`` has it.

A conftest.py that takes the hooks over has a marker ``soak``. What bears it is not collected in the short form: what
did not run is not to be counted among what did.
"""

from __future__ import annotations

import os

import pytest

SOAK = os.environ.get("SVIRT_SOAK") == "1"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: for the long form only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    long = [item for item in items if not SOAK and item.get_closest_marker("soak")]
    items[:] = [item for item in items if item not in long]
    config.hook.pytest_deselected(items=long)
