# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Image files: made with the owner, mode and label that a powered-off image has."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .domains import Disk

MIB = 1 << 20
SELINUX = "security.selinux"
AT_REST = "system_u:object_r:virt_image_t:s0"
CONTENT = "system_u:object_r:virt_content_t:s0"
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
    argv = ["qemu-img", "create", "-q", "-f", "qcow2"]
    argv += ["-b", disk.backing, "-F", "qcow2", disk.path] if disk.backing else [disk.path, str(size)]
    Path(disk.path).parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(argv, check=True, capture_output=True)
    os.chmod(disk.path, 0o600)
    set_label(disk.path, AT_REST)
