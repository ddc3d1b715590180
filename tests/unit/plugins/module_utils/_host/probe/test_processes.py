# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import ContainerLabel
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import processes

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree

SVIRT = "system_u:system_r:svirt_t:s0:c1,c2"
SCOPE = "/machine.slice/machine-qemu\\x2d3\\x2dweb.scope"
GUEST_TYPES = frozenset(("svirt_t", "svirt_tcg_t"))


def read(tree: Tree) -> processes.ProcessTable:
    return processes.read(CapturedRoot(tree), GUEST_TYPES)


@pytest.mark.parametrize(
    ("exe", "role"),
    [
        ("/usr/bin/qemu-system-x86_64", "qemu"),
        ("/usr/libexec/qemu-kvm", "qemu"),
        ("/usr/libexec/qemu-kvm (deleted)", "qemu"),
        ("/home/me/qemu-system-aarch64", "qemu"),
        ("/usr/bin/swtpm", "swtpm"),
        ("/usr/libexec/virtiofsd", "virtiofsd"),
        ("/usr/bin/passt.avx2", "passt"),
        ("/usr/bin/qemu-img", None),
        ("/usr/bin/qemu-nbd", None),
        ("/usr/bin/qemu-ga", None),
        ("/usr/bin/dbus-daemon", None),
        ("/usr/bin/not-qemu-kvm", None),
    ],
)
def test_what_a_program_is(exe: str, role: str | None) -> None:
    tree = Tree()
    hosts.process(tree, 50, exe, "unconfined_u:unconfined_r:unconfined_t:s0")
    assert [seen.process.role for seen in read(tree).guests] == ([role] if role else [])


def test_whatever_has_a_guests_label_is_seen() -> None:
    tree = Tree()
    hosts.process(tree, 50, "/tmp/shell", SVIRT)  # noqa: S108 - a name, no file
    (seen,) = read(tree).guests
    assert (seen.process.role, seen.process.context) == ("shell", SVIRT)


def test_the_bus_of_a_guest_is_a_helper() -> None:
    tree = Tree()
    words = ("/usr/bin/dbus-daemon", "--config-file=/run/libvirt/qemu/dbus/3-web-dbus.conf")
    hosts.process(tree, 50, "/usr/bin/dbus-daemon", "system_u:system_r:other_t:s0", words)
    hosts.process(tree, 51, "/usr/bin/dbus-daemon", "system_u:system_r:other_t:s0", ("dbus-daemon", "--system"))
    assert [seen.process.pid for seen in read(tree).guests] == [50]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("q", "-name", "guest=web,debug-threads=on"), "web"),
        (("q", "-name", "debug-threads=on,guest=a,,b=c"), "a,b=c"),
        (("q", "-name", "plain,process=x"), "plain"),
        (("q", "-name"), None),
        (("q", "-m", "1"), None),
        (("q", "-name", "guest=" + "n" * 2000), "n" * 1024),
    ],
)
def test_the_name_on_the_command_line(words: tuple[str, ...], name: str | None) -> None:
    tree = Tree()
    hosts.process(tree, 50, "/usr/bin/qemu-system-x86_64", SVIRT, words)
    assert read(tree).guests[0].process.name == name


def test_times_users_and_odd_program_names() -> None:
    tree = Tree()
    tree.file("/proc/stat", "cpu 1\nbtime 1000\n")
    hosts.process(tree, 50, "/usr/bin/qemu-system-x86_64", SVIRT, uid=107)
    tree.file("/proc/50/stat", "50 (a) b) S) S 1 1 1 0 -1 4 0 0 0 0 1 1 0 0 20 0 1 0 250 1 1\n")
    process = read(tree).guests[0].process
    assert (process.uid, process.started_at) == (107, 1002.5)
    tree.file("/proc/50/stat", "nonsense")
    tree.file("/proc/50/status", "nonsense")
    process = read(tree).guests[0].process
    assert (process.uid, process.started_at) == (None, None)


@pytest.mark.parametrize(
    ("boot", "parent", "ticks"),
    [("9" * 30, "1", "250"), ("1000", "1", "9" * 30), ("1000", "9" * 30, "250"), ("1000", "1", "-" + "9" * 30)],
)
def test_numbers_that_no_kernel_writes_leave_only_the_time_unknown(boot: str, parent: str, ticks: str) -> None:
    tree = Tree()
    tree.file("/proc/stat", f"cpu 1\nbtime {boot}\n")
    hosts.process(tree, 50, "/usr/bin/qemu-system-x86_64", SVIRT, uid=107)
    tree.file("/proc/50/stat", f"50 (a) S {parent} 1 1 0 -1 4 0 0 0 0 1 1 0 0 20 0 1 0 {ticks} 1 1\n")
    process = read(tree).guests[0].process
    assert (process.uid, process.started_at) == (107, None)


def test_helpers_belong_to_the_guest_whose_control_group_they_are_in() -> None:
    tree = Tree()
    hosts.process(tree, 50, "/usr/libexec/qemu-kvm", SVIRT, cgroup=f"{SCOPE}/libvirt/emulator")
    hosts.process(tree, 51, "/usr/bin/swtpm", SVIRT, cgroup=f"{SCOPE}/libvirt/emulator")
    hosts.process(tree, 52, "/usr/bin/swtpm", SVIRT, cgroup="/system.slice/other.service")
    hosts.process(tree, 53, "/usr/libexec/qemu-kvm", SVIRT, ("q", "-uuid", "web-uuid"), cgroup=SCOPE)
    table = read(tree)
    processes.match_guests(table, {50: "web-uuid"})
    assert [seen.process.guest for seen in table.guests] == ["web-uuid", "web-uuid", None, None]


def test_containers_are_grouped_by_label() -> None:
    tree = Tree()
    label = "system_u:system_r:container_t:s0:c3,c4"
    for pid in range(100, 112):
        hosts.process(tree, pid, "/usr/bin/app", label)
    hosts.process(tree, 200, "/usr/bin/app", "system_u:system_r:container_kvm_t:s0:c5,c6")
    hosts.process(tree, 201, "/usr/bin/podman", "system_u:system_r:container_runtime_t:s0")
    assert read(tree).containers == [
        ContainerLabel("system_u:system_r:container_kvm_t:s0:c5,c6", [200], 1),
        ContainerLabel(label, list(range(100, 108)), 12),
    ]


def test_daemons_are_recognised_by_their_programs() -> None:
    tree = hosts.fedora()
    hosts.process(tree, 700, "/usr/sbin/libvirtd (deleted)", "system_u:system_r:virtd_t:s0")
    assert [(item.role, item.pid) for item in read(tree).daemons] == [("libvirtd", 700), ("virtqemud", 901)]


def test_a_program_whose_path_is_hidden_goes_by_its_command_line() -> None:
    tree = Tree()
    hosts.process(tree, 50, None, SVIRT, ("/usr/libexec/qemu-kvm", "-name", "guest=web"))
    hosts.process(tree, 51, None, None, ("",))
    tree.file("/proc/51/cmdline", "")
    tree.file("/proc/51/comm", errno=13)
    table = read(tree)
    assert [(seen.process.role, seen.process.exe) for seen in table.guests] == [("qemu", None)]
    assert table.hidden == 1


def test_no_proc_is_a_problem() -> None:
    problem = read(Tree()).problem
    assert problem is not None
    assert problem.code == "unreadable"
