# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host with something to harden of each kind."""

from __future__ import annotations

import pytest
from looking import Files, Host

from tests.lab.lab import Lab
from tests.scenarios.lab import lab
from tests.scenarios.progress import pytest_runtest_logreport
from tests.scenarios.soak import pytest_collection_modifyitems, pytest_configure

__all__ = ["lab", "pytest_collection_modifyitems", "pytest_configure", "pytest_runtest_logreport"]


@pytest.fixture(scope="session")
def host(lab: Lab) -> Host:
    """The host, with its guests and the faults of prepare.yml, before anything was hardened."""
    found = Host(lab)
    assert found.journal() == {}, "somebody hardened this host before"
    return found


@pytest.fixture(scope="session")
def old(host: Host) -> Files:
    """Its files before anything was hardened."""
    return host.files()
