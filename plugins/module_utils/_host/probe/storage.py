# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage under guests' files: what it is, whether its labels are real, and who else may see it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..._core.errors import HostReadError
from ..._core.snapshot.model import Storage
from ..._core.system import mounts as core
from ..base.paths import MountTable
from ..base.root import Root, reason
from .guest_files import device

MOUNTINFO = "/proc/self/mountinfo"
#: What the kernel exports now; /etc/exports says what would be.
_ETAB = "/var/lib/nfs/etab"
_BY_UUID = "/dev/disk/by-uuid"


def mount_table(root: Root) -> tuple[MountTable, str]:
    """Every mount of the host, and why they could not be read."""
    try:
        return MountTable(core.parse_mountinfo(root.read_text(MOUNTINFO))), ""
    except (OSError, HostReadError) as error:
        return MountTable(()), reason(error)


def exports(root: Root) -> tuple[list[core.Export], str]:
    """What the host exports by NFS, and why that could not be read."""
    paths = [_ETAB] if root.exists(_ETAB) else ["/etc/exports"]
    try:
        if paths != [_ETAB]:
            names = [name for name in root.names("/etc/exports.d") if name.endswith(".exports")]
            paths += [f"/etc/exports.d/{name}" for name in names]
        return [item for path in paths for item in core.parse_exports(_text(root, path))], ""
    except (OSError, HostReadError) as error:
        return [], reason(error)


def _text(root: Root, path: str) -> str:
    try:
        return root.read_text(path)
    except FileNotFoundError:
        return ""


def describe(root: Root, table: MountTable, used: t.Iterable[core.Mount], exported: list[core.Export]) -> list[Storage]:
    """What is to be known of each of these mounts."""
    uuids = _uuids(root)
    found = []
    for mount in used:
        under = [item for item in exported if table.of(item.path) is mount]
        found.append(
            Storage(
                mount=mount.mount,
                type=mount.type,
                source=mount.source,
                labelled=mount.labelled,
                context=mount.context,
                identity=_identity(root, mount, uuids),
                remote=mount.may_be_remote,
                exports=sorted({item.path for item in under}),
                labelled_exports=sorted({item.path for item in under if item.labelled}),
            )
        )
    return found


def _uuids(root: Root) -> dict[str, str]:
    """File system UUID by device number."""
    found = {}
    try:
        for name in root.names(_BY_UUID):
            found[device(root.stat(f"{_BY_UUID}/{name}").st_rdev)] = name
    except OSError:
        pass  # no udev, as in a container: the identity stays unknown
    return found


def _identity(root: Root, mount: core.Mount, uuids: dict[str, str]) -> str | None:
    kind = "nfs" if mount.type == "nfs4" else mount.type.rpartition(".")[2]
    source = core.remote_source(mount)
    if source:
        return f"{kind}:{source}"
    if mount.source.startswith("//"):
        return f"{kind}:{mount.source.lower().rstrip('/')}"
    if mount.device in uuids:
        return f"uuid:{uuids[mount.device or '']}"
    if not mount.source.startswith("/dev/"):
        return None
    try:  # btrfs shows a number of its own in the mount table
        uuid = uuids.get(device(root.stat(mount.source).st_rdev))
    except OSError:
        return None
    return f"uuid:{uuid}" if uuid else None


def block_device(root: Root, path: str, rdev: int) -> Storage:
    """A block device that is a guest's disk as it stands: hosts on one SAN share devices, not mounts."""
    number = device(rdev)
    return Storage(
        mount=path,
        type="block",
        source=number,
        labelled=True,
        identity=_block_identity(root, f"/sys/dev/block/{number}"),
    )


def _block_identity(root: Root, folder: str) -> str | None:
    uuid = root.line(f"{folder}/dm/uuid")
    if uuid and uuid.startswith("LVM-"):
        return f"lvm:{uuid[4:36]}/{uuid[36:68]}"
    if uuid and uuid.startswith("mpath-"):
        return f"wwn:{uuid[7:]}" if uuid.startswith("mpath-3") else f"mpath:{uuid[6:]}"
    if uuid:
        return f"dm:{uuid}"
    partition = root.line(f"{folder}/partition")
    disk = f"{folder}/.." if partition else folder
    wwid = root.line(f"{disk}/device/wwid") or root.line(f"{disk}/wwid")
    if not wwid:
        return None
    name = f"wwn:{wwid[4:]}" if wwid.startswith("naa.") else f"wwid:{' '.join(wwid.split())}"
    return f"{name}:{partition}" if partition else name
