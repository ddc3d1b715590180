# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Case F: what a process is follows from its executable, label, control group and parent, not from its name."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet.labelled import labelled_parties
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Snapshot
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Options, Probe, Tools

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.judging import findings, status

UNCONFINED = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023"
QEMU = "/usr/bin/qemu-system-x86_64"
LINE = ("-name", "guest=x", "-machine", "q35,accel=kvm", "-smp", "2", "-blockdev", "{}", "-nodefaults")
ELF = "\x7fELF\x02\x01 {} QEMU emulator version 10.0.2"


def outside(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Severity and subject of findings about processes that belong to no guest."""
    return [(item.severity, item.subject) for item in findings(snapshot) if item.rule in ("GST-001", "GST-011")]


def fleet_findings(snapshot: Snapshot) -> list[tuple[str, str]]:
    result = analysis.judge([analysis.compared_host("kvm1", snapshot)])
    return [(item.rule, item.severity) for item in result.findings]


def with_process(exe: str | None, label: str | None, *words: str, uid: int = 0, cgroup: str = "/user.slice/x") -> Tree:
    tree = hosts.el9()
    hosts.process(tree, 50, exe, label, (exe or words[0], *words), uid, cgroup)
    return tree


def evidence(snapshot: Snapshot) -> dict[str, t.Any]:
    (item,) = [item for item in findings(snapshot) if item.rule == "GST-001"]
    return item.evidence


@pytest.mark.parametrize(
    "exe",
    [
        "/usr/bin/qemu-system-x86_64-snp-experimental",
        "/opt/vendor/qemu-system-x86_64.real",
        "/usr/libexec/qemu-kvm-rhev",
        "/nix/store/x/bin/.qemu-system-x86_64-wrapped",
        "/usr/bin/qemu-system-x86_64-snp-experimental (deleted)",
    ],
)
def test_f_a_qemu_with_a_suffix_is_seen(exe: str) -> None:
    snapshot = hosts.look(with_process(exe, UNCONFINED, "-name", "guest=x"))
    assert outside(snapshot) == [("critical", "process 50 x")]
    assert status(snapshot, "GST-001") == "fail"


@pytest.mark.parametrize(
    ("exe", "content", "words", "seen"),
    [
        # by its content, under whatever name
        ("/home/me/vm", ELF, LINE, True),
        ("/home/me/vm", "\x7fELF another program", LINE, False),
        ("/home/me/vm", "#!/bin/sh QEMU emulator version", LINE, False),
        # no access to the content: by its command line, unless it only carries another's
        ("/home/me/vm", None, LINE, True),
        ("/home/me/vm", None, ("--machine", "q35", "--cpu", "host", "--smp", "2"), True),
        ("/usr/bin/sudo", None, (QEMU, *LINE), False),
        ("/usr/bin/python3.12", None, ("run.py", *LINE), False),
        ("/usr/bin/bash", None, ("-c", f"{QEMU} {' '.join(LINE)}"), False),
        ("/usr/bin/gcc", None, ("-machine", "x"), False),
        # by its name, unless that name is on no program at all
        (QEMU, "\x7fELF", (), True),
        (QEMU, "#!/bin/sh", LINE, False),
        ("/usr/bin/qemu-img", ELF, ("convert",), False),
        ("/usr/bin/qemu-x86_64-static", "\x7fELF", ("/bin/ls",), False),
    ],
)
def test_f_what_is_a_qemu(exe: str, content: str | None, words: tuple[str, ...], seen: bool) -> None:
    tree = with_process(exe, UNCONFINED, *words)
    if content is not None:
        tree.file(exe, content)
    assert [severity for severity, _subject in outside(hosts.look(tree))] == (["critical"] if seen else [])


@pytest.mark.parametrize(
    ("type_", "cgroup"),
    [
        ("container_t", "/kubepods.slice/kubepods-pod1.slice/crio-0123.scope"),
        ("container_kvm_t", "/kata_overhead/0123"),
        ("container_device_t", "/system.slice/docker-0123.scope"),
        ("virt_launcher.process", "/kubepods/besteffort/pod1/0123"),
    ],
)
def test_f_a_qemu_that_a_container_engine_confines_is_information(type_: str, cgroup: str) -> None:
    label = f"system_u:system_r:{type_}:s0:c5,c6"
    tree = with_process(QEMU, label, *LINE, uid=107, cgroup=cgroup)
    hosts.process(tree, 51, "/usr/bin/virt-launcher", label, cgroup=cgroup)
    snapshot = hosts.look(tree)
    assert outside(snapshot) == [("info", "process 50 x")]
    assert "confined by a container engine" in evidence(snapshot)["confined"]
    assert "end this process" not in findings(snapshot)[0].fix


@pytest.mark.parametrize(
    ("label", "severity"),
    [
        ("system_u:system_r:spc_t:s0", "critical"),
        ("system_u:system_r:container_runtime_t:s0-s0:c0.c1023", "critical"),
        ("system_u:system_r:container_t:s0", "critical"),
        ("system_u:system_r:container_t:s0:c5", "critical"),
        ("system_u:system_r:container_t:s0:c0.c1023", "critical"),
        ("system_u:system_r:container_t:s0:c5,c6", "info"),
    ],
)
def test_f_a_container_that_confines_nothing_is_no_excuse(label: str, severity: str) -> None:
    assert outside(hosts.look(with_process(QEMU, label, *LINE))) == [(severity, "process 50 x")]


def test_f_a_container_type_that_categories_do_not_bind_is_no_excuse() -> None:
    tree = with_process(QEMU, "system_u:system_r:container_t:s0:c5,c6", *LINE)
    snapshot = hosts.look(tree, rules=hosts.policy(constrained=("svirt_t", "svirt_tcg_t")))
    assert outside(snapshot) == [("critical", "process 50 x")]


def in_containers(*cgroups: str) -> Tree:
    """Two QEMUs with one label in these containers, and a helper of the first."""
    label = "system_u:system_r:container_t:s0:c5,c6"
    tree = hosts.el9()
    for pid, cgroup in enumerate(cgroups, 50):
        hosts.process(tree, pid, QEMU, label, ("q", "-name", f"guest=x{pid}"), 107, cgroup)
    hosts.process(tree, 60, "/usr/bin/virt-launcher", label, cgroup=cgroups[0])
    return tree


def test_f_its_pair_is_compared_and_not_with_its_own_container() -> None:
    tree = in_containers("/kubepods/pod1")
    assert fleet_findings(hosts.look(tree)) == []
    placement = labelled_parties("kvm1", hosts.look(tree))
    assert [party.key for party in placement.guests if party.name == "process 50 x50"] == ["s0:c5,c6"]
    assert placement.containers == ()
    guest = tree.entries[f"/proc/{hosts.PID}/attr/current"]
    guest.content = b"system_u:system_r:svirt_t:s0:c5,c6\0"
    assert ("CAT-002", "critical") in fleet_findings(hosts.look(tree))


def test_f_two_containers_with_one_pair_differ_from_one_container() -> None:
    assert fleet_findings(hosts.look(in_containers("/kubepods/pod1", "/kubepods/pod1"))) == []
    assert fleet_findings(hosts.look(in_containers("/kubepods/pod1", "/kubepods/pod2"))) != []


PROBE = ("-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg", "-qmp", "unix:/x")
DAEMONS_LABEL = "system_u:system_r:virtd_t:s0-s0:c0.c1023"


def parent(tree: Tree, pid: int, of: int) -> None:
    tree.file(f"/proc/{of}/stat", f"{of} (qemu) S {pid} 1 1 0 -1 4 0 0 0 0 1 1 0 0 20 0 1 0 5000 1 1\n")


@pytest.mark.parametrize("pid", [1, 900])
def test_f_libvirts_capability_probe_is_no_finding(pid: int) -> None:
    tree = with_process(QEMU, DAEMONS_LABEL, *PROBE, uid=107, cgroup="/system.slice/libvirtd.service")
    parent(tree, pid, 50)
    snapshot = hosts.look(tree)
    assert outside(snapshot) == []
    assert status(snapshot, "GST-001") == "pass"


@pytest.mark.parametrize(
    ("label", "words", "pid"),
    [
        (UNCONFINED, PROBE, 1),  # anybody may write -machine none
        (DAEMONS_LABEL, PROBE, 77),  # of no daemon
        (DAEMONS_LABEL, LINE, 1),  # a machine in the daemon's domain: a guest that is not confined
        (DAEMONS_LABEL, ("-machine", "nonesuch", *LINE[4:]), 1),
        (DAEMONS_LABEL, (*PROBE, "-M", "q35"), 1),
        (DAEMONS_LABEL, ("-device", "-machine", "x", "none"), 1),
    ],
)
def test_f_what_only_looks_like_a_probe_is_reported(label: str, words: tuple[str, ...], pid: int) -> None:
    tree = with_process(QEMU, label, *words)
    parent(tree, pid, 50)
    assert [severity for severity, _subject in outside(hosts.look(tree))] == ["critical"]


SESSION = "unconfined_u:unconfined_r:svirt_t:s0:c5,c6"


def test_f_a_guest_of_a_session_daemon_is_medium() -> None:
    cgroup = "/user.slice/user-1000.slice/user@1000.service/app.slice/virtqemud.service"
    words = ("-name", "guest=desk,debug-threads=on", "-S")
    snapshot = hosts.look(with_process(QEMU, SESSION, *words, uid=1000, cgroup=cgroup))
    assert outside(snapshot) == [("medium", "process 50 desk")]
    shown = evidence(snapshot)
    assert (shown["kind"], shown["context"]) == ("session", SESSION)
    assert "session" in shown["confined"]


@pytest.mark.parametrize(
    ("label", "uid", "severity"),
    [
        (SESSION, 0, "high"),
        (SESSION, hosts.QEMU_UID, "high"),
        ("unconfined_u:unconfined_r:svirt_t:s0", 1000, "critical"),
        ("unconfined_u:unconfined_r:svirt_t:s0:c0.c1023", 1000, "critical"),
        (UNCONFINED, 1000, "critical"),
    ],
)
def test_f_others_are_not_taken_for_a_session(label: str, uid: int, severity: str) -> None:
    assert outside(hosts.look(with_process(QEMU, label, *LINE, uid=uid))) == [(severity, "process 50 x")]


@pytest.mark.parametrize("label", [hosts.LABEL, "system_u:system_r:svirt_t:s0:c7,c9"])
@pytest.mark.parametrize("exe", ["/usr/bin/bash", "/usr/bin/swtpm"])
def test_f_a_process_with_a_guests_label_that_serves_no_guest_is_reported(exe: str, label: str) -> None:
    snapshot = hosts.look(with_process(exe, label))
    (item,) = [item for item in findings(snapshot) if item.rule == "GST-011"]
    assert (item.severity, item.subject) == ("high", f"process 50 {exe.rpartition('/')[2]}")
    assert item.evidence["reaches"] == (["guest web"] if label == hosts.LABEL else [])
    assert "delete" not in item.fix


def test_f_a_guests_own_helpers_are_no_finding() -> None:
    scope = "/machine.slice/machine-qemu\\x2d3\\x2dweb.scope/libvirt/swtpm"
    assert outside(hosts.look(with_process("/usr/bin/swtpm", hosts.LABEL, cgroup=scope))) == []


SCOPE = "/machine.slice/machine-qemu\\x2d3\\x2dweb.scope/libvirt/emulator"


@pytest.mark.parametrize(
    ("of", "label", "reported"),
    [
        (hosts.PID, hosts.LABEL, []),
        (1, hosts.LABEL, ["high"]),  # in the guest's group, and not made by its QEMU
        (hosts.PID, "system_u:system_r:svirt_t:s0:c5,c6", ["high"]),
        (hosts.PID, UNCONFINED, ["critical"]),
    ],
)
def test_f_a_child_of_a_guests_qemu_with_its_label_is_the_guests(of: int, label: str, reported: list[str]) -> None:
    """<async-teardown>, which is the default on s390x: the child has QEMU's memory, so its command line too."""
    words = ("qemu-kvm", "-name", "guest=web,debug-threads=on", "-run-with", "async-teardown=on")
    tree = hosts.el9()
    hosts.process(tree, 50, "/usr/libexec/qemu-kvm", label, words, hosts.QEMU_UID, SCOPE)
    parent(tree, of, 50)
    assert [severity for severity, _subject in outside(hosts.look(tree))] == reported


def test_f_a_group_that_is_only_named_like_a_guests_is_not_the_guests() -> None:
    scope = "/user.slice/user-1000.slice/user@1000.service/machine-qemu\\x2d3\\x2dweb.scope"
    assert outside(hosts.look(with_process("/usr/bin/bash", hosts.LABEL, uid=1000, cgroup=scope))) == [
        ("high", "process 50 bash")
    ]


def test_f_where_guests_have_no_group_of_their_own_it_is_unknown() -> None:
    tree = with_process("/usr/bin/swtpm", hosts.LABEL)
    tree.file(f"/proc/{hosts.PID}/cgroup", "0::/system.slice/libvirtd.service\n")
    snapshot = hosts.look(tree)
    assert (outside(snapshot), status(snapshot, "GST-011")) == ([], "unknown")


def test_f_the_helper_of_a_session_guest_is_reported_with_it() -> None:
    tree = with_process(QEMU, SESSION, *LINE, uid=1000)
    hosts.process(tree, 51, "/usr/bin/passt.avx2", SESSION, (), 1000, "/user.slice/y")
    assert outside(hosts.look(tree)) == [("medium", "process 50 x")]


def test_f_a_guest_that_ended_during_the_probe_leaves_nothing_behind() -> None:
    class Ended(CapturedRoot):
        def exists(self, path: str) -> bool:
            return path != "/proc/50" and super().exists(path)

    tree = with_process("/usr/bin/swtpm", hosts.LABEL)
    tools = Tools(ask=lambda _uri, _known: hosts.answer(), strict=True)
    assert outside(Probe(Ended(tree, hosts.policy()), Options(timeout=5), tools).take()) == []


@pytest.mark.parametrize("lsms", ["", "lockdown,capability,yama", "lockdown,capability,apparmor"])
@pytest.mark.parametrize("libvirt", [False, True])
def test_l_qemus_outside_libvirt_are_named_whatever_else_is_off(lsms: str, libvirt: bool) -> None:
    tree = Tree()
    hosts.kernel(tree)
    if lsms:
        tree.file("/sys/kernel/security/lsm", lsms)
    if libvirt:
        hosts.libvirtd(tree)
        tree.libvirt += [{"driver": "QEMU", "version": 10000000}, {"capabilities": "<capabilities/>"}]
    for pid in range(70, 75):
        hosts.process(tree, pid, QEMU, None, ("q", "-name", f"guest=vm{pid}"))
    snapshot = hosts.look(tree)
    assert outside(snapshot) == [("critical", f"process {pid} vm{pid}") for pid in range(70, 75)]
    assert status(snapshot, "GST-001") == f.FAIL


def test_l_without_such_qemus_an_apparmor_host_stays_not_applicable() -> None:
    assert status(hosts.look(hosts.apparmor()), "GST-001") == f.NOT_APPLICABLE
