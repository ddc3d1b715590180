# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""From a root file system to a disk that boots by itself."""

from __future__ import annotations

from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.machine.accel import Accel, machine_args
from tests.lab.machine.boot import boot_to_end, end_of
from tests.lab.shell import run, step

from .files import DISK_LABEL, FIRST_BOOT_MARK, FIRST_BOOT_UNIT
from .rootfs import kernel_of

_START_SECTOR = 2048
#: Bytes from the beginning of the disk to its file system.
OFFSET = _START_SECTOR * 512
_SIZE_MIB = 4096


def make_disk(root: Path, target: Path, scratch: Path, accel: Accel, *, boot_loader: bool) -> None:
    """Write the root as a qcow2 disk, bootable with a boot loader. Raises LabError when that did not install."""
    raw = scratch / "disk.raw"
    with step("writing the disk"):
        _partition(raw)
        _fill(raw, root)
    if boot_loader:
        kernel, initrd = kernel_of(root, scratch)
        with step("first boot: installing the boot loader"):
            _first_boot(raw, kernel, initrd, scratch, accel)
    with step("packing the image"):
        run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(target)])


def _partition(raw: Path) -> None:
    with raw.open("wb") as handle:
        handle.truncate(_SIZE_MIB << 20)
    run(["sfdisk", "--quiet", str(raw)], stdin=f"label: dos\nstart={_START_SECTOR}, type=83, bootable\n")


def _fill(raw: Path, root: Path) -> None:
    """mke2fs -d copies owners, modes and the labels too."""
    blocks = ((_SIZE_MIB << 20) - OFFSET) // 4096
    options = f"offset={OFFSET},lazy_itable_init=1,lazy_journal_init=1"
    run(
        [
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-L",
            DISK_LABEL,
            "-E",
            options,
            "-d",
            str(root),
            str(raw),
            str(blocks),
        ]
    )


def _first_boot(raw: Path, kernel: Path, initrd: Path, scratch: Path, accel: Accel) -> None:
    """Boot once with the kernel from outside, only as far as the unit that installs the boot loader."""
    serial = scratch / "serial.log"
    append = (
        f"root=/dev/vda1 rw console=ttyS0 security=selinux enforcing=0 panic=-1 "
        f"systemd.mask=auditd.service systemd.unit={FIRST_BOOT_UNIT}"
    )
    argv = [
        *machine_args(accel),
        "-no-reboot",
        "-serial",
        f"file:{serial}",
        "-nic",
        "none",
        "-drive",
        f"file={raw},if=virtio,format=raw,cache=unsafe",
        "-kernel",
        str(kernel),
        "-initrd",
        str(initrd),
        "-append",
        append,
    ]
    if FIRST_BOOT_MARK not in boot_to_end(argv, serial).decode(errors="replace"):
        raise LabError(f"the boot loader was not installed; {end_of(serial)}")
