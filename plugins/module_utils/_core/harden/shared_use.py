# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Use of shared storage by other hosts, so that no repair takes a disk from a guest there.

Computed on the controller from the snapshots of all hosts; each host gets its own part. Files in a shared folder for
which the knowledge is not complete are not changed: a host that could not be read may use any of them.

Unlike the rules across hosts, this counts storage without labels too: owner and mode are shared everywhere.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import asdict, dataclass

from ..errors import LabelError
from ..facts.sharing import Sharing
from ..facts.storage import HostStorage, all_storage, file_path
from ..facts.storage_statements import NOTHING, StorageStatements
from ..selinux.context import Level, parse_context
from ..snapshot.model import UNKNOWN, Guest, Resource, Snapshot, Storage
from ..words import some

_DEVICES = ("block", "char")


@dataclass(frozen=True)
class FileUse:
    """A file that a running guest of another host uses."""

    #: Inode number, the same on every host that sees the file; None when it could not be read.
    inode: int | None
    #: Its path on the receiving host; empty where that is unknown.
    path: str
    #: The guest that uses it.
    by: str


@dataclass(frozen=True)
class FolderUse:
    """Known use of a host's shared folder by other hosts: of a mount point, or of a folder that the host exports."""

    folder: str
    #: Every host that uses the storage was read completely: files not listed here are not in use there.
    complete: bool
    #: Why it is not complete.
    why: str = ""
    in_use: tuple[FileUse, ...] = ()
    #: Levels that guests run with on the other hosts.
    levels: tuple[str, ...] = ()

    def document(self) -> dict[str, t.Any]:
        """As an option of image_label."""
        return {**asdict(self), "in_use": [asdict(item) for item in self.in_use], "levels": list(self.levels)}

    @classmethod
    def of(cls, document: t.Mapping[str, t.Any]) -> FolderUse:
        """From an option of image_label, whose shape Ansible has checked."""
        in_use = tuple(
            FileUse(item.get("inode"), item.get("path") or "", item.get("by") or "a guest of another host")
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
class HostUsage:
    """Use of a host's storage by its guests: small, so that a fleet's snapshots need not be held in memory."""

    host: str
    storage: HostStorage
    #: Folders that other hosts may use too, as (mount point, folder).
    shared: tuple[tuple[str, str], ...]
    #: Files of guests that run here.
    files: tuple[_File, ...]
    levels: frozenset[Level]
    #: Why not all use is known; empty when it is.
    doubt: str = ""


def usage(host: str, snapshot: Snapshot) -> HostUsage:
    """The host's part. ``host`` is its name in the inventory."""
    running = [guest for guest in snapshot.guests if guest.active]
    return HostUsage(
        host,
        all_storage(host, snapshot),
        tuple(sorted({folder for item in snapshot.storage for folder in _shared(item)})),
        tuple(_files(host, running)),
        frozenset(_levels(snapshot, running)),
        _doubt(host, snapshot, running),
    )


def documents(
    usages: t.Sequence[HostUsage], unread: t.Sequence[str] = (), statements: StorageStatements = NOTHING
) -> dict[str, list[dict[str, t.Any]]]:
    """Use by other hosts, for each host. ``unread`` are hosts of the fleet that could not be read.

    A folder is complete where all hosts of the fleet were read, and each of them by its own snapshot and the owner's
    either has its storage or has not; or where the operator states all hosts that use it, and those were read.
    Raises StorageStatementError where a proof contradicts a statement.
    """
    fleet = _Fleet(usages, unread, Sharing([host_usage.storage for host_usage in usages], statements))
    return {
        host_usage.host: [
            _Folder(host_usage, mount, folder, fleet).elsewhere().document() for mount, folder in host_usage.shared
        ]
        for host_usage in usages
    }


class _Fleet:
    """Hosts, and the storage that they share."""

    def __init__(self, usages: t.Sequence[HostUsage], unread: t.Sequence[str], sharing: Sharing) -> None:
        self.sharing = sharing
        self.unread = sorted(unread)
        self.by_host = {host_usage.host: host_usage for host_usage in usages}
        self.sharers = sharing.sharers()

    def open_storage(self, host: str, folder: tuple[str, str]) -> str:
        """Why it is unknown whether another host has a folder's storage; empty when it is known."""
        example = self.sharing.open_pair(host, self.sharing.places_of_files(host, [folder]))
        if example is None:
            return ""
        return (
            f"it is not known whether other hosts have it, such as {example}; name in svirt_storage which mounts are "
            "one storage, and the hosts that use it"
        )


@dataclass(frozen=True)
class _Folder:
    """A shared folder of a host, and files of other hosts' guests in it."""

    owner: HostUsage
    mount: str
    folder: str
    fleet: _Fleet

    def elsewhere(self) -> FolderUse:
        """Use of the folder by other hosts."""
        keys = self._sharing.keys_of_files(self.owner.host, [(self.mount, self.folder)])
        hosts = sorted({host for key in keys for host in self.fleet.sharers[key]} - {self.owner.host})
        others = [self.fleet.by_host[host] for host in hosts]
        used = [(other, file) for other in others for file in other.files if self._holds(other, file, keys)]
        in_use = [FileUse(file.inode, self._path(other, file), file.by) for other, file in used]
        levels = sorted({str(level) for other in others for level in other.levels})
        blind = sorted({file.by for _other, file in used if file.inode is None})
        why = self._why(others, blind)
        return FolderUse(self.folder, not why, why, tuple(in_use), tuple(levels))

    @property
    def _sharing(self) -> Sharing:
        return self.fleet.sharing

    def _holds(self, other: HostUsage, file: _File, keys: set[str]) -> bool:
        return bool(self._sharing.keys_of_files(other.host, [(file.mount, file.path)]) & keys)

    def _path(self, other: HostUsage, file: _File) -> str:
        """The file's path here, where both hosts mount the very same storage."""
        there = _identity(other, file.mount)
        if there is None or there != _identity(self.owner, self.mount) or self.mount != self.folder:
            return ""
        return posixpath.normpath(posixpath.join(self.folder, posixpath.relpath(file.path, file.mount)))

    def _why(self, others: t.Sequence[HostUsage], blind: t.Sequence[str]) -> str:
        """Why the use is not completely known; empty when it is."""
        stated = self._stated()
        unread = [host for host in self.fleet.unread if not stated or host in stated]
        unread += [host for host in stated if host not in self.fleet.by_host and host not in self.fleet.unread]
        if unread:
            return f"{some(sorted(unread))} could not be read, and may use it"
        doubts = [other.doubt for other in others if other.doubt]
        rest = [self.fleet.by_host[host] for host in stated if host != self.owner.host]
        doubts += [other.doubt for other in rest if other.doubt]
        if doubts:
            return some(sorted(set(doubts)))
        if blind:
            return f"files of {some(blind)} could not be looked at"
        unstated = [other.host for other in others if stated and other.host not in stated]
        if unstated:
            return f"{some(unstated)} has it too, though svirt_storage does not list it among the hosts that use it"
        if stated:
            return ""
        return self.fleet.open_storage(self.owner.host, (self.mount, self.folder))

    def _stated(self) -> tuple[str, ...]:
        """All hosts that use the storage, by the operator's statement."""
        statements, host = self._sharing.statements, self.owner.host
        source = next((item.source for item in self.owner.storage.storage if item.mount == self.mount), "")
        folder = statements.name_of(host, self.folder, source if self.folder == self.mount else "")
        return statements.hosts_of(folder) if folder else ()


def _shared(storage: Storage) -> t.Iterator[tuple[str, str]]:
    if storage.type == "block":
        return
    if storage.remote:
        yield storage.mount, storage.mount
    for folder in storage.exports:
        yield storage.mount, folder


def _identity(host_usage: HostUsage, mount: str) -> str | None:
    storage = next((item for item in host_usage.storage.storage if item.mount == mount), None)
    return storage.identity if storage is not None and storage.remote else None


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
