# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.control_groups import (
    named_for_engine,
    of_engine,
)


@pytest.mark.parametrize(
    ("cgroup", "named", "roots"),
    [
        (None, False, False),
        ("/system.slice/libvirtd.service", False, False),
        ("/kubepods.slice/kubepods-burstable.slice/crio-01.scope", True, True),
        ("/machine.slice/libpod-01.scope/container", True, True),
        ("/docker/01", True, True),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-01.scope", True, False),
        ("/user.slice/kubepods", True, False),
    ],
)
def test_groups_of_engines(cgroup: str | None, named: bool, roots: bool) -> None:
    assert (named_for_engine(cgroup), of_engine(cgroup)) == (named, roots)
