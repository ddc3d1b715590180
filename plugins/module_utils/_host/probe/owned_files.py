# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that belong to a guest although its XML does not name them: saves, dumps, snapshots, chains, open files.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import DomainXmlError, HostReadError
from ..._core.libvirt import file_labels, image_header
from ..._core.libvirt.domain_xml import MAX_CHAIN, MAX_XML, Device, Source, sources_of
from ..._core.libvirt.snapshot_xml import snapshot_files
from ..._core.selinux.context import read_context
from ..._core.snapshot.model import FileFacts, Guest, Orphan, Process, Resource
from ..base.root import Root, reason
from .guests import ReadGuest

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


def add_states(root: Root, guests: t.Sequence[Guest]) -> list[str]:
    """Give each guest its saved states and the files of its snapshots. Returns why that could not be read."""
    problems: list[str] = []
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


def _read_snapshots(root: Root, folder: str, left: int, files: dict[str, str], problems: list[str]) -> int:
    """Read the snapshots of a guest into ``files``; returns their number, of which ``left`` are read."""
    names = [name for name in _names(root, folder, problems) if name.endswith(".xml")]
    if len(names) > left:
        problems.append(f"{folder}: only {MAX_SNAPSHOTS} snapshots were read")
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
            problems.append(f"{path}: {reason(error)}")
    return min(len(names), left)


def _names(root: Root, folder: str, problems: list[str]) -> list[str]:
    try:
        return root.names(folder)
    except (OSError, HostReadError) as error:
        problems.append(reason(error))
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


#: Reads headers of images, given as path -> declared format; gives those that could be read, and problems.
ReadHeaders = t.Callable[[t.Mapping[str, str]], "tuple[dict[str, image_header.ImageHeader], list[str]]"]


@dataclass(repr=False, eq=False)
class Chain:
    """A chain of image files whose end the XML leaves to the image headers."""

    guest: ReadGuest
    device: Device
    #: The file whose header is read next.
    last: Source
    seen: set[str] = field(default_factory=set)

    def extend(self, header: image_header.ImageHeader) -> bool:
        """Add the files that the header of the last file names; gives whether there is one whose header is next."""
        path = self.last.path or ""
        self.seen.add(path)
        data_file = image_header.local_path(header.data_file, path) if header.data_file else None
        if data_file and self.last.data_file is None:
            self.last.data_file = Source("file", data_file)
        backing = image_header.local_path(header.backing, path) if header.backing else None
        if backing is None or backing in self.seen or len(self.device.backing) >= MAX_CHAIN:
            return False
        self.last = Source("file", backing, header.backing_format)
        self.device.backing.append(self.last)
        return self.last.format in image_header.FORMATS


def open_chains(guests: t.Iterable[ReadGuest]) -> list[Chain]:
    """Chains of these guests that go on, or may go on, in the header of a local file of a declared format."""
    chains = []
    for guest in guests:
        for device in guest.domain.devices if guest.domain is not None else ():
            last = device.backing[-1] if device.backing else device.source
            local = last.type in ("file", "block", "volume") and last.path is not None
            if device.open_chain and local and last.format in image_header.FORMATS:
                seen = {source.path or "" for source in sources_of(device)}
                chains.append(Chain(guest, device, last, seen))
    return chains


def give_to_openers(
    root: Root, guests: t.Iterable[Guest], processes: t.Iterable[Process], orphans: list[Orphan]
) -> list[str]:
    """Take from the list each file that a running QEMU has open; one of a guest becomes that guest's file.

    Returns why that could not be read.
    """
    problems: list[str] = []
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
            backing = image_header.local_path(header.backing, path) if header.backing else None
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


def _give(guest: Guest | None, kind: str, orphan: Orphan) -> None:
    for item in [] if guest is None else _add(guest, {orphan.path: kind}):
        item.file = FileFacts(True, "", "file", orphan.label, device=orphan.device, inode=orphan.inode)
        item.file.mount = orphan.mount


def _open_files(root: Root, pid: int, problems: list[str]) -> set[str]:
    """Paths of the files that a process has open. The files themselves are not touched: their storage may hang."""
    paths = set()
    for name in _names(root, f"/proc/{pid}/fd", problems)[:MAX_DESCRIPTORS]:
        try:
            paths.add(root.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue  # closed meanwhile
    return paths
