# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which storage hosts share, so that a label written by one is seen by another.

A mount counts only where its files carry labels of their own.

- A remote or clustered mount: by its identity, such as ``nfs:filer:/vol/images``. Identities of local file systems
  are not believed: hosts cloned from one image have equal file system UUIDs.
- A host that exports a folder with labels shares it with each host that mounts ``nfs:SERVER:/PATH`` when SERVER is
  that host by name. Where SERVER is an address or alias that no host here is known by, each host that exports such a
  PATH counts, unless a file seen by both under one inode number proves one of them. A wrong guess here reports a
  group too many, never one too few.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass, field, replace

from ..paths import below
from ..snapshot.model import Resource, Snapshot, Storage


@dataclass(frozen=True)
class HostStorage:
    """A host's labelled storage, and what it takes to know it again from another host."""

    host: str
    #: Names that an NFS client may call the host by, whole and short, in lower case.
    names: frozenset[str]
    storage: tuple[Storage, ...]
    #: Per mount the files seen there, as (base name, inode): both are the same on every host that mounts it.
    inodes: dict[str, frozenset[tuple[str, int]]]


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
    return HostStorage(host, _names(host, snapshot), labelled, _inodes(snapshot))


def _mount_of(path: str, mounts: t.Iterable[str]) -> str:
    """The mount that a folder is on: an export on which another file system is mounted does not show what is below."""
    return max((mount for mount in mounts if below(path, mount)), key=len, default="")


def file_path(item: Resource) -> str:
    """Where a guest's file really is."""
    return item.file.resolved or item.path


def _names(host: str, snapshot: Snapshot) -> frozenset[str]:
    """Names that an NFS client may call the host by, whole and short."""
    whole = {name.lower().rstrip(".") for name in (host, snapshot.host.name) if name}
    short = {name.partition(".")[0] for name in whole if not name.replace(".", "").isdigit()}
    return frozenset(whole | short)


def _inodes(snapshot: Snapshot) -> dict[str, frozenset[tuple[str, int]]]:
    """Per mount the files seen there, as (base name, inode): both are the same on every host that mounts it."""
    seen: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for guest in snapshot.guests:
        for item in guest.resources:
            if item.file.mount is not None and item.file.inode is not None:
                seen[item.file.mount].add((file_path(item).rpartition("/")[2], item.file.inode))
    for orphan in snapshot.orphans:
        if orphan.mount is not None and orphan.inode is not None:
            seen[orphan.mount].add((orphan.path.rpartition("/")[2], orphan.inode))
    return {mount: frozenset(files) for mount, files in seen.items()}


@dataclass(frozen=True)
class _Export:
    host: str
    mount: str
    path: str

    @property
    def key(self) -> str:
        return f"{self.host}:{self.path}"


@dataclass
class _Host:
    """Storage of a host by key: of each mount, and of each exported folder."""

    mounts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    exports: tuple[_Export, ...] = ()
    keys: set[str] = field(default_factory=set)


class Sharing:
    """Which storage each host mounts, under keys that hosts sharing it agree on."""

    def __init__(self, hosts: t.Sequence[HostStorage]) -> None:
        self._hosts: dict[str, _Host] = {entry.host: _Host() for entry in hosts}
        self._proofs: dict[str, str] = {}
        self._given = {entry.host: entry for entry in hosts}
        self._named: dict[str, list[str]] = defaultdict(list)
        for entry in hosts:
            for name in entry.names:
                self._named[name].append(entry.host)
            self._hosts[entry.host].exports = _exports(entry)
        self._by_path: dict[str, list[_Export]] = defaultdict(list)
        for host in self._hosts.values():
            for export in host.exports:
                self._by_path[export.path.rstrip("/")].append(export)
        for entry in hosts:
            self._mounted(entry)

    def keys_of(self, host: str) -> set[str]:
        """All labelled storage that the host can come to and others may share."""
        return self._hosts[host].keys

    def keys_of_files(self, name: str, files: t.Iterable[tuple[str, str]] | None) -> set[str]:
        """Storage that files on a host, given as (mount point, path), lie on; all, when they are not known."""
        host = self._hosts[name]
        if files is None:
            return host.keys
        keys: set[str] = set()
        for mount, path in files:
            keys.update(host.mounts.get(mount, ()))
            keys.update(item.key for item in host.exports if item.mount == mount and below(path, item.path))
        return keys

    def proof(self, key: str) -> str:
        """How it is known that hosts share it."""
        return self._proofs.get(key, "identity")

    def _mounted(self, entry: HostStorage) -> None:
        host = self._hosts[entry.host]
        host.keys.update(export.key for export in host.exports)
        for storage in entry.storage:
            if storage.identity is None or not (storage.remote or storage.identity.startswith("nfs:")):
                continue
            keys = host.mounts[storage.mount]
            keys.add(storage.identity)
            for export, proof in self._exporters(entry, storage):
                keys.add(export.key)
                self._proofs[export.key] = proof
            host.keys.update(keys)

    def _exporters(self, entry: HostStorage, storage: Storage) -> list[tuple[_Export, str]]:
        """Folders of hosts of the fleet that this NFS mount may be."""
        server, path = _nfs(storage.identity or "")
        if not server:
            return []
        named = self._named.get(server, [])
        if named:
            return [
                (export, "server name")
                for host in named
                for export in self._hosts[host].exports
                if below(path, export.path) or _below_root(export.path, path)
            ]
        guessed = [
            export for folder in _folders(path) for export in self._by_path.get(folder, ()) if export.host != entry.host
        ]
        files = entry.inodes.get(storage.mount, frozenset())
        proved = [
            export for export in guessed if files & self._given[export.host].inodes.get(export.mount, frozenset())
        ]
        if proved:
            return [(export, "a file with one inode number") for export in proved]
        return [(export, "path of the export") for export in guessed]


def _exports(entry: HostStorage) -> tuple[_Export, ...]:
    return tuple(
        _Export(entry.host, storage.mount, folder) for storage in entry.storage for folder in storage.labelled_exports
    )


def _nfs(identity: str) -> tuple[str, str]:
    """Server (lower case) and path of ``nfs:SERVER:/PATH``; empty for any other identity."""
    kind, _colon, rest = identity.partition(":")
    server, colon, path = rest.partition(":/")
    return (server.lower().rstrip("."), "/" + path.strip("/")) if kind == "nfs" and colon else ("", "")


def _folders(path: str) -> list[str]:
    """A path and all folders that it is below; the topmost is the empty text."""
    parts = path.rstrip("/").split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _below_root(export: str, path: str) -> bool:
    """NFS 4 clients may see an export below a pseudo-root: /srv/images as /images, or as /."""
    return path == "/" or export.endswith(path)
