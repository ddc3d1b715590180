# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage below guests' files, and libvirt's pools: what it is, whether its labels are real, and who else may see it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import re
import typing as t
from xml.etree import ElementTree

from ..._core.errors import HostReadError
from ..._core.result import Reason
from ..._core.snapshot.model import Storage
from ..._core.system import mounts as core
from ..base.paths import MountTable
from ..base.root import Root, trouble
from .guest_files import device

_POOLS = ("/run/libvirt/storage", "/etc/libvirt/storage")
#: Types of pools whose volumes QEMU reaches by network.
_NETWORK_POOLS = frozenset(("rbd", "sheepdog", "gluster", "iscsi-direct"))
_BY_PATH = "/dev/disk/by-path"
_SESSIONS = "/sys/class/iscsi_session"
_FC_HOSTS = "/sys/class/fc_host"
_UNIT = re.compile(r"unit:(\d{1,9}):(\d{1,9}):(\d{1,9})\Z")
_DM = re.compile(r"dm-\d{1,9}\Z")
_HOST = re.compile(r"host(\d{1,9})")
MOUNTINFO = "/proc/self/mountinfo"
#: What the kernel exports now; /etc/exports says what would be.
_ETAB = "/var/lib/nfs/etab"
_BY_UUID = "/dev/disk/by-uuid"


def mount_table(root: Root) -> tuple[MountTable, Reason | None]:
    """Every mount of the host, and why they could not be read."""
    try:
        return MountTable(core.parse_mountinfo(root.read_text(MOUNTINFO))), None
    except (OSError, HostReadError) as error:
        return MountTable(()), trouble(error)


def exports(root: Root) -> tuple[list[core.Export], Reason | None]:
    """What the host exports by NFS, and why that could not be read."""
    paths = [_ETAB] if root.exists(_ETAB) else ["/etc/exports"]
    try:
        if paths != [_ETAB]:
            names = [name for name in root.names("/etc/exports.d") if name.endswith(".exports")]
            paths += [f"/etc/exports.d/{name}" for name in names]
        return [item for path in paths for item in core.parse_exports(_text(root, path))], None
    except (OSError, HostReadError) as error:
        return [], trouble(error)


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
        return f"{kind}:{core.share_source(mount)}"
    # Other hosts may have another folder of a cluster's file system.
    folder = f":{mount.root}" if mount.may_be_remote and mount.is_bound else ""
    if mount.device in uuids:
        return f"uuid:{uuids[mount.device or '']}{folder}"
    if not mount.source.startswith("/dev/"):
        return None
    try:  # btrfs shows a number of its own in the mount table
        uuid = uuids.get(device(root.stat(mount.source).st_rdev))
    except OSError:
        return None
    return f"uuid:{uuid}{folder}" if uuid else None


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


# -- pools -------------------------------------------------------------------------------------------------------------


def volume_path(root: Root, pool: str, volume: str) -> str | None:
    """Path of a volume; None where its pool has no local files, or the volume is not there."""
    element = None if "/" in pool else _pool(root, pool)
    if element is None:
        return None
    type_ = element.get("type", "")
    if type_ in _NETWORK_POOLS:
        return None
    if type_ == "mpath":
        return f"/dev/{volume}" if _DM.match(volume) else None
    if type_ in ("iscsi", "scsi"):
        return _lun(root, element, volume)
    folder = _target(element)
    return None if folder is None or volume.startswith("/") else posixpath.join(folder, volume)


def _lun(root: Root, pool: ElementTree.Element, volume: str) -> str | None:
    """Device of a volume of a pool of LUNs, which libvirt names unit:BUS:TARGET:LUN."""
    match = _UNIT.match(volume)
    if match is None:
        return None
    source = pool.find("source/device")
    target = source.get("path", "") if source is not None else ""
    if pool.get("type") == "iscsi":
        ending = f"-iscsi-{target}-lun-{match.group(3)}"
        for name in root.names(_BY_PATH) if target else ():
            if name.endswith(ending):
                return f"{_BY_PATH}/{name}"
    hosts = (
        _iscsi_hosts(root, target) if pool.get("type") == "iscsi" else _scsi_hosts(root, pool.find("source/adapter"))
    )
    for host in hosts:
        names = root.names(f"/sys/bus/scsi/devices/{host}:{':'.join(match.groups())}/block")
        if names:
            return f"/dev/{names[0]}"
    return None


def _iscsi_hosts(root: Root, target: str) -> t.Iterator[str]:
    """Numbers of the SCSI hosts with a session to the target."""
    for session in root.names(_SESSIONS) if target else ():
        if root.line(f"{_SESSIONS}/{session}/targetname") == target:
            match = _HOST.search(root.readlink(f"{_SESSIONS}/{session}/device"))
            if match is not None:
                yield match.group(1)


def _scsi_hosts(root: Root, adapter: ElementTree.Element | None) -> t.Iterator[str]:
    """Number of the SCSI host that an adapter names, by its name or by its world wide names."""
    if adapter is None:
        return
    match = _HOST.search(adapter.get("name", ""))
    if match is not None:
        yield match.group(1)
    wanted = [(name, adapter.get(key, "").lower()) for name, key in (("node_name", "wwnn"), ("port_name", "wwpn"))]
    for host in root.names(_FC_HOSTS) if wanted[1][1] else ():
        if all((root.line(f"{_FC_HOSTS}/{host}/{name}") or "").lower() == f"0x{value}" for name, value in wanted):
            yield host.removeprefix("host")


def is_local_pool(root: Root, pool: str) -> bool:
    """Whether a volume of the pool is a file or device of this host; a pool that cannot be read may be one."""
    element = None if "/" in pool else _pool(root, pool)
    return element is None or element.get("type", "") not in _NETWORK_POOLS


def pools(root: Root) -> list[str]:
    """The names of the storage pools that libvirt has files of."""
    names: set[str] = set()
    for folder in _POOLS:
        try:
            names |= {name[:-4] for name in root.names(folder) if name.endswith(".xml")}
        except OSError:
            continue
    return sorted(names)


def pool_folder(root: Root, pool: str) -> str | None:
    """The folder of a storage pool, when it has one."""
    element = _pool(root, pool)
    return None if element is None else _target(element)


def _target(pool: ElementTree.Element) -> str | None:
    text = pool.findtext("target/path")
    return text if text and text.startswith("/") else None


def _pool(root: Root, pool: str) -> ElementTree.Element | None:
    """The <pool> of libvirt's files, of the running pool first."""
    for folder in _POOLS:
        try:
            text = root.read_text(f"{folder}/{pool}.xml", 1024 * 1024)
            if "<!DOCTYPE" in text:
                return None
            tree = ElementTree.fromstring(text)  # noqa: S314 - bounded, no DTD
        except (OSError, HostReadError, ElementTree.ParseError, ValueError):  # ValueError: bytes that are no UTF-8
            continue
        element = tree if tree.tag == "pool" else tree.find("pool")
        if element is not None:
            return element
    return None
