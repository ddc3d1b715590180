# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Hosts with AppArmor as their distribution installs them: one line, nothing critical, and the way to SELinux."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report, terminal
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Snapshot

from tests.unit.support import hosts
from tests.unit.support.captured import Tree

NOW = datetime.datetime(2026, 11, 30, 12, 0, 0, tzinfo=datetime.timezone.utc)
DEBIAN = "ID=debian\nPRETTY_NAME='Debian GNU/Linux 13'\n"
UBUNTU = "ID=ubuntu\nID_LIKE=debian\nPRETTY_NAME='Ubuntu 24.04.3 LTS'\n"
MINT = 'ID=linuxmint\nID_LIKE="ubuntu debian"\n'
SLES = 'ID="sles"\nID_LIKE="suse"\nPRETTY_NAME="SUSE Linux Enterprise Server 15 SP6"\n'
LEAP = 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n'


def audit(snapshot: Snapshot) -> tuple[dict[str, t.Any], str]:
    """The report of a fleet of this host and its text on a terminal."""
    result = report.judged(judge("node1", snapshot, f.Settings()), snapshot.coverage)
    fleet = analysis.judge([analysis.compared_host("node1", snapshot)])
    document = report.build([result], fleet, (), "high", NOW)
    return document, terminal.render(document, "report.json", terminal.Terminal(100))


def guest_runs(tree: Tree) -> None:
    """A guest, confined by the profile that libvirt made for it."""
    profile = f"libvirt-{hosts.UUID} (enforce)"
    scope = "/machine.slice/machine-qemu\\x2d3\\x2dweb.scope/libvirt/emulator"
    words = ("/usr/bin/qemu-system-x86_64", "-name", "guest=web,debug-threads=on")
    hosts.process(tree, hosts.PID, words[0], profile, words, hosts.QEMU_UID, scope)
    label = f"<seclabel type='dynamic' model='apparmor' relabel='yes'><label>libvirt-{hosts.UUID}</label></seclabel>"
    live = hosts.domain(live=True).partition("<seclabel")[0] + f"{label}</domain>"
    tree.libvirt[1].update(state="running", active=True, live=live)
    tree.file("/run/libvirt/qemu/web.pid", str(hosts.PID))


@pytest.mark.parametrize(
    ("release", "packages"),
    [
        (DEBIAN, "selinux-policy-default"),
        (UBUNTU, "selinux-policy-default"),
        (MINT, "selinux-policy-default"),
        (SLES, "selinux-policy-targeted"),
        (LEAP, "selinux-policy-targeted"),
        ("ID=other\n", "targeted"),
    ],
)
@pytest.mark.parametrize("running", [False, True])
def test_one_line_that_says_how_to_change_over(release: str, packages: str, running: bool) -> None:
    tree = hosts.apparmor(release)
    if running:
        guest_runs(tree)
    document, text = audit(hosts.look(tree))
    (host,) = document["hosts"]
    assert (host["verdict"], document["findings"]) == ("not_applicable", [])
    assert {outcome["status"] for outcome in host["outcomes"]} == {"not_applicable"}
    assert packages in host["why"]
    assert "svirt.fleet.harden" in host["why"]
    lines = [line for line in text.split("\n") if "n/a" in line]
    assert len(lines) == 1
    assert "CRITICAL" not in text


def test_a_fleet_with_such_a_host_passes_by_its_other_hosts() -> None:
    snapshots = {"deb": hosts.look(hosts.apparmor()), "el": hosts.look(hosts.el9())}
    results = [
        report.judged(judge(name, snapshot, f.Settings()), snapshot.coverage) for name, snapshot in snapshots.items()
    ]
    fleet = analysis.judge([analysis.compared_host(name, snapshot) for name, snapshot in snapshots.items()])
    document = report.build(results, fleet, (), "critical", NOW)
    assert document["verdict"] == "pass"
    assert document["fleet"]["hosts"] == {"total": 2, "fail": 0, "unknown": 0, "pass": 1, "not_applicable": 1}


def test_a_configuration_without_a_policy_is_no_choice() -> None:
    tree = hosts.apparmor(SLES)
    tree.file("/etc/selinux/config", "SELINUX=permissive\nSELINUXTYPE=targeted\n")
    assert audit(hosts.look(tree))[0]["hosts"][0]["verdict"] == "not_applicable"
    tree.file("/etc/selinux/targeted/policy/policy.33", "x")
    document, _text = audit(hosts.look(tree))
    assert ("SEL-001", "critical") in {(item["rule"], item["severity"]) for item in document["findings"]}


@pytest.mark.parametrize("lsms", ["lockdown,capability,landlock,yama", "capability"])
def test_a_host_where_neither_is_active_stays_critical(lsms: str) -> None:
    tree = hosts.apparmor(UBUNTU, driver="none")
    tree.file("/sys/kernel/security/lsm", lsms)
    document, _text = audit(hosts.look(tree))
    assert document["hosts"][0]["verdict"] == "fail"
    assert ("SEL-001", "critical") in {(item["rule"], item["severity"]) for item in document["findings"]}


def test_apparmor_that_libvirt_does_not_use_confines_no_guest() -> None:
    document, _text = audit(hosts.look(hosts.apparmor(UBUNTU, driver="none")))
    (finding,) = document["findings"]
    assert (finding["rule"], finding["severity"], finding["evidence"]["models"]) == ("SEL-001", "critical", ["none"])
    assert document["hosts"][0]["verdict"] == "fail"


def test_a_qemu_outside_libvirt_is_found_there_too() -> None:
    tree = hosts.apparmor(UBUNTU)
    words = ("/usr/bin/qemu-system-x86_64", "-name", "guest=x", "-machine", "q35", "-nodefaults")
    hosts.process(tree, 50, words[0], "unconfined", words, 1000, "/user.slice/user@1000.service/x")
    document, _text = audit(hosts.look(tree))
    assert [item["rule"] for item in document["findings"]] == ["GST-001"]
