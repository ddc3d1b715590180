# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Guests as data, and their domain XML."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from .shape import DEBIAN

LOCAL = "/var/lib/libvirt/images"
SHARE = "/srv/vms"
ISOS = "/var/lib/libvirt/isos"
GUEST_TYPE = "svirt_t"
_BIOS = "<type arch='x86_64' machine='pc'>hvm</type>"
_FIRMWARE = (
    "<type arch='x86_64' machine='q35'>hvm</type>"
    "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
    "<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'/>"
)
_TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
_NAMESPACE = uuid.UUID("5f1e0000-0000-5000-8000-000000000000")
_BANDS = (32, 280, 528, 776)
_BAND_WIDTH = 248


@dataclass(frozen=True)
class Disk:
    """One disk of a guest. format is what the XML declares."""

    path: str
    format: str = "raw"
    device: str = "disk"
    backing: str = ""
    shareable: bool = False
    readonly: bool = False
    seclabel: str = ""  # raw XML inside <source>
    block: bool = False


@dataclass(frozen=True)
class Guest:
    """A guest of the lab: 24 MiB, firmware only."""

    name: str
    disks: tuple[Disk, ...] = ()
    seclabel: str = ""  # raw XML; empty: libvirt's default, a dynamic label
    bridge_address: str = ""  # IPv4 address that the clean-traffic filter allows
    running: bool = True
    qemu_args: tuple[str, ...] = ()
    devices: str = ""  # raw XML
    title: str = ""
    tags: tuple[str, ...] = field(default=())
    secure: bool = False  # UEFI with variables of its own, and a TPM
    paused: bool = False  # started, and not run: UEFI that finds nothing to boot keeps a processor busy

    @property
    def uuid(self) -> str:
        return str(uuid.uuid5(_NAMESPACE, self.name))


def static_level(number: int, tenant: int = 1) -> str:
    """The level of a guest for life: four categories, one of each band; no two numbers share a label."""
    high, low = divmod(number, _BAND_WIDTH)
    offsets = (tenant % _BAND_WIDTH, (7 * tenant) % _BAND_WIDTH, high, low)
    return "s0:" + ",".join(f"c{band + offset}" for band, offset in zip(_BANDS, offsets))


def static_seclabel(level: str, relabel: str = "yes", type_: str = GUEST_TYPE) -> str:
    """The element for a static label."""
    context = f"system_u:system_r:{type_}:{level}"
    return f"<seclabel type='static' model='selinux' relabel='{relabel}'><label>{context}</label></seclabel>"


def domain_xml(guest: Guest, bridge: str = "br-lab", emulator: str = DEBIAN.emulator) -> str:
    """The whole domain XML."""
    arguments = "".join(f"<qemu:arg value={quoteattr(a)}/>" for a in guest.qemu_args)
    disks = "".join(_disk_xml(disk, index) for index, disk in enumerate(guest.disks))
    return (
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        f"<name>{escape(guest.name)}</name><uuid>{guest.uuid}</uuid>"
        + (f"<title>{escape(guest.title)}</title>" if guest.title else "")
        + f"<memory unit='MiB'>{64 if guest.secure else 24}</memory><vcpu>1</vcpu>"
        f"<os>{_FIRMWARE if guest.secure else _BIOS}</os><features><acpi/></features>"
        "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash><devices>"
        f"<emulator>{emulator}</emulator>"
        "<controller type='usb' model='none'/><memballoon model='none'/>"
        f"{disks}{_nic_xml(guest, bridge)}{_TPM if guest.secure else ''}{guest.devices}</devices>{guest.seclabel}"
        + (f"<qemu:commandline>{arguments}</qemu:commandline>" if arguments else "")
        + "</domain>"
    )


def _disk_xml(disk: Disk, index: int) -> str:
    letter = "abcdefghijklmnop"[index]
    target = (
        f"<target dev='hd{letter}' bus='ide'/>"
        if disk.device == "cdrom"
        else f"<target dev='vd{letter}' bus='virtio'/>"
    )
    kind, attribute = ("block", "dev") if disk.block else ("file", "file")
    source = f"<source {attribute}={quoteattr(disk.path)}>{disk.seclabel}</source>"
    flags = ("<shareable/>" if disk.shareable else "") + ("<readonly/>" if disk.readonly else "")
    return (
        f"<disk type='{kind}' device='{disk.device}'><driver name='qemu' type='{disk.format}'/>"
        f"{source}{target}{flags}</disk>"
    )


def _nic_xml(guest: Guest, bridge: str) -> str:
    if not guest.bridge_address:
        return ""
    return (
        f"<interface type='bridge'><source bridge='{bridge}'/><model type='virtio'/><rom enabled='no'/>"
        f"<filterref filter='clean-traffic'><parameter name='IP' value='{guest.bridge_address}'/></filterref>"
        "</interface>"
    )
