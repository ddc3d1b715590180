# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one host of this scenario, and which tests are only for the long form."""

from __future__ import annotations

import pytest

from tests.lab.lab import Lab
from tests.scenarios.lab import lab
from tests.scenarios.progress import pytest_runtest_logreport
from tests.scenarios.selinux import Machine
from tests.scenarios.soak import pytest_collection_modifyitems, pytest_configure

__all__ = ["lab", "machine", "pytest_collection_modifyitems", "pytest_configure", "pytest_runtest_logreport"]


@pytest.fixture(scope="session")
def machine(lab: Lab) -> Machine:
    """The first host of the lab. Where it enforces, what the role installs is there."""
    found = Machine(lab, lab.names()[0])
    if found.mode == "enforcing":
        found.ask()
    return found
