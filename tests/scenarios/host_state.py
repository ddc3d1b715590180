# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a host: prints as JSON all that an audit must leave alone.

ctime catches every change of content, owner, mode, label or xattr of a file, also a change that was restored.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

FOLDERS = ("/etc", "/boot", "/var/lib/libvirt", "/var/lib/selinux", "/srv/vms", "/usr/local", "/usr/sbin")
HASHED_BYTES = 1 << 20
DAEMONS = ("libvirtd", "virtqemud", "virtlogd", "virtlockd")


def xattrs(path: str) -> dict[str, str]:
    """Every extended attribute, in hexadecimal."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in names}
    except OSError:
        return {}


def file_state(path: str) -> dict[str, object]:
    """What identifies a file's state; the content only of small regular files."""
    status = os.lstat(path)
    small = os.path.isfile(path) and not os.path.islink(path) and status.st_size <= HASHED_BYTES
    return {
        "owner": [status.st_uid, status.st_gid, status.st_mode],
        "ctime": status.st_ctime_ns,
        "xattrs": xattrs(path),
        "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest() if small else None,
    }


def files() -> dict[str, dict[str, object]]:
    """The state of everything in the folders that matter."""
    states = {}
    for top in FOLDERS:
        for folder, _names, names in os.walk(top):
            for path in [folder, *(os.path.join(folder, name) for name in names)]:
                states[path] = file_state(path)
    return states


def processes() -> dict[str, list[str]]:
    """Label and start time of libvirt's daemons and of every QEMU."""
    labels = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if name in DAEMONS or name.startswith("qemu-"):
                started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
                labels[pid] = [name, started, Path(f"/proc/{pid}/attr/current").read_text().strip("\0\n")]
        except OSError:
            continue
    return labels


def selinux() -> dict[str, str]:
    """The mode and every boolean; nothing where SELinux is off."""
    if not os.path.exists("/sys/fs/selinux/class"):
        return {}
    values = {"enforce": Path("/sys/fs/selinux/enforce").read_text()}
    for name in os.listdir("/sys/fs/selinux/booleans"):
        values[name] = Path("/sys/fs/selinux/booleans", name).read_text()
    return values


if __name__ == "__main__":
    json.dump({"files": files(), "processes": processes(), "selinux": selinux()}, sys.stdout, sort_keys=True)
