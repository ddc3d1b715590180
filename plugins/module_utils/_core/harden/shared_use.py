# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What other hosts use of the storage that a host shares with them, so that no repair takes a disk from a guest there.

Made on the controller from the snapshots of all hosts; each host is handed its own part. A shared folder that the
knowledge is not complete for stays as it is: a host that could not be read may use any of it.

Unlike the rules across hosts, this counts storage without labels too: owner and mode are shared everywhere.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t
from collections import defaultdict
from dataclasses import asdict, dataclass, replace

from ..errors import LabelError
from ..facts.storage import HostStorage, Sharing, file_path, host_storage
from ..selinux.context import Level, parse_context
from ..snapshot.model import UNKNOWN, Guest, Resource, Snapshot, Storage
from ..words import some

#: So many names are told in a reason.
_DEVICES = ("block", "char")


@dataclass(frozen=True)
class InUse:
    """A file that a running guest of another host uses."""

    #: Inode number, the same on every host that sees the file; None when it could not be read.
    inode: int | None
    #: Its path as the host that is told would see it; empty where that cannot be said.
    path: str
    #: Who uses it.
    by: str


@dataclass(frozen=True)
class Elsewhere:
    """What is known of one shared folder of a host: a mount point, or a folder that the host exports."""

    folder: str
    #: Every host that uses the storage was read wholly: what is not told here is not in use there.
    complete: bool
    #: Why it is not complete.
    why: str = ""
    in_use: tuple[InUse, ...] = ()
    #: Levels that guests run with on the other hosts.
    levels: tuple[str, ...] = ()

    def document(self) -> dict[str, t.Any]:
        """As an option of image_label."""
        return {**asdict(self), "in_use": [asdict(item) for item in self.in_use], "levels": list(self.levels)}

    @classmethod
    def of(cls, document: t.Mapping[str, t.Any]) -> Elsewhere:
        """From an option of image_label, whose shape Ansible has checked."""
        in_use = tuple(
            InUse(item.get("inode"), item.get("path") or "", item.get("by") or "a guest of another host")
            for item in document.get("in_use") or ()
        )
        levels = tuple(document.get("levels") or ())
        folder = posixpath.normpath(document["folder"])
        return cls(folder, bool(document["complete"]), document.get("why") or "", in_use, levels)


@dataclass(frozen=True)
class _File:
    mount: str
    path: str
    inode: int | None
    by: str


@dataclass(frozen=True)
class Usage:
    """What of one host bears on the others: small, so that a fleet's snapshots need not be held."""

    host: str
    storage: HostStorage
    #: Folders that other hosts may use too, as (mount point, folder).
    shared: tuple[tuple[str, str], ...]
    #: Files of guests that run here.
    files: tuple[_File, ...]
    levels: frozenset[Level]
    #: Why not all use is known; empty when it is.
    doubt: str = ""


def usage(host: str, snapshot: Snapshot) -> Usage:
    """The host's part. ``host`` is its name in the inventory."""
    every = [replace(item, labelled=True, context=None, labelled_exports=item.exports) for item in snapshot.storage]
    running = [guest for guest in snapshot.guests if guest.active]
    files = tuple(_files(host, running))
    return Usage(
        host,
        host_storage(host, replace(snapshot, storage=every)),
        tuple(sorted({folder for item in snapshot.storage for folder in _shared(item)})),
        files,
        frozenset(_levels(snapshot, running)),
        _doubt(host, snapshot, running),
    )


def documents(usages: t.Sequence[Usage], unread: t.Sequence[str] = ()) -> dict[str, list[dict[str, t.Any]]]:
    """For each host what to tell it. ``unread`` are hosts of the fleet that could not be read."""
    sharing = Sharing([one.storage for one in usages])
    by_key: dict[str, set[int]] = defaultdict(set)
    for index, one in enumerate(usages):
        for key in sharing.keys_of(one.host):
            by_key[key].add(index)
    told = {}
    for index, one in enumerate(usages):
        found = []
        for mount, folder in one.shared:
            keys = sharing.keys_of_files(one.host, [(mount, folder)])
            others = sorted({other for key in keys for other in by_key[key]} - {index})
            known = _Folder(one, mount, folder, keys, sharing)
            found.append(known.told([usages[other] for other in others], unread).document())
        told[one.host] = found
    return told


@dataclass(frozen=True)
class _Folder:
    """One shared folder of a host, and how other hosts' files come to lie in it."""

    owner: Usage
    mount: str
    folder: str
    keys: set[str]
    sharing: Sharing

    def told(self, others: t.Sequence[Usage], unread: t.Sequence[str]) -> Elsewhere:
        used = [(other, file) for other in others for file in other.files if self._holds(other, file)]
        in_use = [InUse(file.inode, self._path(other, file), file.by) for other, file in used]
        levels = sorted({str(level) for other in others for level in other.levels})
        blind = sorted({file.by for _other, file in used if file.inode is None})
        why = self._why(others, unread, blind)
        return Elsewhere(self.folder, not why, why, tuple(in_use), tuple(levels))

    def _holds(self, other: Usage, file: _File) -> bool:
        return bool(self.sharing.keys_of_files(other.host, [(file.mount, file.path)]) & self.keys)

    def _path(self, other: Usage, file: _File) -> str:
        """The file's path here, where both hosts mount the very same storage."""
        there = _identity(other, file.mount)
        if there is None or there != _identity(self.owner, self.mount) or self.mount != self.folder:
            return ""
        return posixpath.normpath(posixpath.join(self.folder, posixpath.relpath(file.path, file.mount)))

    @staticmethod
    def _why(others: t.Sequence[Usage], unread: t.Sequence[str], blind: t.Sequence[str]) -> str:
        if unread:
            return f"{some(sorted(unread))} could not be read, and may use it"
        doubts = [other.doubt for other in others if other.doubt]
        if doubts:
            return some(doubts)
        if blind:
            return f"files of {some(blind)} could not be looked at"
        if not others:
            return "no other host that uses the storage was audited"
        return ""


def _shared(storage: Storage) -> t.Iterator[tuple[str, str]]:
    if storage.type == "block":
        return
    if storage.remote:
        yield storage.mount, storage.mount
    for folder in storage.exports:
        yield storage.mount, folder


def _identity(one: Usage, mount: str) -> str | None:
    found = next((item for item in one.storage.storage if item.mount == mount), None)
    return found.identity if found is not None and found.remote else None


def _files(host: str, guests: t.Iterable[Guest]) -> t.Iterator[_File]:
    for guest in guests:
        for item in guest.resources:
            if _on_storage(item):
                yield _File(item.file.mount or "", file_path(item), item.file.inode, f"guest {guest.name} on {host}")


def _on_storage(item: Resource) -> bool:
    return not (item.in_namespace or item.file.kind in _DEVICES or item.file.exists is False)


def _levels(snapshot: Snapshot, running: t.Iterable[Guest]) -> t.Iterator[Level]:
    labels = [guest.context for guest in running]
    labels += [process.context for process in snapshot.processes if process.role == "qemu"]
    for label in labels:
        try:
            if label:
                yield parse_context(label).high
        except LabelError:
            continue


def _doubt(host: str, snapshot: Snapshot, running: t.Iterable[Guest]) -> str:
    for area in ("guests", "storage"):
        covered = snapshot.coverage.get(area)
        if covered is None or covered.status == UNKNOWN:
            return f"not all {area} of {host} could be read"
    for guest in running:
        if guest.error:
            return f"guest {guest.name} on {host} could not be read wholly"
        if any(_on_storage(item) and item.file.mount is None for item in guest.resources):
            return f"files of guest {guest.name} on {host} could not be looked at"
    return ""
