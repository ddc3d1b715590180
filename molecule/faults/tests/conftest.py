# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host with something to harden of each kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from looking import HOST, Files, Host

from tests.lab import faults
from tests.lab.lab import Lab
from tests.scenarios.lab import lab
from tests.scenarios.progress import pytest_runtest_logreport
from tests.scenarios.soak import pytest_collection_modifyitems, pytest_configure

__all__ = ["lab", "pytest_collection_modifyitems", "pytest_configure", "pytest_runtest_logreport"]

#: What the modules are to repair: boot, images, a definition, network filters. The rest, apply.yml asks for.
WRONG = (
    *("selinux-permissive-next-boot", "boot-entry-enforcing-0", "image-orphan", "image-readable"),
    *("guest-none-defined", "network-filter-missing", "network-filter-no-address"),
)


@pytest.fixture(scope="session")
def host(lab: Lab) -> Iterator[Host]:
    """The host, with its guests, before anything was hardened."""
    faults.inject(HOST, *WRONG, lab=lab.folder)
    found = Host(lab)
    assert found.journal() == {}, "somebody hardened this host before"
    yield found
    faults.undo(HOST, *WRONG, lab=lab.folder)


@pytest.fixture(scope="session")
def old(host: Host) -> Files:
    """Its files before anything was hardened."""
    return host.files()
