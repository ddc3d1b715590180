# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules killed all along the changes that the kernel reports, and disks with space for a part of what is written.

After every other strike the host is put back at once; otherwise the next run mends it first.
"""

from __future__ import annotations

import pytest
from applying import MODULES, applied, apply, put_back
from looking import HOST, Files, Host, differences, half_written, is_fresh
from striking import ELSEWHERE, full_disk, struck

pytestmark = pytest.mark.soak

#: Bounds the loops, should a module never come to an end.
MOST = 120


@pytest.fixture(scope="module")
def new(host: Host, old: Files) -> Files:
    """The host's files after a whole run, which is put back again."""
    applied(host, *MODULES)
    found = host.files()
    put_back(host)
    assert differences(old, host.files()) == {}
    return found


#: To replace one file is four changes or more, and each strike takes a minute or two. So many of them lie between two
#: strikes, by who is killed: the module with what it started, or it alone.
STRIDES = {"module": 5, "top": 13}
OF_A_ROLLBACK = 11


@pytest.mark.parametrize("target", STRIDES)
@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_killed_all_along_its_changes(host: Host, old: Files, new: Files, module: str, target: str) -> None:
    for at in range(1, MOST, STRIDES[target]):
        hit = struck(host, module, at, target)
        assert half_written(old, new, host.files()) == {}
        if at % 2:
            applied(host, module)
            assert not applied(host, module).changed
            assert not [path for path in host.files() if is_fresh(path)]
        put_back(host)
        assert differences(old, host.files()) == {}
        if not hit:
            return
    pytest.fail(f"{module} made more than {MOST} changes")


def test_a_rollback_is_killed_all_along_its_changes(host: Host, old: Files, new: Files) -> None:
    for at in range(1, MOST, OF_A_ROLLBACK):
        applied(host, *MODULES)
        hit = struck(host, "svirt_rollback", at)
        assert half_written(old, new, host.files()) == {}
        if hit:
            put_back(host)
        assert differences(old, host.files()) == {}
        if not hit:
            return
    pytest.fail(f"the rollback made more than {MOST} changes")


@pytest.mark.parametrize("left", [4096, 16384, 65536, 131072])
def test_the_disk_has_space_for_a_part(host: Host, old: Files, new: Files, left: int) -> None:
    with full_disk(host, left):
        done = apply(host, *MODULES, go_on=True, ansible_remote_tmp=ELSEWHERE, ansible_pipelining=False)
        now = {path: facts for path, facts in host.files().items() if path != "/filler"}
    assert {module for module in MODULES if done.of(HOST, module)} == set(MODULES)
    assert half_written(old, new, now) == {}
    applied(host, *MODULES)
    assert differences(new, host.files()) == {}
    put_back(host)
    assert differences(old, host.files()) == {}
