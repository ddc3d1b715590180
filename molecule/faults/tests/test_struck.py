# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing after the other goes wrong in the middle of hardening; then a whole run mends all, and rollback is exact.

The tests build on each other: what a fault leaves is what the next one finds. What each left is judged at the end, when
it is known what a whole run makes of the host: every file is as it was before anything, or as it is after everything.
"""

from __future__ import annotations

import pytest
from applying import MODULES, applied, apply, put_back
from looking import HOST, Files, Host, differences, half_written, is_fresh
from striking import ELSEWHERE, cut, full_disk, killer, read_only, struck

#: The change at which a module is killed.
POINTS = {
    "selinux_state": 4,  # the new file lies beside the old one, not wholly written
    "libvirt_security": 7,  # it is wholly written
    "guard_hook": 23,  # the program is there, its settings are half there
    "image_label": 4,  # one image is done, of another the owner
    "guest_seclabel": 2,  # only the journal has it yet
    "guest_network_filter": 10,  # one definition is done
}
ROLLBACK = 36


@pytest.fixture(scope="module")
def left(old: Files) -> dict[str, Files]:
    """The files of the host after each fault, by what went wrong."""
    return {"nothing": old}


@pytest.fixture(scope="module")
def new(host: Host, left: dict[str, Files]) -> Files:
    """The files after a whole run has mended everything."""
    assert len(left) > len(POINTS), "these tests build on those above"
    assert applied(host, *MODULES).changed
    return host.files()


@pytest.mark.parametrize("module", POINTS)
def test_a_module_is_killed(host: Host, left: dict[str, Files], module: str) -> None:
    assert struck(host, module, POINTS[module])
    left[f"{module} was killed"] = host.files()
    assert any(run.startswith(module) for run in host.journal())


def test_ssh_is_cut(host: Host, left: dict[str, Files]) -> None:
    before = host.files()
    cut(host, "guest_network_filter", 3)
    left["ssh was cut"] = host.files()
    assert differences(before, left["ssh was cut"]), "what it had begun came to its end"


def test_the_daemon_is_killed_while_a_definition_changes(host: Host, left: dict[str, Files]) -> None:
    with killer(host.remote, target="daemon", at=2) as waiting:
        done = apply(host, "guest_seclabel")
        waiting.release()
        assert waiting.line()["struck"]
    assert done.status != 0
    assert "guest none-off" in str(done.of(HOST, "guest_seclabel")[0]["not_made"]), done.output
    left["the daemon was killed"] = host.files()


def test_the_disk_is_full(host: Host, left: dict[str, Files]) -> None:
    before = host.files()
    undone = set(MODULES) - {"guest_network_filter"}
    with full_disk(host):
        done = apply(host, *undone, go_on=True, ansible_remote_tmp=ELSEWHERE, ansible_pipelining=False)
        whole = apply(host, "libvirt_security", ansible_pipelining=False)
        left["the disk was full"] = now = {path: facts for path, facts in host.files().items() if path != "/filler"}
    for module in undone:
        assert "No space left on device" in str(done.of(HOST, module)), done.output
    assert whole.status != 0
    assert "space" in whole.output, "Ansible itself says why no module was run"
    assert differences(before, now) == {}


def test_etc_is_read_only(host: Host, left: dict[str, Files]) -> None:
    before = host.files()
    undone = ("selinux_state", "libvirt_security", "guard_hook", "guest_seclabel")
    with read_only(host, "/etc"):
        done = apply(host, *undone, go_on=True)
        left["/etc was read-only"] = now = host.files()
    for module in undone:
        assert "Read-only file system" in str(done.of(HOST, module)), done.output
    assert not [path for path in differences(before, now) if path.startswith("/etc/")]


def test_nothing_was_half_written(old: Files, new: Files, left: dict[str, Files]) -> None:
    assert len(differences(old, new)) >= 10
    assert not [path for path in new if is_fresh(path)], "a whole run removes what those before it left"
    assert {why: half for why, files in left.items() if (half := half_written(old, new, files))} == {}


def test_the_run_after_it_changes_nothing(host: Host, new: Files) -> None:
    assert not applied(host, *MODULES).changed
    assert differences(new, host.files()) == {}


def test_a_rollback_is_killed_and_the_next_is_exact(host: Host, old: Files, new: Files) -> None:
    assert struck(host, "svirt_rollback", ROLLBACK)
    assert half_written(old, new, host.files()) == {}
    put_back(host)
    assert differences(old, host.files()) == {}
