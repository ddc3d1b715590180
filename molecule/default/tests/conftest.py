# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab that the scenario started, a busy guest in it, and what Molecule's steps did to it."""

from __future__ import annotations

import pytest
from busy import HOST, NAME, Busy
from story import Story, read

from tests.lab.lab import Lab
from tests.scenarios.lab import lab
from tests.scenarios.node import Node
from tests.scenarios.progress import pytest_runtest_logreport
from tests.scenarios.soak import SOAK, pytest_collection_modifyitems, pytest_configure

__all__ = ["lab", "pytest_collection_modifyitems", "pytest_configure", "pytest_runtest_logreport"]

#: Hours of it: ``make soak`` has them.
collect_ignore = [] if SOAK else ["test_repairs.py"]


@pytest.fixture(scope="session")
def story(lab: Lab) -> Story:
    """What Molecule's steps did before these tests."""
    return read(lab)


@pytest.fixture(scope="session")
def busy(lab: Lab) -> Busy:
    """The guest that is at work since the scenario was prepared."""
    return Busy(Node(lab, HOST), Node(lab, HOST).pid(NAME))
