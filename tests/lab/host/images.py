# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Image files, with the owner, mode and label that a powered-off image has."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .domains import Disk

MIB = 1 << 20
SELINUX = "security.selinux"
AT_REST = "system_u:object_r:virt_image_t:s0"
CONTENT = "system_u:object_r:virt_content_t:s0"
#: Stops the timer and the processor for good (cli; mov al, 0x30; out 0x43, al; hlt; jmp): firmware that finds nothing
#: to boot keeps its processor busy, and a dozen of them an emulated host.
_BOOT_SECTOR = b"\xfa\xb0\x30\xe6\x43\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa"
RUNNING_TYPE = "system_u:object_r:svirt_image_t"


def get_label(path: str) -> str:
    """The raw label of a file, symbolic links followed."""
    return os.getxattr(path, SELINUX).decode().rstrip("\0")


def set_label(path: str, label: str) -> None:
    """Write a raw label."""
    os.setxattr(path, SELINUX, label.encode() + b"\0")


def make_raw(path: str, size: int = MIB, label: str = AT_REST, mode: int = 0o600) -> None:
    """A sparse raw image, readable by root only."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.write(handle, _BOOT_SECTOR)
    os.truncate(handle, size)
    os.close(handle)
    os.chmod(path, mode)
    set_label(path, label)


def make_disk(disk: Disk, size: int = MIB) -> None:
    """The file of a disk that is not there yet, with its backing file."""
    if disk.block or os.path.exists(disk.path):
        return
    if disk.backing:
        make_disk(Disk(disk.backing, "qcow2"), size)
    if disk.format != "qcow2":
        make_raw(disk.path, size, CONTENT if disk.device == "cdrom" else AT_REST)
        return
    Path(disk.path).parent.mkdir(parents=True, exist_ok=True)
    if disk.backing:
        _qemu_img("create", "-q", "-f", "qcow2", "-b", disk.backing, "-F", "qcow2", disk.path)
    else:
        raw = f"{disk.path}.raw"
        make_raw(raw, size)
        _qemu_img("convert", "-q", "-f", "raw", "-O", "qcow2", raw, disk.path)
        os.unlink(raw)
    os.chmod(disk.path, 0o600)
    set_label(disk.path, AT_REST)


def _qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True)
