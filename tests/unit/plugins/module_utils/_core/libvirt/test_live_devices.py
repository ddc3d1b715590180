# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware that a running guest has and its definition has not."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.live_devices import (
    block_jobs,
    disk_targets,
    live_only,
)

from tests.unit.support import virt

MAC = "52:54:00:00:00:01"
DISK = "<disk type='file' device='disk'><source file='/srv/a.qcow2'/><target dev='vda' bus='virtio'/></disk>"
CDROM = "<disk type='file' device='cdrom'>{}<target dev='sda' bus='sata'/></disk>"
ISO = "<source file='/srv/a.iso'/>"
USB = "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/><product id='0xbeef'/>{}</source></hostdev>"
PCI = (
    "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
    "<address domain='0x0000' bus='{}' slot='0x00' function='0x0'/></source></hostdev>"
)


def xml(*devices: str) -> str:
    return virt.domain("a", cards="".join(devices))


#: What runs, what is defined, and the words that name what would be lost.
LOST = [
    ((DISK,), (), ["vda"]),
    ((DISK.replace("/srv/a", "/srv/b"),), (DISK,), ["vda", "/srv/b.qcow2", "/srv/a.qcow2"]),
    ((CDROM.format(ISO),), (CDROM.format(""),), ["cdrom sda", "/srv/a.iso"]),
    ((virt.card(MAC),), (), [MAC]),
    ((virt.card(MAC), virt.card(MAC)), (virt.card(MAC),), [MAC]),
    ((virt.card(MAC, source="bridge='br9'"),), (virt.card(MAC),), [MAC, "br9", "br0"]),
    ((USB.format(""),), (), ["hostdev subsystem usb"]),
    ((USB.format(""), USB.format("")), (USB.format(""),), ["hostdev"]),
    ((PCI.format("0x07"),), (PCI.format("0x08"),), ["hostdev subsystem pci", "bus=7"]),
    (
        ("<hostdev mode='subsystem' type='mdev'><source><address uuid='c2177883-f1bb'/></source></hostdev>",),
        (),
        ["c2177883"],
    ),
    (("<memory model='dimm'><target><size unit='KiB'>524288</size><node>0</node></target></memory>",), (), ["dimm"]),
    (("<redirdev bus='usb' type='spicevmc'/>",), (), ["redirdev"]),
    (("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",), (), ["rng virtio"]),
    (("<shmem name='ivshmem0'/>",), ("<shmem name='ivshmem1'/>",), ["ivshmem0"]),
    (("<filesystem type='mount'><source dir='/srv'/><target dir='share'/></filesystem>",), (), ["filesystem", "share"]),
    (("<lease><lockspace>one</lockspace><key>k1</key></lease>",), (), ["lease", "k1"]),
    (("<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",), (), ["guest_agent"]),
    (("<vsock model='virtio'><cid auto='yes' address='3'/></vsock>",), (), ["vsock"]),
    (
        (
            (
                "<disk type='network' device='disk'><source protocol='rbd' name='p/new'/>"
                "<target dev='vda' bus='virtio'/></disk>"
            ),
        ),
        (
            (
                "<disk type='network' device='disk'><source protocol='rbd' name='p/old'/>"
                "<target dev='vda' bus='virtio'/></disk>"
            ),
        ),
        ["vda", "p/new"],
    ),
]


@pytest.mark.parametrize(("live", "inactive", "words"), LOST)
def test_what_a_power_cycle_would_take_away(live: tuple[str, ...], inactive: tuple[str, ...], words: list[str]) -> None:
    (named,) = live_only(xml(*live), xml(*inactive))
    assert [word for word in words if word not in named] == []


SAME = [
    ((), (DISK, virt.card(MAC))),  # attached to the definition only
    ((DISK.replace("<target", "<backingStore type='file'><source file='/srv/base'/></backingStore><target"),), (DISK,)),
    ((DISK.replace("qcow2'", "qcow2' index='1'").replace("</disk>", "<alias name='virtio-disk0'/></disk>"),), (DISK,)),
    ((CDROM.format(""),), (CDROM.format(ISO),)),  # the guest ejected it
    ((DISK.replace("/srv/a", "/srv/a.TRANSIENT"),), (DISK.replace("<target", "<transient/><target"),)),
    (
        (virt.card(MAC, source="network='lan' portid='1' bridge='virbr0'", more="<target dev='vnet3'/>"),),
        (virt.card(MAC.upper(), kind="network", source="network='lan'"),),
    ),
    (
        (virt.card(MAC, kind="hostdev", source="managed='yes'"),),
        (virt.card(MAC, kind="network", source="network='sriov'"),),
    ),
    ((USB.format("<address bus='3' device='8'/>"),), (USB.format(""),)),
    ((PCI.format("0x7"),), (PCI.format("0x07"),)),
    (
        (
            (
                "<disk type='network' device='disk'><source protocol='rbd' name='p/a'><host name='ceph' port='6789'/>"
                "</source><target dev='vda'/></disk>"
            ),
        ),
        (
            (
                "<disk type='network' device='disk'><source protocol='rbd' name='p/a'><host name='ceph'/></source>"
                "<target dev='vda'/></disk>"
            ),
        ),
    ),
    (("<controller type='scsi' index='1'/>", "<graphics type='vnc' port='5901'/>"), ("<graphics type='vnc'/>",)),
    (
        (
            (
                "<serial type='pty'><source path='/dev/pts/3'/><target type='isa-serial' port='0'/></serial>"
                "<console type='pty' tty='/dev/pts/3'/>"
            ),
        ),
        ("<serial type='pty'><target type='isa-serial' port='0'/></serial>",),
    ),
]


@pytest.mark.parametrize(("live", "inactive"), SAME)
def test_what_only_a_running_guest_says_is_no_hardware(live: tuple[str, ...], inactive: tuple[str, ...]) -> None:
    assert live_only(xml(*live), xml(*inactive)) == []


def test_disks_and_their_block_jobs() -> None:
    mirrored = DISK.replace("</disk>", "<mirror type='file' job='copy'/></disk>")
    assert disk_targets(xml(DISK, CDROM.format(""))) == ["vda", "sda"]
    assert block_jobs(xml(DISK)) == []
    (named,) = block_jobs(xml(mirrored))
    assert "vda" in named
