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
from dataclasses import dataclass, field, replace

from ..._core.errors import DomainXmlError, HostReadError
from ..._core.libvirt import file_labels
from ..._core.libvirt.domain_xml import (
    MAX_XML,
    Device,
    Domain,
    GuestStatus,
    Source,
    parse_domain,
    parse_status,
    sources_of,
)
from ..._core.libvirt.saved_states import MAX_START, saved_xml
from ..._core.result import Reason
from ..._core.snapshot.model import Guest, Interface, Libvirt, Resource
from ..base.deadline import Job
from ..base.root import Root, reason, trouble
from . import libvirt_reader, storage
from .coverage import CoverageLog
from .libvirt_reader import ListedGuest

RUN = "/run/libvirt/qemu"
ETC = "/etc/libvirt/qemu"
_SAVE = "/var/lib/libvirt/qemu/save"
#: Types of devices that a running guest has a node of, by their address in the XML.
_NODES = frozenset(("pci", "nvme", "mdev", "scsi"))
_STATES = frozenset(("running", "paused", "shutoff", "crashed", "pmsuspended"))


@dataclass(repr=False, eq=False)
class ReadGuest:
    """A guest, and its description, from which its files follow."""

    guest: Guest
    domain: Domain | None = None
    #: Definition for the next start, of a guest that runs.
    defined: Domain | None = None


@dataclass(repr=False, eq=False)
class StatusFiles:
    """What /run/libvirt/qemu says of running guests."""

    names: list[str] = field(default_factory=list)
    by_uuid: dict[str, GuestStatus] = field(default_factory=dict)
    #: File that does not parse -> why.
    broken: dict[str, str] = field(default_factory=dict)
    problem: Reason | None = None


def status_names(root: Root) -> StatusFiles:
    """The names of guests that have a status file; their content is read later, while libvirt answers."""
    files = StatusFiles()
    if not root.privileged:
        files.problem = Reason("not_root", f"only root may read {RUN}")
        return files
    try:
        for name in _xml_names(root, RUN):
            # The folder is the guests' user's: what root did not write there may be a guest's lie.
            if root.lstat(f"{RUN}/{name}.xml").st_uid == 0:
                files.names.append(name)
            else:
                files.broken[name] = "the file is not root's"
    except OSError as error:
        files.problem = trouble(error)
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
        if domain is None:
            guest.pid = _pid_file(root, listed.name)  # its process is judged all the same
    _persistent(read, inactive)
    return read


def without_libvirt(root: Root, files: StatusFiles, alive: t.Container[int]) -> tuple[list[ReadGuest], list[Reason]]:
    """Guests by libvirt's files alone. A status file whose process is gone is left over from a crash."""
    problems = [Reason("status_unread", f"{RUN}/{name}.xml: {why}") for name, why in files.broken.items()]
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


def _definitions(root: Root, problems: list[Reason]) -> t.Iterator[tuple[str, Domain]]:
    """The persistent definitions under /etc/libvirt/qemu."""
    try:
        names = _xml_names(root, ETC)
    except OSError as error:
        problems.append(trouble(error))
        return
    for name in names:
        path = f"{ETC}/{name}.xml"
        try:
            domain = parse_domain(root.read_text(path, MAX_XML))
        except (OSError, HostReadError, DomainXmlError) as error:
            problems.append(trouble(error).about(path))
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
        read.defined = domain
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


def read_saves(root: Root, guests: t.Iterable[Guest]) -> list[Reason]:
    """Read the labels in the managed saves of guests that are off; gives why some could not be read."""
    if not root.privileged:
        return []  # nor is anything else of libvirt's folders
    problems: list[Reason] = []
    try:
        names = set(root.names(_SAVE))
    except (OSError, HostReadError) as error:
        return [trouble(error)]
    for guest in guests:
        if guest.active or not guest.persistent or f"{guest.name}.save" not in names:
            continue
        path = f"{_SAVE}/{guest.name}.save"
        try:
            xml = saved_xml(root.peek(path, MAX_START))
            guest.saved_labels = None if xml is None else parse_domain(xml).seclabels
        except FileNotFoundError:
            continue
        except (OSError, HostReadError, DomainXmlError) as error:
            problems.append(trouble(error, "save_unread").about(path))
    return problems


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


def fill_resources(root: Root, read: ReadGuest, types: file_labels.ImageTypes) -> list[Reason]:
    """List the guest's files with their paths; facts about them come later. Returns what of them is not known."""
    if read.domain is None:
        return []
    problems: list[Reason] = []
    for device in read.domain.devices:
        for source in sources_of(device):
            if source.path is None:
                source.path = _path_of(root, source)
            problem = _unresolved(root, device, source) if read.guest.active else None
            problems += [problem] if problem else []
    hugetlbfs: list[str] = []
    if read.domain.hugepages and read.guest.active:
        table, unread = storage.mount_table(root)
        hugetlbfs = [mount.mount for mount in table.of_type("hugetlbfs")]
        problems += [unread] if unread else []
    live = file_labels.resources(read.domain, read.guest.active, types, hugetlbfs)
    read.guest.resources = sorted([*live, *_only_defined(live, read.defined, types)], key=file_labels.order)
    return problems


def _unresolved(root: Root, device: Device, source: Source) -> Reason | None:
    """Why the file or node of a running guest is not known, which libvirt labels; None where there is none."""
    if source.path is not None:
        return None
    if source.volume and storage.is_local_pool(root, source.pool or ""):
        why = f"volume {source.volume!r} of pool {source.pool!r} leads to no file or device"
        return Reason("volume_unresolved", why)
    if source.address is not None and source.type in _NODES and device.mode != "iommufd":
        return Reason("device_unresolved", f"the {source.type} device {source.address[:80]!r} leads to no node in /dev")
    return None


def _only_defined(
    live: t.Iterable[Resource], defined: Domain | None, types: file_labels.ImageTypes
) -> t.Iterator[Resource]:
    """Files that only the definition of a running guest names: they are the guest's, and libvirt labels them later."""
    known = {item.path for item in live}
    for item in [] if defined is None else file_labels.resources(defined, False, types):
        if item.kind in file_labels.DEFINED and item.path not in known:
            known.add(item.path)
            yield replace(item, kind="defined", role=file_labels.UNTOUCHED)


def add_resources(read: ReadGuest, types: file_labels.ImageTypes) -> list[Resource]:
    """Add the files of the guest's chains that were read from image headers; returns those that are new."""
    if read.domain is None:
        return []
    known = {(item.kind, item.target, item.path) for item in read.guest.resources}
    paths = {item.path for item in read.guest.resources if item.kind == "snapshot"}
    listed = file_labels.resources(read.domain, read.guest.active, types)
    fresh = [item for item in listed if (item.kind, item.target, item.path) not in known]
    named = {item.path for item in fresh} & paths
    kept = [item for item in read.guest.resources if item.kind != "snapshot" or item.path not in named]
    read.guest.resources = sorted([*kept, *fresh], key=file_labels.order)
    return fresh


def _path_of(root: Root, source: Source) -> str | None:
    """The path of a source that the XML names by address or by pool and volume."""
    try:
        if source.pool and source.volume:
            return storage.volume_path(root, source.pool, source.volume)
        if source.address is None or "/" in source.address:
            return None
        if source.type in ("pci", "nvme"):
            return _vfio(root, f"/sys/bus/pci/devices/{source.address}")
        if source.type == "mdev":
            return _vfio(root, f"/sys/bus/mdev/devices/{source.address}")
        if source.type in ("direct", "ethernet"):
            number = root.line(f"/sys/class/net/{source.address}/ifindex")
            path = f"/dev/tap{number}" if number and number.isdigit() else None
            # libvirt, too, knows by the node whether an interface of this type is a macvtap.
            return path if path and (source.type == "direct" or root.exists(path)) else None
        if source.type == "scsi":
            names = root.names(f"/sys/bus/scsi/devices/{source.address}/scsi_generic")
            return f"/dev/{names[0]}" if names else None
    except OSError:
        pass  # a device that is not plugged in, or no sysfs: the guest has no file here
    return None


def _vfio(root: Root, folder: str) -> str:
    return f"/dev/vfio/{posixpath.basename(root.readlink(f'{folder}/iommu_group'))}"


# -- list of all guests ------------------------------------------------------------------------------------------------


@dataclass(repr=False, eq=False)
class GuestList:
    """The guests, by uuid, and whether any of them or of their files may be missing."""

    guests: list[Guest] = field(default_factory=list)
    #: The same guests with their definitions.
    read: list[ReadGuest] = field(default_factory=list)
    #: Nothing is missing: only then is a file without an owner an orphan.
    complete: bool = True


@dataclass(repr=False, eq=False)
class GuestLister:
    """Lists the guests of a host."""

    root: Root
    ledger: CoverageLog
    libvirt: Libvirt
    status: StatusFiles
    #: libvirt has listed all its guests, whatever else it did not answer.
    listed: bool = False

    def take(self, job: Job | None, alive: t.Container[int], types: file_labels.ImageTypes) -> GuestList:
        """Find every guest and name its files. ``alive`` are the pids of QEMU processes."""
        read_status(self.root, self.status)
        self.ledger.unknown("guests", self.status.problem)
        listing = GuestList()
        by_uuid = self._answered(job) if job is not None else {}
        if job is None or (job.problem and not self.listed):  # libvirt's files stand in for its answer
            others, problems = without_libvirt(self.root, self.status, alive)
            self.ledger.unknown("guests", *problems)
            listing.complete = not problems
            by_uuid = {**{item.guest.uuid: item for item in others}, **by_uuid}
        for _uuid, item in sorted(by_uuid.items()):
            self.ledger.unknown("images", *fill_resources(self.root, item, types))
            listing.guests.append(item.guest)
            listing.read.append(item)
            if item.guest.error or item.domain is None:
                listing.complete = False
                why = f"a guest could not be read wholly: {item.guest.error}"
                self.ledger.unknown("guests", Reason("guest_unread", why))
        self.ledger.unknown("guests", *read_saves(self.root, listing.guests))
        return listing

    def _answered(self, job: Job) -> dict[str, ReadGuest]:
        """Guests as libvirt lists them; what came before it hung is kept."""
        by_uuid: dict[str, ReadGuest] = {}
        for item in libvirt_reader.gather(job.items()):
            if isinstance(item, libvirt_reader.ListedGuest):
                by_uuid[item.uuid] = from_libvirt(self.root, item, self.status)
                continue
            self.libvirt.connected, self.libvirt.driver = item.connected, item.driver
            self.libvirt.version, self.libvirt.models = item.version, item.models
            self.libvirt.filters, self.libvirt.networks = item.filters, item.networks
            self.listed = item.listed
            self.ledger.unknown("libvirt", item.unread)
        if job.problem:
            for area in ("libvirt",) if self.listed else ("libvirt", "guests"):
                (self.ledger.bug if job.bug else self.ledger.unknown)(area, job.problem.about("libvirt"))
        return by_uuid
