# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's labelled storage, with all that is needed to recognise it from another host.

A mount counts only where its files carry labels of their own. sharing.py compares the storage of hosts.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass, replace

from ..paths import below
from ..snapshot.model import Resource, Snapshot, Storage
from .storage_identity import identity_of

#: Base name and inode number: equal on every host that mounts the storage of the file.
FileName = tuple[str, int]


@dataclass(frozen=True)
class HostStorage:
    """Labelled storage of a host."""

    host: str
    #: Names that an NFS client may call the host by, long and short, in lower case.
    names: frozenset[str]
    storage: tuple[Storage, ...]
    #: Files seen on each mount that other hosts may have, and in each exported folder.
    inodes: dict[str, frozenset[FileName]]


def host_storage(host: str, snapshot: Snapshot) -> HostStorage:
    """The host's labelled storage. ``host`` is its name in the inventory."""
    mounts = [entry.mount for entry in snapshot.storage]
    labelled = tuple(
        replace(
            entry, labelled_exports=[path for path in entry.labelled_exports if _mount_of(path, mounts) == entry.mount]
        )
        for entry in snapshot.storage
        if entry.labelled and entry.context is None
    )
    exports = [folder for entry in labelled for folder in entry.labelled_exports]
    names = names_of(host) | names_of(snapshot.host.name)
    shared = frozenset(entry.mount for entry in labelled if identity_of(entry) is not None)
    return HostStorage(host, names, labelled, _inodes(snapshot, shared, exports))


def all_storage(host: str, snapshot: Snapshot) -> HostStorage:
    """All storage of the host as if it were labelled: for questions of who can access it at all."""
    every = [replace(item, labelled=True, context=None, labelled_exports=item.exports) for item in snapshot.storage]
    return host_storage(host, replace(snapshot, storage=every))


def file_path(item: Resource) -> str:
    """Path of a guest's file, links resolved."""
    return item.file.resolved or item.path


def file_name(item: Resource) -> FileName | None:
    """Base name and inode number of a guest's file; None where the inode was not read."""
    return None if item.file.inode is None else (file_path(item).rpartition("/")[2], item.file.inode)


def _mount_of(path: str, mounts: t.Iterable[str]) -> str:
    """The mount that a folder is on: an export covered by another mount does not show the files below."""
    return max((mount for mount in mounts if below(path, mount)), key=len, default="")


def names_of(host: str) -> frozenset[str]:
    """A host's name, long and short, in lower case."""
    whole = host.lower().rstrip(".")
    short = whole if whole.replace(".", "").isdigit() else whole.partition(".")[0]
    return frozenset(filter(None, (whole, short)))


def _inodes(snapshot: Snapshot, shared: frozenset[str], exports: t.Sequence[str]) -> dict[str, frozenset[FileName]]:
    seen: dict[str, set[FileName]] = defaultdict(set)
    files = [
        (item.file.mount, file_path(item), item.file.inode) for guest in snapshot.guests for item in guest.resources
    ]
    files += [(orphan.mount, orphan.path, orphan.inode) for orphan in snapshot.orphans]
    for mount, path, inode in files if shared or exports else ():
        if mount is not None and inode is not None:
            name = (path.rpartition("/")[2], inode)
            places = [folder for folder in exports if below(path, folder)]
            for place in [*places, mount] if mount in shared else places:
                seen[place].add(name)
    return {place: frozenset(names) for place, names in seen.items()}
