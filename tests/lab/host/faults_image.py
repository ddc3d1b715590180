# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of image files and the storage below them. N in a path is the host's number: images of the seeded guests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from . import images, virt
from .domains import LOCAL, SHARE, Disk, Guest
from .faults_guest import add_guest
from .journal import Journal
from .registry import fault

ORPHAN = f"{LOCAL}/orphan.raw"
_OTHERS = f"{images.RUNNING_TYPE}:s0:c101,c202"
_FLAT, _VFAT = "/srv/flat", "/srv/vfat"
_LOOP_FILE, _LOOP_DEVICE = "/var/lib/svirt-lab/loop.raw", "/dev/loop5"


@fault(
    "image-orphan",
    "an image with the categories of a guest that is gone",
    ORPHAN,
    default_on=("kvm2",),
    expects=(("IMG-005", f"image {ORPHAN}"),),
)
def _orphan(journal: Journal, host: str) -> None:
    journal.file(ORPHAN)
    images.make_raw(ORPHAN, label=_OTHERS)


def _expected(rule: str, path: str) -> tuple[tuple[str, str], ...]:
    return ((rule, f"image {path.replace('N', '{host[3]}')}"),)


def _relabel(name: str, about: str, path: str, label: str, rule: str = "") -> None:
    """A fault that is one image with another label. Without ``rule`` no rule reports it."""

    @fault(name, about, path, expects=_expected(rule, path) if rule else ())
    def inject(journal: Journal, host: str) -> None:
        real = path.replace("N", host[-1])
        journal.attributes(real)
        images.set_label(real, label)


_relabel(
    "image-wrong-categories",
    "a running guest's image has the categories of no guest: the guest has lost its disk",
    f"{LOCAL}/webN.raw",
    _OTHERS,
    "IMG-002",
)
_relabel(
    "image-lost-label",
    "a running guest's image has the label of a powered-off one: the guest has lost its disk",
    f"{SHARE}/appN.raw",
    images.AT_REST,
    "IMG-002",
)
_relabel(
    "image-backing-wrong",
    "the backing file of a running guest has the categories of no guest",
    f"{LOCAL}/baseN.qcow2",
    _OTHERS,
    "IMG-001",
)
_relabel(
    "image-wrong-type",
    "a powered-off guest's image has a type that is none of libvirt's",
    f"{LOCAL}/spareN.raw",
    "system_u:object_r:var_t:s0",
)
_relabel(
    "image-world-writable",
    "a powered-off image, not shareable, that every guest may write",
    f"{LOCAL}/spareN.raw",
    f"{images.RUNNING_TYPE}:s0",
    "IMG-006",
)


@fault(
    "image-readable",
    "a powered-off image that every guest may read, by its type and by its mode",
    f"{LOCAL}/spareN.raw",
    expects=_expected("IMG-007", f"{LOCAL}/spareN.raw"),
)
def _readable(journal: Journal, host: str) -> None:
    path = f"{LOCAL}/spare{host[-1]}.raw"
    journal.attributes(path)
    images.set_label(path, images.CONTENT)  # Debian's policy keeps guests off virt_image_t
    os.chmod(path, 0o644)


@fault(
    "image-stale-owner",
    "a powered-off image with libvirt's note of a former owner, from before the last boot",
    f"{LOCAL}/spareN.raw",
    expects=_expected("IMG-009", f"{LOCAL}/spareN.raw"),
)
def _stale_owner(journal: Journal, host: str) -> None:
    path = f"{LOCAL}/spare{host[-1]}.raw"
    journal.attributes(path)
    notes = {
        "selinux": images.AT_REST,
        "ref_selinux": "1",
        "timestamp_selinux": "1500000000",
        "dac": "+0:+0",
        "ref_dac": "1",
        "timestamp_dac": "1500000000",
    }
    for key, value in notes.items():
        os.setxattr(path, f"trusted.libvirt.security.{key}", value.encode() + b"\0")


@fault(
    "storage-context",
    "a running guest on storage mounted with context=: one label for all files",
    "guest flat",
    expects=(("IMG-008", f"storage {_FLAT}"),),
)
def _context(journal: Journal, host: str) -> None:
    _mounted(journal, _FLAT, "-t", "tmpfs", "-o", f"size=16m,mode=0711,context={images.RUNNING_TYPE}:s0", "tmpfs")
    disk = f"{_FLAT}/flat.raw"
    Path(disk).write_bytes(bytes(images.MIB))
    add_guest(journal, Guest("flat", (Disk(disk),)))


@fault(
    "storage-vfat",
    "a powered-off guest on a file system that has no labels",
    "guest vfat",
    expects=(("IMG-008", f"storage {_VFAT}"),),
)
def _vfat(journal: Journal, host: str) -> None:
    image = "/var/lib/svirt-lab/vfat.img"
    journal.add("unlink", path=image)
    Path(image).write_bytes(bytes(8 * images.MIB))
    subprocess.run(["mkfs.vfat", image], check=True, capture_output=True)
    _mounted(journal, _VFAT, "-o", "loop", image)
    disk = f"{_VFAT}/vfat.raw"
    Path(disk).write_bytes(bytes(images.MIB))
    add_guest(journal, Guest("vfat", (Disk(disk),), running=False))


def _mounted(journal: Journal, target: str, *words: str) -> None:
    journal.add("run", argv=["rmdir", target], check=False)
    Path(target).mkdir(exist_ok=True)
    journal.add("run", argv=["umount", target], check=False)
    subprocess.run(["mount", *words, target], check=True, capture_output=True)


@fault(
    "device-namespace-label",
    "a running guest's block device has a wrong label in the guest's own /dev, where the host does not see it",
    "guest blockdev",
    expects=(("IMG-010", f"image {_LOOP_DEVICE}"),),
)
def _namespace(journal: Journal, host: str) -> None:
    journal.add("unlink", path=_LOOP_FILE)
    images.make_raw(_LOOP_FILE)
    subprocess.run(["losetup", _LOOP_DEVICE, _LOOP_FILE], check=True, capture_output=True)
    journal.add("run", argv=["losetup", "--detach", _LOOP_DEVICE], check=False)
    journal.attributes(_LOOP_DEVICE)
    add_guest(journal, Guest("blockdev", (Disk(_LOOP_DEVICE, block=True),)))
    pid = Path("/run/libvirt/qemu/blockdev.pid").read_text()
    images.set_label(f"/proc/{pid}/root{_LOOP_DEVICE}", "system_u:object_r:fixed_disk_device_t:s0")


@fault(
    "image-crashed-guest",
    "the image of a guest whose QEMU died with the daemon away: label and owner stay behind",
    f"{LOCAL}/crashed.raw",
    expects=(("IMG-001", f"image {LOCAL}/crashed.raw"),),
)
def _crashed(journal: Journal, host: str) -> None:
    disk = Disk(f"{LOCAL}/crashed.raw")
    add_guest(journal, Guest("crashed", (disk,)))
    label = images.get_label(disk.path)
    virt.destroy("crashed")
    images.set_label(disk.path, label)
