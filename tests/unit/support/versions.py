# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Hosts with libvirt 9 to 12: the keys of qemu.conf, elements of domain XML and of status files that each has.

Built from libvirt's documentation of the formats and its NEWS; none of them was captured.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import hosts
from .captured import Tree

IMAGES = "/var/lib/libvirt/images"
STATE = "/var/lib/libvirt/qemu/domain-3-web"


@dataclass(frozen=True)
class Release:
    """What came with a release, beside what older ones have."""

    #: As libvirt's own number.
    number: int
    #: Key and value in qemu.conf.
    keys: str
    #: Devices of the guest.
    devices: str
    #: Elements of the status file.
    status: str
    #: Kind, path and role of the files that the devices bring.
    files: tuple[tuple[str, str, str], ...]
    #: Elements of <os>, and of <domain>.
    os: str = ""
    domain: str = ""

    @property
    def name(self) -> str:
        """The version as text."""
        return f"{self.number // 1000000}.{self.number // 1000 % 1000}.{self.number % 1000}"


_RAM = "/var/lib/libvirt/qemu/ram/3-web"
RELEASES = (
    Release(
        9_000_000,
        'security_driver = "selinux"\nremember_owner = 1\nnamespaces = [ "mount" ]\n',
        "<interface type='user'><mac address='52:54:00:00:00:09'/><backend type='passt' logFile='/run/passt.log'/>"
        "<portForward proto='tcp'><range start='2022' to='22'/></portForward></interface>"
        "<crypto model='virtio' type='qemu'><backend model='builtin' queues='1'/></crypto>"
        "<tpm model='tpm-crb'><backend type='emulator' version='2.0' persistent_state='yes'/></tpm>",
        "<monitor path='/run/x/monitor.sock' type='unix'/><vcpus><vcpu id='0' pid='4244'/></vcpus>"
        "<qemuCaps><flag name='kvm'/></qemuCaps><allowReboot value='yes'/><nodename index='4'/>"
        "<blockjobs active='no'/><rememberOwner/><passt/>",
        (("tpm", f"/var/lib/libvirt/swtpm/{hosts.UUID}/tpm2", "image"),),
    ),
    Release(
        10_000_000,
        "storage_use_nbdkit = 0\n",
        "<filesystem type='mount' accessmode='passthrough'><driver type='virtiofs'/><source dir='/srv/share'/>"
        "<target dir='share'/><idmap><uid start='0' target='1000' count='10'/></idmap></filesystem>",
        "<fdset index='2'/><agentTimeout>-2</agentTimeout>",
        (("filesystem", "/srv/share", "untouched"),),
    ),
    Release(
        11_003_000,
        'shared_filesystems = [ "/srv/share" ]\nauto_shutdown_try_save = "persistent"\n'
        'rdp_listen = "127.0.0.1"\nsave_image_format = "sparse"\n',
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/data.raw'/>"
        "<target dev='vdb' bus='virtio'/><throttlefilters><throttlefilter group='limit0'/></throttlefilters></disk>"
        "<graphics type='rdp' port='3389' autoport='yes'/>",
        f"<memoryBackingDir path='{_RAM}'/>",
        (("disk", "/srv/data.raw", "image"), ("acpi", f"{IMAGES}/msdm.bin", "content"), ("memory_dir", _RAM, "image")),
        f"<acpi><table type='msdm'>{IMAGES}/msdm.bin</table></acpi>",
        "<memoryBacking><source type='file'/></memoryBacking>",
    ),
    Release(
        12_000_000,
        'default_cpu_deprecated_features = "off"\ndefault_tls_priority = "NORMAL"\n',
        "<disk type='nvme' device='disk'><driver name='qemu' type='raw'/>"
        "<source type='pci' managed='yes' namespace='1'>"
        "<address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>"
        "</source><target dev='vdc' bus='virtio'/></disk>",
        "",
        (("disk", "/dev/vfio/7", "image"),),
    ),
)


def host(upto: int) -> Tree:
    """A host with the libvirt of ``RELEASES[upto]``, whose guest uses all that it and older ones brought."""
    releases = RELEASES[: upto + 1]
    tree = hosts.el9()
    tree.file("/etc/libvirt/qemu.conf", "".join(release.keys for release in releases), mtime=1699990000.0)
    tree.folder("/srv/share", "system_u:object_r:var_t:s0")
    devices = "".join(release.devices for release in releases)
    extra = "".join(release.os for release in releases)
    domain = "".join(release.domain for release in releases)
    status = (
        hosts.status(more=devices)
        .replace("<devices>", f"{domain}<devices>")
        .replace("</os>", f"{extra}</os>")
        .replace("<taint flag='high-privileges'/>", "")
    )
    status = status.replace("<chardevStdioLogd/>", "<chardevStdioLogd/>" + "".join(item.status for item in releases))
    tree.file("/run/libvirt/qemu/web.xml", status, mode=0o600)
    for kind, path, role in (file for release in releases for file in release.files):
        label = {"image": hosts.IMAGE_LABEL, "content": hosts.CONTENT_LABEL}.get(role, "system_u:object_r:var_t:s0")
        kinds = "d" if kind in ("tpm", "filesystem", "memory_dir") else "f"
        tree.file(path, label=label, type=kinds, uid=hosts.QEMU_UID, mode=0o700 if kinds == "d" else 0o600)
    tree.file("/run/libvirt/qemu/swtpm/3-web-swtpm.sock", label=hosts.IMAGE_LABEL, type="s")
    tree.link("/sys/bus/pci/devices/0000:01:00.0/iommu_group", "../../../kernel/iommu_groups/7")
    tree.file("/dev/vfio/7", label=hosts.IMAGE_LABEL, type="c")
    tree.libvirt[0]["version"] = releases[-1].number
    return tree
