# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's daemon dies, does not come back, or has a configuration that nobody can read: its guests never notice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from applying import applied, apply, put_back
from looking import HOST, Files, Host, differences
from striking import killer

from tests.lab import faults
from tests.scenarios.playbooks import run
from tests.scenarios.soak import SOAK

CONF = "/etc/libvirt/qemu.conf"
DROP_IN = "/etc/systemd/system/libvirtd.service.d/broken.conf"
#: What libvirt says that was stopped while it built filters; what to do then is in the guide.
JAMMED = "Chain already exists"
GUIDE = Path(__file__).parents[3] / "docs" / "hardening.md"


@pytest.fixture
def broken_conf(host: Host) -> Iterator[None]:
    """Somebody wrote qemu.conf, and it does not parse; the daemon has not read it yet."""
    faults.inject(HOST, "conf-broken", lab=host.lab.folder)
    yield
    faults.undo(HOST, "conf-broken", lab=host.lab.folder)


def mend(host: Host) -> None:
    """Do what the guide says to do with half renamed chains."""
    (words,) = (block for block in re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "ebtables" in block)
    host.remote.call(words, check=False)
    host.remote.call("for try in 1 2 3 4 5 6; do timeout 60 virsh list && exit; sleep 5; done; exit 1")


def test_a_broken_conf_of_somebody_else_is_named_and_nothing_is_restarted(
    host: Host, broken_conf: None, tmp_path: Path
) -> None:
    before, daemon = host.files(), host.daemon()
    variables = {"selinux_soak_seconds": 0, "selinux_support": False, "svirt_report_dir": str(tmp_path)}
    done = run("svirt.fleet.harden", host.lab.inventory, limit=HOST, **variables)
    assert done.status != 0
    assert any("qemu.conf" in why and "line" in why for _host, _task, why in done.failed), done.output
    assert host.daemon() == daemon
    assert CONF not in differences(before, host.files())
    alone = applied(host, "libvirt_restart").of(HOST, "libvirt_restart")[0]
    assert alone["refused"]
    assert not alone["changed"]
    assert host.daemon() == daemon
    put_back(host)


def test_a_daemon_that_refuses_its_new_conf_gets_the_old_one_back(host: Host, old: Files) -> None:
    done = apply(host, "refused_conf", "libvirt_restart")
    assert done.status != 0
    failed = done.of(HOST, "libvirt_restart")[0]
    assert failed["problems"], done.output
    assert failed["restored"] == [CONF]
    assert failed["problems_after_rollback"] == []
    assert differences(old, host.files()) == {}
    assert host.journal() == {}
    assert host.daemon()


@pytest.mark.soak
def test_a_daemon_that_somebody_else_keeps_from_starting_is_reported(host: Host, old: Files) -> None:
    host.remote.call(f"mkdir -p {DROP_IN.rpartition('/')[0]}; printf '[Service]\\nExecStartPre=false\\n' >{DROP_IN}")
    try:
        done = apply(host, "libvirt_restart")
        assert done.status != 0
        failed = done.of(HOST, "libvirt_restart")[0]
        assert failed["problems"], done.output
        assert failed["restored"] == []
        assert differences(old, host.files()).keys() <= {DROP_IN, DROP_IN.rpartition("/")[0]}
    finally:
        host.remote.call(
            f"rm {DROP_IN}; rmdir {DROP_IN.rpartition('/')[0]}; systemctl daemon-reload; "
            "systemctl reset-failed libvirtd.service; systemctl start libvirtd.service"
        )
    assert applied(host, "libvirt_restart").of(HOST, "libvirt_restart")[0]["refused"] == []
    assert differences(old, host.files()) == {}


@pytest.mark.soak
def test_chains_that_libvirt_left_half_renamed_are_reported_and_mended_as_documented(host: Host) -> None:
    before = host.files()
    host.remote.call("ebtables -t nat -E O-vnet0-ipv4 P-vnet0-ipv4")
    try:
        done = apply(host, "forced_restart")
        failed = done.of(HOST, "libvirt_restart")[0]
        assert any(JAMMED in problem for problem in failed["problems"]), done.output
        assert failed["restored"] == []
    finally:
        mend(host)
    assert not applied(host, "libvirt_restart").of(HOST, "libvirt_restart")[0]["refused"]
    assert differences(before, host.files()) == {}


@pytest.mark.parametrize("after", [0, 0.1, 0.5, 1, 2, 4, 8] if SOAK else [0.5])
def test_the_daemon_is_killed_while_it_restarts(host: Host, after: float) -> None:
    before = host.files()
    with killer(host.remote, target="daemon", after=after) as waiting:
        done = apply(host, "forced_restart")
        waiting.release()
        assert waiting.line()["struck"]
    result = done.of(HOST, "libvirt_restart")[0]
    assert done.status == 0 or result["problems"], "it came back, or the module says why not"
    assert differences(before, host.files()) == {}
    if any(JAMMED in problem for problem in result.get("problems", [])):
        mend(host)
    assert not applied(host, "libvirt_restart").of(HOST, "libvirt_restart")[0]["refused"], "systemd starts it again"
