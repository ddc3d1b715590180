# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's guests: from libvirt, from its status files, from its persistent XML, whatever of these can be had.

A running guest is described by its status file, which libvirt keeps for its own restart: it has all that live XML
has, and the pid and taints too. Live XML is asked of libvirt only where there is no such file.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass, field
from xml.etree import ElementTree

from ..._core.errors import DomainXmlError, HostReadError
from ..._core.libvirt import file_labels
from ..._core.libvirt.domain_xml import MAX_XML, Domain, GuestStatus, Source, parse_domain, parse_status
from ..._core.snapshot.model import Guest, Interface
from ..base.root import Root, reason
from .libvirt_reader import ListedGuest

RUN = "/run/libvirt/qemu"
ETC = "/etc/libvirt/qemu"
_POOLS = ("/run/libvirt/storage", "/etc/libvirt/storage")
#: Only the pools whose volumes are files below the pool's folder.
_STATES = frozenset(("running", "paused", "shutoff", "crashed", "pmsuspended"))


@dataclass(repr=False, eq=False)
class ReadGuest:
    """A guest, and its description, from which its files follow."""

    guest: Guest
    domain: Domain | None = None


@dataclass(repr=False, eq=False)
class StatusFiles:
    """What /run/libvirt/qemu says of running guests."""

    names: list[str] = field(default_factory=list)
    by_uuid: dict[str, GuestStatus] = field(default_factory=dict)
    #: File that does not parse -> why.
    broken: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def status_names(root: Root) -> StatusFiles:
    """The names of guests that have a status file; their content is read later, while libvirt answers."""
    files = StatusFiles()
    if not root.privileged:
        files.problem = f"only root may read {RUN}"
        return files
    try:
        for name in _xml_names(root, RUN):
            # The folder is the guests' user's: what root did not write there may be a guest's lie.
            if root.lstat(f"{RUN}/{name}.xml").st_uid == 0:
                files.names.append(name)
            else:
                files.broken[name] = "the file is not root's"
    except OSError as error:
        files.problem = reason(error)
    return files


def read_status(root: Root, files: StatusFiles) -> None:
    """Read the status files. Those of guests that ended meanwhile are left out."""
    for name in files.names:
        try:
            status = parse_status(root.read_text(f"{RUN}/{name}.xml", MAX_XML))
            if status.pid is None:
                status.pid = _pid_file(root, name)
            files.by_uuid[status.domain.uuid] = status
        except FileNotFoundError:
            continue
        except (OSError, HostReadError, DomainXmlError) as error:
            files.broken[name] = reason(error)


def from_libvirt(root: Root, listed: ListedGuest, files: StatusFiles) -> ReadGuest:
    """A guest that libvirt lists."""
    guest = Guest(
        uuid=listed.uuid,
        name=listed.name,
        state=listed.state,
        active=listed.active,
        persistent=listed.persistent,
        error=listed.error,
    )
    read = ReadGuest(guest)
    status = files.by_uuid.get(listed.uuid) if listed.active else None
    inactive = _parse(guest, listed.inactive)
    if status is not None:
        _live(read, status.domain, status.pid)
    elif listed.active:
        domain = _parse(guest, listed.live)
        if domain is not None:
            _live(read, domain, _pid_file(root, listed.name))
        elif not guest.error:
            guest.error = files.broken.get(listed.name, "its live XML could not be read")
    _persistent(read, inactive)
    return read


def without_libvirt(root: Root, files: StatusFiles, alive: t.Container[int]) -> tuple[list[ReadGuest], list[str]]:
    """Guests by libvirt's files alone. A status file whose process is gone is left over from a crash."""
    problems = [f"{RUN}/{name}.xml: {why}" for name, why in files.broken.items()]
    problems += [files.problem] if files.problem else []
    by_uuid: dict[str, ReadGuest] = {}
    for uuid, status in files.by_uuid.items():
        if status.pid is None or status.pid not in alive:
            continue
        state = status.state if status.state in _STATES else "unknown"
        guest = Guest(uuid, status.domain.name, state, active=True, persistent=False, source="status_xml")
        by_uuid[uuid] = ReadGuest(guest)
        _live(by_uuid[uuid], status.domain, status.pid)
    for uuid, domain in _definitions(root, problems):
        if uuid not in by_uuid:
            guest = Guest(uuid, domain.name, "shutoff", active=False, source="persistent_xml")
            by_uuid[uuid] = ReadGuest(guest)
        by_uuid[uuid].guest.persistent = True
        _persistent(by_uuid[uuid], domain)
    return list(by_uuid.values()), problems


def _definitions(root: Root, problems: list[str]) -> t.Iterator[tuple[str, Domain]]:
    """The persistent definitions under /etc/libvirt/qemu."""
    try:
        names = _xml_names(root, ETC)
    except OSError as error:
        problems.append(reason(error))
        return
    for name in names:
        path = f"{ETC}/{name}.xml"
        try:
            domain = parse_domain(root.read_text(path, MAX_XML))
        except (OSError, HostReadError, DomainXmlError) as error:
            problems.append(f"{path}: {reason(error)}")
            continue
        yield domain.uuid, domain


def _xml_names(root: Root, folder: str) -> list[str]:
    return [name[:-4] for name in root.names(folder) if name.endswith(".xml")]


def _parse(guest: Guest, xml: str | None) -> Domain | None:
    if xml is None:
        return None
    try:
        return parse_domain(xml)
    except DomainXmlError as error:
        guest.error = reason(error)
        return None


def _live(read: ReadGuest, domain: Domain, pid: int | None) -> None:
    read.domain = domain
    read.guest.live = domain.seclabels
    read.guest.pid = pid
    _describe(read.guest, domain)


def _persistent(read: ReadGuest, domain: Domain | None) -> None:
    if domain is None:
        return
    read.guest.persistent_labels = domain.seclabels
    if read.guest.active:
        read.guest.persistent_interfaces = _sorted(domain.interfaces)
    else:
        read.domain = domain
        _describe(read.guest, domain)


def _describe(guest: Guest, domain: Domain) -> None:
    guest.kind = domain.kind
    guest.interfaces = _sorted(domain.interfaces)
    guest.risks = domain.risks


def _sorted(interfaces: t.Iterable[Interface]) -> list[Interface]:
    return sorted(interfaces, key=lambda item: (item.mac or "", item.target or ""))


def _pid_file(root: Root, name: str) -> int | None:
    """The pid that libvirt wrote down, which users other than root may read too."""
    path = f"{RUN}/{name}.pid"
    try:
        if "/" in name or root.lstat(path).st_uid != 0:
            return None
    except OSError:
        return None
    text = root.line(path)
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else None


def fill_resources(root: Root, read: ReadGuest, types: file_labels.ImageTypes) -> None:
    """The guest's files, with their paths; what they look like comes later."""
    if read.domain is None:
        return
    for device in read.domain.devices:
        for source in (device.source, *device.backing):
            if source.path is None:
                source.path = _path_of(root, source)
    read.guest.resources = file_labels.resources(read.domain, read.guest.active, types)


def _path_of(root: Root, source: Source) -> str | None:
    """The path of a source that the XML names by address or by pool and volume."""
    try:
        if source.pool and source.volume:
            return _volume(root, source.pool, source.volume)
        if source.address is None or "/" in source.address:
            return None
        if source.type in ("pci", "nvme"):
            return _vfio(root, f"/sys/bus/pci/devices/{source.address}")
        if source.type == "mdev":
            return _vfio(root, f"/sys/bus/mdev/devices/{source.address}")
        if source.type == "scsi":
            names = root.names(f"/sys/bus/scsi/devices/{source.address}/scsi_generic")
            return f"/dev/{names[0]}" if names else None
    except OSError:
        pass  # a device that is not plugged in, or no sysfs: the guest has no file here
    return None


def _vfio(root: Root, folder: str) -> str:
    return f"/dev/vfio/{posixpath.basename(root.readlink(f'{folder}/iommu_group'))}"


def _volume(root: Root, pool: str, volume: str) -> str | None:
    """Where a pool of files has a volume; None for pools of another kind."""
    if "/" in pool or volume.startswith("/"):
        return None
    target = pool_folder(root, pool)
    return posixpath.join(target, volume) if target else None


def pools(root: Root) -> list[str]:
    """The names of the storage pools that libvirt has files of."""
    names: set[str] = set()
    for folder in _POOLS:
        try:
            names |= set(_xml_names(root, folder))
        except OSError:
            continue
    return sorted(names)


def pool_folder(root: Root, pool: str) -> str | None:
    """The folder of a storage pool, when it has one."""
    for folder in _POOLS:
        try:
            text = root.read_text(f"{folder}/{pool}.xml", 1024 * 1024)
            if "<!DOCTYPE" in text:
                return None
            tree = ElementTree.fromstring(text)  # noqa: S314 - bounded, no DTD
        except (OSError, HostReadError, ElementTree.ParseError):
            continue
        target = tree.find(".//target/path")
        if target is not None and target.text and target.text.startswith("/"):
            return target.text
    return None
