# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab that the scenario started, a busy guest in it, and the story of its hardening."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from busy import Busy, busy_guest
from story import Story, tell

from tests.lab.lab import Lab
from tests.scenarios.lab import lab
from tests.scenarios.progress import pytest_runtest_logreport
from tests.scenarios.soak import SOAK, pytest_collection_modifyitems, pytest_configure

__all__ = ["lab", "pytest_collection_modifyitems", "pytest_configure", "pytest_runtest_logreport"]

#: Hours of it: ``make soak`` has them.
collect_ignore = [] if SOAK else ["test_repairs.py"]


@pytest.fixture(scope="session")
def busy(lab: Lab) -> Iterator[Busy]:
    """At work from the beginning to the end of all tests."""
    with busy_guest(lab) as guest:
        yield guest


@pytest.fixture(scope="session")
def story(lab: Lab, busy: Busy) -> Story:
    """Told once, whoever asks first."""
    return tell(lab, busy)
