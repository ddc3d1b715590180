# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A healthy host to start from. Each call makes it anew, so that a test may break its own as it likes."""

from __future__ import annotations

import typing as t

from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    AREAS,
    NOT_APPLICABLE,
    OK,
    Access,
    Assignment,
    Boolean,
    BootEntry,
    Coverage,
    Daemon,
    FileFacts,
    Guest,
    Host,
    Interface,
    Libvirt,
    Network,
    NetworkFilter,
    Process,
    QemuConf,
    Resource,
    SecLabel,
    SecurityModel,
    SELinux,
    Snapshot,
    Storage,
    TypeFacts,
)

BOOTED = 1_790_000_000
DAEMON_STARTED = BOOTED + 60.0
NOW = BOOTED + 86_400.0
IMAGES = "/var/lib/libvirt/images"
SHARE = "/mnt/share"
QEMU_UID = 107

AT_REST = "system_u:object_r:virt_image_t:s0"
SHARED = "system_u:object_r:svirt_image_t:s0"
CONTENT = "system_u:object_r:virt_content_t:s0"
DAEMON = "system_u:system_r:virtd_t:s0-s0:c0.c1023"

_COMMAND_LINE = "root=/dev/vda1 ro quiet"
_ACCESS_BY_OTHERS = "system_u:system_r:{}:s0:c1022,c1023"


def process_label(level: str, type_: str = "svirt_t") -> str:
    """The label of a guest's process."""
    return f"system_u:system_r:{type_}:{level}"


def image_label(level: str) -> str:
    """The label of a running guest's own image."""
    return f"system_u:object_r:svirt_image_t:{level}"


def host() -> Snapshot:
    """A hardened host of the EL kind, with a running dynamic guest, a running static guest, and a guest that is off."""
    return Snapshot(
        host=Host(name="kvm1", os_id="rhel", booted_at=BOOTED, root=True),
        selinux=selinux(),
        libvirt=libvirt(),
        coverage={area: Coverage(OK) for area in AREAS if area != "xen"} | {"xen": Coverage(NOT_APPLICABLE, "KVM")},
        taken_at=NOW,
        guests=[dynamic_guest(), static_guest(), powered_off_guest()],
        processes=[
            Process(1001, "qemu", "/usr/libexec/qemu-kvm", "web", process_label("s0:c17,c42"), QEMU_UID, uuid(1)),
            Process(1002, "qemu", "/usr/libexec/qemu-kvm", "db", process_label("s0:c40,c300,c600,c900"), 107, uuid(2)),
            Process(1003, "swtpm", "/usr/bin/swtpm", "web", process_label("s0:c17,c42"), 59, uuid(1)),
        ],
        storage=[Storage("/", "xfs", "/dev/vda1", labelled=True, identity="uuid:1111")],
    )


def stock_host() -> Snapshot:
    """The same, with libvirt's own defaults in place of a hardened qemu.conf."""
    snapshot = host()
    conf = snapshot.libvirt.conf
    assert conf is not None
    conf.assignments = []
    return snapshot


def debian_host() -> Snapshot:
    """A stock Debian host: one guest type, emulated guests, and so the boolean that they need."""
    snapshot = stock_host()
    snapshot.host.os_id = "debian"
    selinux_ = snapshot.selinux
    selinux_.guest_types = ["svirt_t"]
    selinux_.types = [facts for facts in selinux_.types if facts.name in ("svirt_t", "virtd_t")]
    selinux_.cmdline = f"{_COMMAND_LINE} security=selinux"
    selinux_.boot_entries = [
        BootEntry("/boot/grub/grub.cfg", "Debian", selinux_.cmdline),
        BootEntry("/boot/grub/grub.cfg", "Debian>recovery", "root=/dev/vda1 ro single security=selinux"),
    ]
    selinux_.booleans = [Boolean("virt_use_execmem", True, True), Boolean("virt_use_nfs", False, False)]
    selinux_.access = [Access(_ACCESS_BY_OTHERS.format("svirt_t"), AT_REST, read=False, write=False)]
    assert snapshot.libvirt.models is not None
    snapshot.libvirt.models[0].baselabels = dict.fromkeys(("kvm", "qemu"), process_label("s0"))
    for guest in snapshot.guests:
        guest.kind = "qemu"
    return snapshot


def fedora_host() -> Snapshot:
    """A stock Fedora host: modular daemon without categories, in a domain that is shipped permissive."""
    snapshot = stock_host()
    snapshot.host.os_id = "fedora"
    snapshot.libvirt.daemon = Daemon(
        "virtqemud", 900, "system_u:system_r:virtqemud_t:s0", started_at=DAEMON_STARTED, socket=True
    )
    snapshot.selinux.types.append(
        TypeFacts("virtqemud_t", known=True, permissive=True, constrained=False, shipped=True)
    )
    return snapshot


def selinux() -> SELinux:
    """Enforcing now and later."""
    return SELinux(
        mode="enforcing",
        configured_mode="enforcing",
        policy="targeted",
        policy_version=33,
        mls=True,
        lsms=["lockdown", "capability", "yama", "selinux"],
        cmdline=_COMMAND_LINE,
        boot_entries=[BootEntry("/boot/loader/entries/6.12.conf", "Linux 6.12", _COMMAND_LINE)],
        types=[
            TypeFacts("svirt_t", known=True, permissive=False, constrained=True),
            TypeFacts("svirt_tcg_t", known=True, permissive=False, constrained=True),
            TypeFacts("virtd_t", known=True, permissive=False, constrained=False),
        ],
        booleans=[Boolean("virt_use_nfs", False, False), Boolean("virt_use_usb", True, True)],
        guest_types=["svirt_t", "svirt_tcg_t"],
        image_types=["svirt_image_t", "virt_content_t"],
        access=[
            Access(_ACCESS_BY_OTHERS.format(type_), target, read=True, write=write)
            for type_ in ("svirt_t", "svirt_tcg_t")
            for target, write in ((AT_REST, False), (CONTENT, False), (SHARED, True))
        ],
    )


def libvirt() -> Libvirt:
    """A running daemon with a hardened qemu.conf."""
    return Libvirt(
        installed=True,
        daemon=Daemon("libvirtd", 900, DAEMON, started_at=DAEMON_STARTED, socket=True),
        connected=True,
        driver="QEMU",
        version="11.3.0",
        conf=QemuConf(
            path="/etc/libvirt/qemu.conf",
            present=True,
            assignments=[
                Assignment("security_driver", "selinux", 3),
                Assignment("security_require_confined", 1, 4),
            ],
            changed_at=BOOTED - 1000.0,
        ),
        models=[
            SecurityModel("selinux", "0", {"kvm": process_label("s0"), "qemu": process_label("s0", "svirt_tcg_t")}),
            SecurityModel("dac", "0"),
        ],
        filters=filters(),
        networks=[Network("default", "nat", "virbr0")],
        qemu_uid=QEMU_UID,
        qemu_gids=[QEMU_UID],
    )


def filters() -> list[NetworkFilter]:
    """libvirt's clean-traffic and the filters that it refers to."""
    parts = ["no-arp-spoofing", "no-ip-spoofing", "no-mac-spoofing", "no-other-l2-traffic"]
    return [
        NetworkFilter("clean-traffic", chain="root", references=parts),
        NetworkFilter("no-arp-ip-spoofing", chain="arp-ip", variables=["IP"], drops=True),
        NetworkFilter("no-arp-mac-spoofing", chain="arp-mac", variables=["MAC"], drops=True),
        NetworkFilter("no-arp-spoofing", references=["no-arp-ip-spoofing", "no-arp-mac-spoofing"]),
        NetworkFilter("no-ip-spoofing", chain="ipv4-ip", variables=["IP"], drops=True),
        NetworkFilter("no-mac-spoofing", chain="mac", variables=["MAC"], drops=True),
        NetworkFilter("no-other-l2-traffic", drops=True),
    ]


def card() -> Interface:
    """A bridged interface, held to its own addresses."""
    mac = "52:54:00:00:00:01"
    return Interface("bridge", mac, "br0", filter="clean-traffic", parameters=["IP=192.0.2.10"])


def uuid(number: int) -> str:
    """A uuid for a guest."""
    return f"00000000-0000-4000-8000-{number:012d}"


def resource(
    kind: str, path: str, role: str, label: str | None, expected: str | None = None, **more: t.Any
) -> Resource:
    """A file of a guest, as a local root file system has it."""
    facts: dict[str, t.Any] = {"exists": True, "kind": "file", "label": label, "uid": QEMU_UID, "gid": QEMU_UID}
    facts |= {"mode": 0o600, "device": "253:1", "inode": sum(path.encode()) * 1000 + len(path), "mount": "/"}
    facts |= more.pop("file", {})
    target = more.pop("target", "vda")
    return Resource(kind, target, path, role, expected, file=FileFacts(**facts), **more)


def dynamic_guest() -> Guest:
    """Running, with a drawn pair: a chain of two, an ISO, NVRAM and a TPM."""
    level = "s0:c17,c42"
    own = image_label(level)
    dynamic = SecLabel("selinux", "dynamic", True, process_label(level), own)
    return Guest(
        uuid=uuid(1),
        name="web",
        state="running",
        active=True,
        pid=1001,
        context=process_label("s0:c42,c17"),  # the kernel's order is not libvirt's
        live=[dynamic, SecLabel("dac", "dynamic", True, "+107:+107", "+107:+107")],
        resources=[
            resource("disk", f"{IMAGES}/web.qcow2", "image", own, own),
            resource("backing", f"{IMAGES}/base.qcow2", "content", CONTENT, CONTENT, readonly=True, restored=False),
            resource("cdrom", f"{IMAGES}/seed.iso", "content", CONTENT, CONTENT, target="sda", readonly=True),
            resource("nvram", "/var/lib/libvirt/qemu/nvram/web_VARS.fd", "image", own, own, target=""),
            resource("tpm", "/var/lib/libvirt/swtpm/web", "image", own, own, target=""),
        ],
        interfaces=[card()],
        persistent_interfaces=[card()],
    )


def static_guest() -> Guest:
    """Running, with a label for life of four categories, and a disk that it shares on purpose."""
    level = "s0:c40,c300,c600,c900"
    own = image_label(level)
    static = SecLabel("selinux", "static", True, process_label(level), own)
    return Guest(
        uuid=uuid(2),
        name="db",
        state="running",
        active=True,
        pid=1002,
        context=process_label(level),
        live=[static],
        persistent_labels=[SecLabel("selinux", "static", True, process_label(level))],
        resources=[
            resource("disk", f"{IMAGES}/db.raw", "image", own, own),
            resource("disk", f"{IMAGES}/quorum.raw", "shared", SHARED, SHARED, target="vdb", shareable=True),
        ],
    )


def powered_off_guest() -> Guest:
    """Off; its disk is back with root, its ISO and its shareable disk keep what libvirt never sets back."""
    return Guest(
        uuid=uuid(3),
        name="spare",
        state="shutoff",
        active=False,
        resources=[
            resource("disk", f"{IMAGES}/spare.qcow2", "image", AT_REST, file={"uid": 0, "gid": 0}),
            resource("cdrom", f"{IMAGES}/tools.iso", "content", CONTENT, target="sda", readonly=True, restored=False),
            resource("disk", f"{IMAGES}/old-quorum.raw", "shared", SHARED, target="vdb", shareable=True),
        ],
    )


def share(*, labelled: bool = True, **more: t.Any) -> Storage:
    """An NFS mount."""
    return Storage(SHARE, "nfs4", "filer:/vms", labelled=labelled, identity="nfs:filer:/vms", remote=True, **more)


def on_share(guest: Guest, path: str = f"{SHARE}/disk.raw") -> Resource:
    """Move a guest's first disk to the share."""
    disk = next(item for item in guest.resources if item.kind == "disk")
    disk.path, disk.file.mount, disk.file.device = path, SHARE, "0:55"
    return disk
