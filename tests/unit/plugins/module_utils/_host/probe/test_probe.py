# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole hosts, read through captured trees."""

from __future__ import annotations

import json
import time
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import decode_snapshot
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    AREAS,
    InstalledGuard,
    Remembered,
    Snapshot,
)
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.deadline import alive
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.document import document
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.libvirt_reader import CAPABILITIES
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Options, Probe, Tools

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree


def coverage(snapshot: Snapshot) -> dict[str, list[str]]:
    """The areas that are not wholly read, with the codes of their reasons."""
    return {area: entry.codes for area, entry in snapshot.coverage.items() if entry.status == "unknown"}


def statuses(snapshot: Snapshot, status: str) -> set[str]:
    return {area for area, entry in snapshot.coverage.items() if entry.status == status}


def failing(*_arguments: t.Any) -> t.Iterator[t.Any]:
    """A libvirt that cannot be reached."""
    raise OSError(111, "Connection refused")


@pytest.mark.controller
@pytest.mark.parametrize("make", [hosts.el9, hosts.fedora, hosts.apparmor, hosts.bare])
def test_every_snapshot_follows_the_schema(make: t.Callable[[], Tree]) -> None:
    whole = document(hosts.look(make()))
    assert decode_snapshot(json.loads(json.dumps(whole))) == hosts.look(make())
    assert set(whole["coverage"]) == set(AREAS)


def test_el9() -> None:
    snapshot = hosts.look(hosts.el9())
    assert coverage(snapshot) == {}
    assert statuses(snapshot, "not_applicable") == {"xen"}
    assert snapshot.host.os_id == "rhel"
    assert snapshot.host.booted_at == 1700000000
    daemon = snapshot.libvirt.daemon
    assert daemon is not None
    assert (daemon.name, daemon.pid, daemon.started_at) == ("libvirtd", 900, 1700000900.0)
    assert daemon.context == "system_u:system_r:virtd_t:s0-s0:c0.c1023"
    assert (snapshot.libvirt.version, snapshot.libvirt.driver) == ("10.0.0", "QEMU")
    assert (snapshot.libvirt.qemu_uid, snapshot.libvirt.qemu_gids) == (107, [36, 107])
    assert [entry.arguments for entry in snapshot.selinux.boot_entries] == ["root=/dev/mapper/r ro quiet selinux=1"] * 2
    (process,) = snapshot.processes
    assert (process.role, process.exe, process.guest) == ("qemu", "/usr/libexec/qemu-kvm", hosts.UUID)


def test_el9_guest() -> None:
    (guest,) = hosts.look(hosts.el9()).guests
    assert (guest.state, guest.active, guest.persistent, guest.source) == ("running", True, True, "libvirt")
    assert (guest.pid, guest.context, guest.risks) == (hosts.PID, hosts.LABEL, ["high_privileges"])
    assert [label.label for label in guest.live] == [hosts.LABEL]
    assert guest.persistent_labels == []
    files = {item.kind: item for item in guest.resources}
    assert set(files) == {"disk", "backing", "state_dir"}
    assert (files["disk"].expected, files["disk"].file.label) == (hosts.IMAGE_LABEL, hosts.IMAGE_LABEL)
    assert files["disk"].file.remembered == Remembered(hosts.REST_LABEL, 1, "1700000000")
    assert files["backing"].file.label == hosts.CONTENT_LABEL


def test_fedora_runs_the_modular_daemon() -> None:
    snapshot = hosts.look(hosts.fedora(), rules=hosts.policy(permissive=("virtqemud_t",)))
    daemon = snapshot.libvirt.daemon
    assert daemon is not None
    assert (daemon.name, daemon.context) == ("virtqemud", "system_u:system_r:virtqemud_t:s0")
    permissive = [item.name for item in snapshot.selinux.types if item.permissive]
    assert permissive == ["virtqemud_t"]
    assert snapshot.guests[0].context == hosts.LABEL


def test_an_apparmor_host_is_not_ours() -> None:
    snapshot = hosts.look(hosts.apparmor())
    assert coverage(snapshot) == {}
    assert statuses(snapshot, "not_applicable") == {"selinux", "images", "containers", "orphans", "xen"}
    assert snapshot.coverage["selinux"].codes == ["apparmor"]
    assert (snapshot.libvirt.qemu_uid, len(snapshot.guests)) == (107, 1)


def test_apparmor_in_the_place_of_a_configured_selinux_is_a_fault_to_be_seen() -> None:
    tree = hosts.apparmor()
    tree.file("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=default\n")
    tree.file("/etc/selinux/default/policy/policy.33", "x")
    snapshot = hosts.look(tree)
    assert snapshot.coverage["selinux"].status == "ok"
    assert (snapshot.selinux.mode, snapshot.selinux.configured_mode) == ("disabled", "enforcing")


def test_a_host_without_libvirt() -> None:
    tree = hosts.bare()
    hosts.process(tree, 77, "/usr/bin/qemu-system-x86_64", "unconfined_u:unconfined_r:unconfined_t:s0")
    snapshot = hosts.look(tree)
    assert coverage(snapshot) == {}
    assert statuses(snapshot, "not_applicable") == {"libvirt", "guests", "images", "storage", "xen"}
    assert [process.pid for process in snapshot.processes] == [77]
    assert snapshot.libvirt.installed is False


def test_libvirt_that_is_down_leaves_its_files() -> None:
    tree = hosts.el9()
    tree.file("/etc/libvirt/qemu/off.xml", hosts.domain(name="off").replace(hosts.UUID, hosts.UUID[:-1] + "2"))
    snapshot = hosts.look(tree, tools=Tools(ask=failing))
    assert coverage(snapshot) == {"libvirt": ["unreadable"], "guests": ["unreadable"]}
    running, off = snapshot.guests
    assert (running.source, running.state, running.persistent, running.pid) == ("status_xml", "running", True, 4242)
    assert (off.source, off.state, off.active) == ("persistent_xml", "shutoff", False)
    assert running.resources[1].file.label == hosts.IMAGE_LABEL
    assert snapshot.libvirt.models is None
    assert snapshot.coverage["images"].status == "ok"  # every guest and every file is known all the same


@pytest.mark.usefixtures("no_hang")
def test_libvirt_that_hangs_is_left_behind() -> None:
    def hang(*_arguments: t.Any) -> t.Iterator[t.Any]:
        yield {"driver": "QEMU", "version": 10000000}
        time.sleep(60)

    snapshot = hosts.look(hosts.el9(), tools=Tools(ask=hang), options=Options(timeout=0.3))
    assert coverage(snapshot)["libvirt"] == ["timed_out"]
    assert snapshot.libvirt.connected is True
    assert [guest.source for guest in snapshot.guests] == ["status_xml"]


@pytest.mark.parametrize(
    ("settings", "guard"),
    [
        ('{"readable": ["svirt_t"], "ask": true}', InstalledGuard(["svirt_t"], True)),
        ('{"readable": []}', InstalledGuard([])),
        ("{}", InstalledGuard()),
        ("[", InstalledGuard()),
        (None, InstalledGuard()),
    ],
)
def test_the_guard_by_its_settings(settings: str | None, guard: InstalledGuard) -> None:
    tree = hosts.el9()
    assert hosts.look(tree).libvirt.guard is None
    tree.link("/etc/libvirt/hooks/qemu.d/svirt-guard", "/usr/sbin/svirt-guard")
    if settings is not None:
        tree.file("/etc/svirt-fleet/guard.json", settings)
    assert hosts.look(tree).libvirt.guard == guard


def slow_capabilities(pause: float, seconds: float) -> t.Callable[..., t.Iterator[t.Any]]:
    """A libvirt that has nothing cached: it answers all else at once."""

    def ask(*_arguments: t.Any) -> t.Iterator[t.Any]:
        *rest, capabilities = hosts.answer()
        yield from rest
        yield {"filters": []}
        yield {"networks": []}
        alive(CAPABILITIES, seconds)
        time.sleep(pause)
        yield capabilities

    return ask


def test_capabilities_have_a_time_limit_of_their_own() -> None:
    tools = Tools(ask=slow_capabilities(4.0, 60.0))
    snapshot = hosts.look(hosts.el9(), tools=tools, options=Options(timeout=2.0))
    assert coverage(snapshot) == {}
    assert [item.model for item in snapshot.libvirt.models or ()] == ["selinux", "dac"]


def test_capabilities_that_never_come_cost_nothing_else_and_are_named() -> None:
    tools = Tools(ask=slow_capabilities(60.0, 3.0))
    snapshot = hosts.look(hosts.el9(), tools=tools, options=Options(timeout=2.0))
    assert coverage(snapshot) == {"libvirt": ["timed_out"]}
    assert snapshot.coverage["libvirt"].why == f"libvirt: no answer within 3 s ({CAPABILITIES})"
    assert [(guest.source, guest.state) for guest in snapshot.guests] == [("libvirt", "running")]
    assert snapshot.libvirt.models is None
    assert snapshot.libvirt.filters == []


def test_a_status_file_that_outlived_its_process_is_not_believed() -> None:
    tree = hosts.el9()
    tree.file("/run/libvirt/qemu/web.xml", hosts.status(pid=5555))
    (guest,) = hosts.look(tree, tools=Tools(ask=failing)).guests
    assert (guest.active, guest.source, guest.live) == (False, "persistent_xml", [])


def test_a_daemon_that_has_not_run_since_the_boot_is_not_woken() -> None:
    tree = hosts.el9()
    del tree.entries["/run/libvirt/qemu/autostarted"]
    for path in [path for path in tree.entries if path.startswith("/proc/900")]:
        del tree.entries[path]
    snapshot = hosts.look(tree)
    assert snapshot.libvirt.connected is False
    assert coverage(snapshot)["libvirt"] == ["daemon_asleep"]
    assert snapshot.libvirt.daemon is not None
    assert (snapshot.libvirt.daemon.pid, snapshot.libvirt.daemon.socket) == (None, True)


def test_a_daemon_that_the_connection_woke_is_known_all_the_same() -> None:
    class Sleeping(CapturedRoot):
        def listdir(self, path: str) -> list[str]:
            names = super().listdir(path)
            return [name for name in names if name != "900"] if path == "/proc" else names

    tree = hosts.el9()
    tools = Tools(ask=lambda _uri, _known: tree.libvirt, strict=True)
    snapshot = Probe(Sleeping(tree, hosts.policy()), Options(timeout=5), tools).take()
    daemon = snapshot.libvirt.daemon
    assert daemon is not None
    assert (daemon.name, daemon.pid, daemon.started_at) == ("libvirtd", 900, 1700000900.0)
    assert daemon.context == "system_u:system_r:virtd_t:s0-s0:c0.c1023"


def test_not_root() -> None:
    tree = hosts.el9()
    hosts.process(tree, hosts.PID, None, hosts.LABEL, ("/usr/libexec/qemu-kvm", "-name", "guest=web"), hosts.QEMU_UID)
    tree.entries["/boot/grub2/grub.cfg"].errno = 13
    tree.entries["/run/libvirt/qemu/web.xml"].errno = 13
    tree.libvirt[1]["live"] = hosts.domain(live=True)
    snapshot = hosts.look(tree, root=False)
    assert snapshot.host.root is False
    assert coverage(snapshot) == {
        "selinux": ["not_root"],
        "boot": ["boot_files_unread"],
        "guests": ["not_root"],
        "images": ["not_root"],
        "processes": ["not_root"],
        "orphans": ["not_root"],
    }
    (guest,) = snapshot.guests
    assert [label.label for label in guest.live] == [hosts.LABEL]
    assert (guest.pid, guest.context) == (hosts.PID, hosts.LABEL)
    (process,) = snapshot.processes
    assert (process.role, process.exe, process.guest) == ("qemu", None, hosts.UUID)
    tree.entries["/run/libvirt/qemu/web.pid"].uid = hosts.QEMU_UID  # written by a guest
    assert hosts.look(tree, root=False).guests[0].pid is None


def test_broken_guests_do_not_stop_the_others() -> None:
    tree = hosts.el9()
    other = hosts.UUID[:-1] + "2"
    tree.libvirt.insert(
        2,
        {
            "uuid": other,
            "name": "broken",
            "state": "shutoff",
            "active": False,
            "persistent": True,
            "inactive": "<domain",
        },
    )
    snapshot = hosts.look(tree)
    good, bad = snapshot.guests
    assert (good.error, bad.uuid) == ("", other)
    assert bad.error
    assert coverage(snapshot) == {area: ["guest_unread"] for area in ("guests", "images", "orphans")}
    assert snapshot.orphans == []  # the broken guest may own them


def test_an_image_that_vanished_is_said_to_be_gone() -> None:
    tree = hosts.el9()
    del tree.entries[hosts.IMAGE]
    snapshot = hosts.look(tree)
    disk = next(item for item in snapshot.guests[0].resources if item.kind == "disk")
    assert (disk.file.exists, disk.file.error, disk.file.label) == (False, "", None)
    assert coverage(snapshot) == {}


def test_an_image_that_cannot_be_looked_at_is_unknown() -> None:
    tree = hosts.el9()
    tree.entries[hosts.IMAGE].errno = 5
    snapshot = hosts.look(tree)
    disk = next(item for item in snapshot.guests[0].resources if item.kind == "disk")
    assert (disk.file.exists, disk.file.error) == (None, f"{hosts.IMAGE}: Input/output error")
    assert coverage(snapshot)["images"] == ["file_unread"]


def test_orphans_and_what_is_none() -> None:
    tree = hosts.el9()
    left = "/var/lib/libvirt/images/old/left.qcow2"
    tree.file(left, label="system_u:object_r:svirt_image_t:s0:c5,c6")
    tree.file("/var/lib/libvirt/images/shared.raw", label="system_u:object_r:svirt_image_t:s0")
    tree.file("/srv/elsewhere/x.raw", label="system_u:object_r:svirt_image_t:s0:c5,c6")
    tree.add("/var/lib/libvirt/images/second-name", tree.entries[hosts.IMAGE])  # a hard link
    tree.link("/var/lib/libvirt/images/loop", ".")
    snapshot = hosts.look(tree)
    assert [(item.path, item.label, item.mount) for item in snapshot.orphans] == [
        (left, "system_u:object_r:svirt_image_t:s0:c5,c6", "/")
    ]
    more = hosts.look(tree, options=Options(timeout=5, orphan_search=("/srv/elsewhere",)))
    assert [item.path for item in more.orphans] == ["/srv/elsewhere/x.raw", left]


def test_devices_are_read_in_the_guests_own_namespace() -> None:
    tree = hosts.el9()
    disk = "<source dev='/dev/vg/web'/>"
    tree.file("/run/libvirt/qemu/web.xml", hosts.status(disk=disk).replace("type='file' device", "type='block' device"))
    inside = f"/proc/{hosts.PID}/root"
    del tree.entries[inside]
    tree.folder(inside)
    tree.link(f"{inside}/dev/vg/web", "/dev/dm-3")  # an absolute link means the guest's own /dev
    number = 253 << 8 | 3
    tree.file(f"{inside}/dev/dm-3", type="b", rdev=number, label=hosts.IMAGE_LABEL)
    tree.file("/dev/dm-3", type="b", rdev=number, label="system_u:object_r:fixed_disk_device_t:s0")
    vg, lv = "a" * 32, "b" * 32
    tree.file("/sys/dev/block/253:3/dm/uuid", f"LVM-{vg}{lv}\n")
    snapshot = hosts.look(tree)
    device = next(item for item in snapshot.guests[0].resources if item.kind == "disk")
    assert (device.in_namespace, device.file.label, device.file.resolved) == (True, hosts.IMAGE_LABEL, "/dev/dm-3")
    assert device.file.mount == "/dev/vg/web"
    storage = next(item for item in snapshot.storage if item.type == "block")
    assert (storage.mount, storage.identity, storage.labelled) == ("/dev/vg/web", f"lvm:{vg}/{lv}", True)


def test_hostile_names_come_through() -> None:
    tree = hosts.el9()
    name = "{{ 7*7 }}\n<script>\x1b[31m"
    path = "/var/lib/libvirt/images/caf\udce9 {{ x }}\n.qcow2"
    tree.file(path, label="system_u:object_r:svirt_image_t:s0:c5,c6")
    hosts.process(
        tree, 99, "/usr/bin/qemu-system-x86_64", "system_u:system_r:svirt_t:s0:c9", ("q", "-name", f"guest={name},x=y")
    )
    text = json.dumps(document(hosts.look(tree)))
    text.encode("ascii")
    back = json.loads(text)
    assert back["orphans"][0]["path"] == "/var/lib/libvirt/images/caf\\xe9 {{ x }}\n.qcow2"
    assert back["processes"][0]["name"] == name


def test_xen_is_asked_only_where_it_is() -> None:
    tree = hosts.el9()
    tree.file("/sys/hypervisor/type", "xen\n")
    tree.file("/proc/xen/capabilities", "control_d\n")

    def ask(uri: str, _known: t.Collection[str]) -> t.Iterator[t.Any]:
        assert uri == "xen:///system"
        return iter(tree.libvirt)

    snapshot = hosts.look(tree, tools=Tools(ask=ask, run_command=lambda _words: (0, "Permissive\n", "")))
    assert snapshot.xen is not None
    assert (snapshot.xen.flask, snapshot.coverage["xen"].status) == ("permissive", "ok")
    snapshot = hosts.look(tree, tools=Tools(ask=ask, run_command=lambda _words: (1, "", "no such command")))
    assert snapshot.xen is not None
    assert snapshot.xen.flask is None
    assert coverage(snapshot)["xen"] == ["flask_unread"]
    tree.file("/proc/xen/capabilities", "")  # a guest of a Xen host
    assert hosts.look(tree).coverage["xen"].status == "not_applicable"


def test_an_error_that_nobody_foresaw_costs_its_area_only() -> None:
    class Odd(CapturedRoot):
        def listdir(self, path: str) -> list[str]:
            if path == "/proc":
                raise RuntimeError("what is this")
            return super().listdir(path)

    tree = hosts.el9()
    tools = Tools(ask=lambda _uri, _known: tree.libvirt)
    snapshot = Probe(Odd(tree, hosts.policy()), Options(timeout=5), tools).take()
    assert coverage(snapshot)["processes"] == ["unexpected_error"]
    assert (snapshot.coverage["selinux"].status, len(snapshot.guests)) == ("ok", 1)
    tools.strict = True
    with pytest.raises(RuntimeError):
        Probe(Odd(tree, hosts.policy()), Options(timeout=5), tools).take()


def test_two_looks_at_an_unchanged_host_are_equal() -> None:
    tree = hosts.el9()
    hosts.process(tree, 99, "/usr/bin/swtpm", hosts.LABEL)
    assert document(hosts.look(tree)) == document(hosts.look(tree))


def test_network_file_systems_are_listed_though_no_guest_has_a_file_there() -> None:
    tree = hosts.el9()
    mounts = tree.entries["/proc/self/mountinfo"]
    mounts.content += b"30 22 0:49 / /share rw - nfs4 filer:/vol rw,seclabel\n31 22 0:50 / /run/x rw - tmpfs tmpfs rw\n"
    found = {item.mount: item for item in hosts.look(tree).storage}
    assert set(found) == {"/", "/share"}
    assert (found["/share"].identity, found["/share"].labelled, found["/share"].remote) == (
        "nfs:filer:/vol",
        True,
        True,
    )
