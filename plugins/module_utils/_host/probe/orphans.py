# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Search for files that carry a guest's categories although no guest of this host owns them.

A file belongs to a guest also where only a save, a dump, a snapshot, an image header or an open descriptor names it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import re
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import DomainXmlError, HostReadError
from ..._core.libvirt import file_labels, image_header
from ..._core.libvirt.domain_xml import MAX_CHAIN, MAX_XML, Device, Source, sources_of
from ..._core.libvirt.saved_states import snapshot_files
from ..._core.paths import below_any
from ..._core.result import Reason
from ..._core.selinux.context import read_context
from ..._core.snapshot.model import FileFacts, Guest, Orphan, Process, Resource
from ..base.deadline import Job
from ..base.paths import MountTable, Paths, may_hang
from ..base.root import Root, label_of, trouble
from .guest_files import LABEL, device
from .guests import ReadGuest

#: libvirt's own folders for files of guests.
FOLDERS = (
    *("/var/lib/libvirt/images", "/var/lib/libvirt/boot", "/var/lib/libvirt/swtpm", "/var/lib/libvirt/qemu/nvram"),
    *("/var/lib/libvirt/qemu/save", "/var/lib/libvirt/qemu/snapshot", "/var/lib/libvirt/qemu/dump"),
)
#: Folders too general to be searched because an image lies in them.
_TOO_WIDE = frozenset(
    ("/", "/dev", "/etc", "/home", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/usr", "/var")  # noqa: S108
)
_NOT_FILES = ("/proc", "/sys", "/dev", "/run/user")

MAX_ENTRIES = 50_000
_TOO_MANY = Reason("too_many_files", f"only {MAX_ENTRIES} files were looked at")
MAX_DEPTH = 8

LIB = "/var/lib/libvirt/qemu"
_SAVE = f"{LIB}/save"
_DUMP = f"{LIB}/dump"
_SNAPSHOT = f"{LIB}/snapshot"
#: ID-NAME-TIME, as libvirt names the dump of a guest that crashed; the name has at most twenty characters.
_DUMP_NAME = re.compile(r"\d+-(.{1,20})-\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\Z", re.DOTALL)
#: Most snapshots that are read of one host.
MAX_SNAPSHOTS = 2000
#: Most images that are looked at for whether a commit merged them.
MAX_MERGED = 500
#: Most descriptors that are read of one process.
MAX_DESCRIPTORS = 10_000
#: Reads headers of images, given as path -> declared format; gives those that could be read, and problems.
ReadHeaders = t.Callable[[t.Mapping[str, str]], "tuple[dict[str, image_header.ImageHeader], list[Reason]]"]


@dataclass(repr=False, eq=False)
class OwnedFiles:
    """Files that guests own: none of them is an orphan."""

    paths: set[str] = field(default_factory=set)
    inodes: set[tuple[str | None, int | None]] = field(default_factory=set)

    def add(self, path: str, facts: FileFacts) -> None:
        """A file of a guest, under each of its names."""
        self.paths.add(path)
        if facts.resolved:
            self.paths.add(facts.resolved)
        if facts.inode is not None:
            self.inodes.add((facts.device, facts.inode))


@dataclass(repr=False, eq=False)
class OrphanSearch:
    """A bounded walk through folders."""

    root: Root
    mounts: MountTable
    owned: OwnedFiles
    types: frozenset[str]
    timeout: float
    #: Mount points of storage that did not answer already: once is enough to wait.
    stuck: frozenset[str] = frozenset()
    found: dict[str, Orphan] = field(default_factory=dict)
    problems: list[Reason] = field(default_factory=list)
    bugs: list[Reason] = field(default_factory=list)
    left: int = MAX_ENTRIES

    def run(self, folders: t.Iterable[str]) -> None:
        """Search these folders, those on storage that may hang in a child for each storage."""
        remote: dict[str, list[str]] = {}
        local: list[str] = []
        paths = Paths(self.root, self.mounts)
        for folder in sorted({paths.resolve(folder) for folder in folders}):
            mount = self.mounts.of(folder)
            if mount is None or not may_hang(mount):
                local.append(folder)
            elif mount.mount in self.stuck:
                self.problems.append(Reason("timed_out", f"{mount.mount} did not answer"))
            else:
                remote.setdefault(mount.mount, []).append(folder)
        jobs = [(point, Job(self._far(outermost(wanted)), self.timeout)) for point, wanted in sorted(remote.items())]
        for folder in outermost(local):
            self._keep(self._walk(folder))
        for point, job in jobs:
            for kind, *values in job.items():
                if kind == "problem":
                    self.problems.append(Reason(*values))
                else:
                    self._keep([Orphan(*values)])
            if job.problem:
                self.problems.append(job.problem.about(point))
                self.bugs += [job.problem] if job.bug else []
        if self.left < 0:
            self.problems.append(_TOO_MANY)

    def _keep(self, orphans: t.Iterable[Orphan]) -> None:
        for orphan in orphans:
            mount = self.mounts.of(orphan.path)
            orphan.mount = mount.mount if mount else None
            self.found[orphan.path] = orphan

    def _far(self, folders: list[str]) -> t.Callable[[], t.Iterator[t.Any]]:
        def work() -> t.Iterator[t.Any]:
            for folder in folders:
                for orphan in self._walk(folder):
                    yield "orphan", orphan.path, orphan.label, None, orphan.device, orphan.inode
            for problem in self.problems:
                yield "problem", problem.code, problem.text
            if self.left < 0:
                yield "problem", _TOO_MANY.code, _TOO_MANY.text

        return work

    def _walk(self, start: str) -> t.Iterator[Orphan]:
        own = self.mounts.of(start)
        folders = [(start, 0)]
        while folders and self.left >= 0:
            folder, depth = folders.pop()
            try:
                for name, is_folder in self.root.scan(folder, self.mounts.hanging_in(folder)):
                    self.left -= 1
                    if self.left < 0:
                        return
                    path = posixpath.join(folder, name)
                    orphan = self._orphan(path)
                    if orphan is not None:
                        yield orphan
                    if is_folder and self._enters(path, depth, own):
                        folders.append((path, depth + 1))
            except FileNotFoundError:
                continue
            except OSError as error:
                self.problems.append(trouble(error))

    def _enters(self, path: str, depth: int, own: t.Any) -> bool:
        mount = self.mounts.of(path)
        other = mount is not own and may_hang(mount)
        return depth < MAX_DEPTH and not other and path not in self.owned.paths and not path.startswith(_NOT_FILES)

    def _orphan(self, path: str) -> Orphan | None:
        try:
            label = label_of(self.root.getxattr(path, LABEL, follow=False))
            if label is None or not is_guest_label(label, self.types) or path in self.owned.paths:
                return None
            seen = self.root.lstat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.problems.append(trouble(error))
            return None
        if (device(seen.st_dev), seen.st_ino) in self.owned.inodes:
            return None
        return Orphan(path, label, None, device(seen.st_dev), seen.st_ino)


def is_guest_label(label: str, types: t.Collection[str]) -> bool:
    """A file type of guests, with categories."""
    parts = label.split(":", 4)
    return len(parts) == 5 and parts[2] in types and bool(parts[4])


def folders_of(images: t.Iterable[str]) -> list[str]:
    """The folders of these files that are narrow enough to be searched."""
    return sorted(filter(is_narrow, {posixpath.dirname(path) for path in images}))


def is_narrow(folder: str) -> bool:
    """Whether a folder is one to search because images lie in it."""
    return folder.startswith("/") and folder not in _TOO_WIDE and not folder.startswith(_NOT_FILES)


def outermost(folders: t.Iterable[str]) -> list[str]:
    """Without folders inside others of the list."""
    kept: list[str] = []
    for folder in sorted(folders):
        if not below_any(folder, kept):
            kept.append(folder)
    return kept


# -- owners that no XML names ------------------------------------------------------------------------------------------


def add_states(root: Root, guests: t.Sequence[Guest]) -> list[Reason]:
    """Give each guest its saved states and the files of its snapshots. Returns why that could not be read."""
    problems: list[Reason] = []
    by_name = {guest.name: guest for guest in guests}
    files: dict[str, dict[str, str]] = {guest.uuid: {} for guest in guests}
    for name in _names(root, _SAVE, problems):
        if name.endswith(".save") and name[:-5] in by_name:
            files[by_name[name[:-5]].uuid][f"{_SAVE}/{name}"] = "save"
    for name in _names(root, _DUMP, problems):
        owner = _dumped(name, guests)
        if owner is not None:
            files[owner.uuid][f"{_DUMP}/{name}"] = "save"
    left = MAX_SNAPSHOTS
    for name in _names(root, _SNAPSHOT, problems):
        if name in by_name:
            left -= _read_snapshots(root, f"{_SNAPSHOT}/{name}", left, files[by_name[name].uuid], problems)
    for guest in guests:
        _add(guest, files[guest.uuid])
    return problems


def _dumped(name: str, guests: t.Iterable[Guest]) -> Guest | None:
    """The only guest that a dump can be of."""
    match = _DUMP_NAME.match(name)
    owners = [guest for guest in guests if match and guest.name[:20] == match.group(1)]
    return owners[0] if len(owners) == 1 else None


def _read_snapshots(root: Root, folder: str, left: int, files: dict[str, str], problems: list[Reason]) -> int:
    """Read the snapshots of a guest into ``files``; returns their number, of which ``left`` are read."""
    names = [name for name in _names(root, folder, problems) if name.endswith(".xml")]
    if len(names) > left:
        problems.append(Reason("too_many_snapshots", f"{folder}: only {MAX_SNAPSHOTS} snapshots were read"))
    for name in names[:left]:
        path = f"{folder}/{name}"
        try:
            if root.lstat(path).st_uid != 0:
                continue  # libvirt writes as root: a guest may have put it there
            for kind, file in snapshot_files(root.read_text(path, MAX_XML)):
                files.setdefault(file, kind)
        except FileNotFoundError:
            continue
        except (OSError, HostReadError, DomainXmlError) as error:
            problems.append(trouble(error).about(path))
    return min(len(names), left)


def _names(root: Root, folder: str, problems: list[Reason]) -> list[str]:
    try:
        return root.names(folder)
    except (OSError, HostReadError) as error:
        problems.append(trouble(error))
        return []


def _add(guest: Guest, files: t.Mapping[str, str]) -> list[Resource]:
    """Add files to a guest, given as path -> kind, which libvirt does not label again; those that it has are left."""
    known = {item.path for item in guest.resources}
    added = [
        Resource(kind, "", path, file_labels.UNTOUCHED, restored=False)
        for path, kind in files.items()
        if path not in known
    ]
    if added:
        guest.resources = sorted([*guest.resources, *added], key=file_labels.order)
    return added


@dataclass(repr=False, eq=False)
class Chain:
    """A chain of image files whose end the XML leaves to the image headers."""

    guest: ReadGuest
    device: Device
    #: The file whose header is read next.
    last: Source
    seen: set[str] = field(default_factory=set)
    #: Why the rest of the chain is not known.
    problems: list[Reason] = field(default_factory=list)

    def extend(self, header: image_header.ImageHeader) -> bool:
        """Add the files that the header of the last file names; gives whether there is one whose header is next."""
        path = self.last.path or ""
        self.seen.add(path)
        data_file = self._below(header.data_file, path)
        if data_file and self.last.data_file is None:
            self.last.data_file = Source("file", data_file)
        backing = self._below(header.backing, path)
        if backing is None or backing in self.seen or len(self.device.backing) >= MAX_CHAIN:
            return False
        self.last = Source("file", backing, header.backing_format)
        self.device.backing.append(self.last)
        return self.goes_on()

    def goes_on(self) -> bool:
        """Whether the header of the last file is to be read."""
        if image_header.may_name_others(self.last.format):
            why = f"backing chain of {self.last.path}: format {self.last.format!r} is not followed"
            self.problems.append(Reason("format_not_followed", why))
        return self.last.format in image_header.FORMATS

    def _below(self, name: str | None, path: str) -> str | None:
        try:
            return image_header.local_path(name, path) if name else None
        except HostReadError as error:
            self.problems.append(trouble(error, "chain_unread").about(f"backing chain of {path}"))
            return None


def open_chains(guests: t.Iterable[ReadGuest]) -> list[Chain]:
    """Chains of these guests whose end the XML leaves to the headers of local files."""
    chains = []
    for guest in guests:
        for disk in guest.domain.devices if guest.domain is not None else ():
            last = disk.backing[-1] if disk.backing else disk.source
            local = last.type in ("file", "block", "volume") and last.path is not None
            if disk.open_chain and local:
                seen = {source.path or "" for source in sources_of(disk)}
                chains.append(Chain(guest, disk, last, seen))
    return chains


def give_to_openers(
    root: Root, guests: t.Iterable[Guest], processes: t.Iterable[Process], orphans: list[Orphan]
) -> list[Reason]:
    """Take from the list each file that a running QEMU has open; one of a guest becomes that guest's file.

    Returns why that could not be read.
    """
    problems: list[Reason] = []
    by_path = {orphan.path: orphan for orphan in orphans}
    owners: dict[int, Guest | None] = {item.pid: None for item in processes if item.role == "qemu"}
    owners.update({guest.pid: guest for guest in guests if guest.pid is not None})
    for pid, guest in sorted(owners.items()) if by_path else ():
        opened = [by_path.pop(path) for path in _open_files(root, pid, problems) if path in by_path]
        for orphan in opened if guest is not None else ():
            _give(guest, "open", orphan)
    orphans[:] = [orphan for orphan in orphans if orphan.path in by_path]
    return problems


def give_to_chains(read_headers: ReadHeaders, guests: t.Iterable[Guest], orphans: list[Orphan]) -> None:
    """Take from the list each image that a block commit merged into its base, and give it to its guest.

    libvirt takes such an image out of the chain and leaves its label: that of the running guest, whose files it is
    built on. Both must be so. Another guest's image may be built on the same file, and have its pair by chance.
    """
    levels = {context.high: guest for guest in guests if (context := read_context(guest.context)) is not None}
    owners: dict[str, tuple[Guest, set[str]]] = {}
    for orphan in orphans:
        context = read_context(orphan.label)
        owner = None if context is None else levels.get(context.high)
        if owner is not None and len(owners) < MAX_MERGED:
            owners[orphan.path] = (owner, {item.path for item in owner.resources})
    #: By the path of the orphan, the file whose header is next, and its format.
    walks = {path: (path, "qcow2") for path in owners}
    merged: set[str] = set()
    for _depth in range(MAX_CHAIN):
        if not walks:
            break
        headers = read_headers(dict(walks.values()))[0]
        for start, (path, _format) in list(walks.items()):
            header = headers.get(path, image_header.ImageHeader())
            backing = _local_path(header.backing, path)
            if backing in owners[start][1]:
                merged.add(start)
            if backing is None or start in merged or header.backing_format not in image_header.FORMATS:
                del walks[start]
            else:
                walks[start] = (backing, header.backing_format)
    for orphan in orphans:
        if orphan.path in merged:
            _give(owners[orphan.path][0], "merged", orphan)
    orphans[:] = [orphan for orphan in orphans if orphan.path not in merged]


def _local_path(name: str | None, path: str) -> str | None:
    try:
        return image_header.local_path(name, path) if name else None
    except HostReadError:
        return None  # the file stays without an owner


def _give(guest: Guest | None, kind: str, orphan: Orphan) -> None:
    for item in [] if guest is None else _add(guest, {orphan.path: kind}):
        item.file = FileFacts(True, "", "file", orphan.label, device=orphan.device, inode=orphan.inode)
        item.file.mount = orphan.mount


def _open_files(root: Root, pid: int, problems: list[Reason]) -> set[str]:
    """Paths of the files that a process has open. The files themselves are not touched: their storage may hang."""
    paths: set[str] = set()
    if not root.exists(f"/proc/{pid}"):
        return paths  # the process ended, and has nothing open
    for name in _names(root, f"/proc/{pid}/fd", problems)[:MAX_DESCRIPTORS]:
        try:
            paths.add(root.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue  # closed meanwhile
    return paths
