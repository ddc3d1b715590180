# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which storage hosts share, and where that is open.

For storages of two hosts (mounts, exports) ``relation`` has three answers, by proof on these two hosts:

- *shared*: one identity (storage_identity.py), the operator's statement, the inventory's name of the exporter, or,
  where identities leave it open, a file that both see under one inode number.
- *different*: proofs of one kind that differ, the operator's statement, or separate folders of one server.
- *open*: all else. Then a verdict is unknown, labels are kept apart as if it were shared, and files are left alone.

A third host can only add to what is shared and to what is open. Hosts that are merely taken for sharing storage, by
the path of an export or by files that third hosts see, have keys in common too: rules report on keys, since a wrong
guess reports a group too many. Repairs and migrations rely on ``relation`` alone.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t
from collections import defaultdict
from dataclasses import dataclass, field

from ..paths import below
from . import storage_identity as ids
from .connected import DisjointSets
from .storage import FileName, HostStorage, names_of
from .storage_identity import DIFFERENT, OPEN, SHARED, StorageIdentity
from .storage_proofs import check_statements
from .storage_statements import NOTHING, StorageStatements

#: How it is known that hosts share storage.
STATED = "the operator's statement"
INODE = "a file with one inode number"
IDENTITY = "identity"
SERVER = "server name"
NODE = "node name of the exporter"
EXPORT = "path of the export"
#: Strongest first. Of the last two, hosts are no reliable witnesses.
_STRENGTH = (STATED, INODE, IDENTITY, SERVER, NODE, EXPORT)
#: What proves without a look at the two hosts' files that a mount is an export.
_PROOFS = (STATED, SERVER)


@dataclass(frozen=True)
class SharedExport:
    """A folder that a host exports by NFS, with labels."""

    #: Below 0: identities of mounts have the other numbers.
    number: int
    host: str
    mount: str
    path: str
    #: Name by the operator, if any.
    declared: str

    @property
    def key(self) -> str:
        """Its key."""
        return f"{self.host}:{self.path}"


@dataclass
class SharedMount:
    """A mount of a host that other hosts may have too."""

    point: str
    #: Number of its identity.
    number: int
    #: Keys under which the host can access the storage.
    keys: set[str] = field(default_factory=set)
    #: Keys under which files there are reached: the same, and those of mounts of a folder above.
    reached: set[str] = field(default_factory=set)


@dataclass
class _Host:
    mounts: dict[str, SharedMount] = field(default_factory=dict)
    exports: list[SharedExport] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)


class Place(t.NamedTuple):
    """Storage of a host: the number of an identity with a mount point, or of an export with its folder."""

    number: int
    folder: str


@dataclass(frozen=True)
class OpenPair:
    """Two storages of two hosts of which it is open whether they are one."""

    host: str
    storage: str
    other_host: str
    other_storage: str

    def __str__(self) -> str:
        return f"{self.storage} on {self.host} and {self.other_storage} on {self.other_host}"


class Sharing:
    """Storage of hosts, under keys that hosts sharing it agree on. Numbers stand for identities and exports."""

    def __init__(self, hosts: t.Sequence[HostStorage], statements: StorageStatements = NOTHING) -> None:
        self.statements = statements
        self._given = {entry.host: entry for entry in hosts}
        self._hosts: dict[str, _Host] = {entry.host: _Host() for entry in hosts}
        self._identities: list[StorageIdentity] = []
        self._users: dict[int, list[str]] = defaultdict(list)
        self._exports: dict[int, SharedExport] = {}
        self._proofs: dict[str, str] = {}
        #: Identities with a file in common.
        self._proved: DisjointSets[int] = DisjointSets()
        #: Exports that an identity is shared with, and how that is known.
        self._linked: dict[int, dict[int, str]] = defaultdict(dict)
        #: Exports of which that is open, by identity.
        self._unlinked: dict[int, dict[int, SharedExport]] = defaultdict(dict)
        #: By protocol and server, folders that are mounted, each with the keys of its identities.
        self._folders: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        check_statements(hosts, statements)
        self._add(hosts)
        #: Keys of each identity beside its own.
        self._more_keys: list[set[str]] = [set() for _identity in self._identities]
        self._join(hosts)
        self._link(hosts)
        inside = [self._keys_inside(identity) for identity in self._identities]
        for host in self._hosts.values():
            self._collect(host, inside)

    # -- what is shared ------------------------------------------------------------------------------------------------

    def knows(self, host: str) -> bool:
        """Whether the host's storage is known."""
        return host in self._hosts

    def exports_any(self, host: str) -> bool:
        """Whether the host exports labelled folders."""
        return bool(self._hosts[host].exports)

    def keys_of(self, host: str) -> set[str]:
        """All labelled storage that the host can access and others may share."""
        return self._hosts[host].keys

    def keys_of_files(self, name: str, files: t.Iterable[tuple[str, str]] | None) -> set[str]:
        """Keys under which files of a host, given as (mount point, path), are reached; None: any file of the host."""
        host = self._hosts[name]
        if files is None:
            return host.reached
        keys: set[str] = set()
        for point, path in files:
            mount = host.mounts.get(point)
            if mount is not None:
                keys |= mount.reached
                keys.update(self._keys_below(mount, path))
            keys.update(item.key for item in host.exports if item.mount == point and below(path, item.path))
        return keys

    def proof(self, key: str) -> str:
        """How it is known that hosts share it."""
        return self._proofs.get(key, IDENTITY)

    def shared_groups(self) -> list[list[str]]:
        """Hosts that share storage, in groups."""
        return [names for names in self.sharers().values() if len(names) > 1]

    def sharers(self) -> dict[str, list[str]]:
        """Hosts that have a storage, or a folder of it, by key."""
        users: dict[str, list[str]] = defaultdict(list)
        for name, host in self._hosts.items():
            for key in host.keys | host.reached:
                users[key].append(name)
        return users

    # -- what is proved ------------------------------------------------------------------------------------------------

    def relation(self, host: str, here: Place, other: str, there: Place) -> str:
        """Whether storages of two hosts are one, by proof on these two hosts: SHARED, DIFFERENT, or OPEN."""
        relation = self._relation(here.number, there.number)
        if relation == OPEN and self._files(host, here) & self._files(other, there):
            return SHARED
        return relation

    def has_file(self, source: str, file: tuple[str, str], target: str, point: str) -> bool | None:
        """Whether a file of the source is also the target's file of the same path, on the mount there; None: open."""
        path = file[1]
        pairs = [
            (here, there)
            for here in self.places_of_files(source, [file])
            for there in self.places_of_files(target, [(point, path)])
        ]
        relations = {
            self.relation(source, here, target, there)
            for here, there in pairs
            if self._relation(here.number, there.number) != SHARED or self._is_same_path(here, there, path)
        }
        return True if SHARED in relations else None if OPEN in relations else False

    def open_pair(self, host: str, places: t.Iterable[Place], besides: t.Container[str] = ()) -> OpenPair | None:
        """The first of a host's storages of which it is open whether a host, none of ``besides``, has it."""
        for here in sorted(set(places)):
            for number in (*range(len(self._identities)), *self._exports):
                if self._relation(here.number, number) != OPEN:
                    continue
                for user in self._users_of(number):
                    if user != host and user not in besides and self._is_open_at(host, here, user, number):
                        return self.pair(host, here.number, user, number)
        return None

    def pair(self, host: str, number: int, other: str, other_number: int) -> OpenPair:
        """Two storages as text."""
        return OpenPair(host, self._text(number), other, self._text(other_number))

    def places_of(self, host: str) -> list[Place]:
        """A host's mounts and exports."""
        entry = self._hosts[host]
        mounts = [Place(mount.number, mount.point) for mount in entry.mounts.values()]
        return [*mounts, *(Place(export.number, export.path) for export in entry.exports)]

    def places_of_files(self, name: str, files: t.Iterable[tuple[str, str]] | None) -> list[Place]:
        """The storage of files, given as (mount point, path); None: any file of the host."""
        if files is None:
            return self.places_of(name)
        host = self._hosts[name]
        places: list[Place] = []
        for point, path in files:
            if point in host.mounts:
                places.append(Place(host.mounts[point].number, point))
            inside = (item for item in host.exports if item.mount == point and below(path, item.path))
            places += [Place(item.number, item.path) for item in inside]
        return places

    def _relation(self, first: int, second: int) -> str:
        """The relation of two identities, or an identity and an export, without a look at files."""
        if first >= 0 and second >= 0:
            return ids.relation(self._identities[first], self._identities[second])
        identity, export = max(first, second), min(first, second)
        proof = self._linked.get(identity, {}).get(export, "")
        if proof in _PROOFS:
            return SHARED
        return OPEN if proof or export in self._unlinked.get(identity, ()) else DIFFERENT

    def _files(self, host: str, place: Place) -> frozenset[FileName]:
        return self._given[host].inodes.get(place.folder, frozenset())

    def _is_open_at(self, host: str, here: Place, user: str, number: int) -> bool:
        """Whether it is open that any of the user's mounts or exports with a number is the storage here."""
        there = (place for place in self.places_of(user) if place.number == number)
        return any(self.relation(host, here, user, place) == OPEN for place in there)

    def _is_same_path(self, here: Place, there: Place, path: str) -> bool:
        """Whether a path is the same file on two mounts of one server; exports and stated mounts are not compared."""
        if here.number < 0 or there.number < 0:
            return True
        ours, theirs = self._identities[here.number], self._identities[there.number]
        if ours.kind == theirs.kind == ids.DECLARED:
            return True
        return ours.inside(here.folder, path) == theirs.inside(there.folder, path)

    def _users_of(self, number: int) -> list[str]:
        return self._users[number] if number >= 0 else [self._exports[number].host]

    def _text(self, number: int) -> str:
        """An identity or export as text."""
        return f"the export {self._exports[number].path}" if number < 0 else str(self._identities[number])

    # -- what is open --------------------------------------------------------------------------------------------------

    def open_groups(self) -> list[list[str]]:
        """Hosts of which it is open whether they share storage, in groups; near linear in the number of mounts."""
        groups = [[host for number in group for host in self._users[number]] for group in self._open_identities()]
        for number, exports in self._unlinked.items():
            groups.append([*self._users[number], *(export.host for export in exports.values())])
        return [group for group in groups if len(set(group)) > 1]

    def numbers_of(self, host: str) -> list[int]:
        """Numbers of a host's mounts and exports."""
        return [place.number for place in self.places_of(host)]

    def numbers_of_files(self, name: str, files: t.Iterable[tuple[str, str]] | None) -> list[int]:
        """Numbers of the storage of files, given as (mount point, path); None: any file of the host."""
        return [place.number for place in self.places_of_files(name, files)]

    def is_open(self, first: int, second: int) -> bool:
        """Whether the relation of two identities, or an identity and an export, is open, and no key is in common."""
        return self._relation(first, second) == OPEN and not self._has_common_key(first, second)

    def is_open_between(self, name: str, files: t.Iterable[tuple[str, str]] | None, other: str) -> bool:
        """Whether it is unknown if another host has the storage of files."""
        other_numbers = self.numbers_of(other)
        numbers = self.numbers_of_files(name, files) if other_numbers else ()
        return any(self.is_open(number, other_number) for number in numbers for other_number in other_numbers)

    def _has_common_key(self, first: int, second: int) -> bool:
        """Whether two storages of an open relation are treated as one."""
        if first < 0 or second < 0:
            return min(first, second) in self._linked.get(max(first, second), ())
        return first != second and self._proved.find(first) == self._proved.find(second)

    def _open_identities(self) -> list[list[int]]:
        alone = [[n] for n, identity in enumerate(self._identities) if not identity.names_storage]
        return [*ids.connected(self._identities), *alone]

    # -- building ------------------------------------------------------------------------------------------------------

    def _add(self, hosts: t.Sequence[HostStorage]) -> None:
        """Mounts and exports of all hosts; equal identities get one number."""
        numbers: dict[StorageIdentity, int] = {}
        for entry in hosts:
            host = self._hosts[entry.host]
            for storage in entry.storage:
                name_of = self.statements.name_of
                identity = ids.identity_of(storage, name_of(entry.host, storage.mount, storage.source))
                if identity is not None:
                    number = numbers.setdefault(identity, len(numbers))
                    host.mounts[storage.mount] = SharedMount(storage.mount, number, set(identity.keys()))
                    if self._users[number][-1:] != [entry.host]:
                        self._users[number].append(entry.host)
                for folder in storage.labelled_exports:
                    export = SharedExport(
                        -1 - len(self._exports), entry.host, storage.mount, folder, name_of(entry.host, folder)
                    )
                    self._exports[export.number] = export
                    host.exports.append(export)
        self._identities = list(numbers)
        self._stated = {identity.proof for identity in numbers if identity.kind == ids.DECLARED}
        for identity in self._identities:
            for server in identity.servers:
                self._folders[identity.family, server][identity.path].update(identity.keys())

    def _join(self, hosts: t.Sequence[HostStorage]) -> None:
        """Join identities of which two mounts show one file under one inode number."""
        first: dict[FileName, int] = {}
        for entry in hosts:
            for point, mount in self._hosts[entry.host].mounts.items():
                for name in entry.inodes.get(point, ()):
                    self._proved.join(first.setdefault(name, mount.number), mount.number)
        for number in range(len(self._identities)):
            part = self._proved.find(number)
            if part != number:
                keys = self._identities[part].keys() or (f"storage {part}",)
                self._proofs.update(dict.fromkeys(keys, INODE))
                self._more_keys[part].update(keys)
                self._more_keys[number].update(keys)

    def _link(self, hosts: t.Sequence[HostStorage]) -> None:
        """Find the exports that mounts are, or may be."""
        index = _ExportIndex(hosts, self._exports.values())
        if not self._exports:
            return
        for entry in hosts:
            host = self._hosts[entry.host]
            for point, mount in host.mounts.items():
                identity = self._identities[mount.number]
                if identity.family not in ids.NFS:
                    continue
                proofs = index.candidates(entry.host, identity, entry.inodes.get(point, frozenset()))
                for number, proof in proofs.items():
                    self._connect(mount.number, self._exports[number], proof)

    def _connect(self, number: int, export: SharedExport, proof: str) -> None:
        identity, keys = self._identities[number], self._more_keys[number]
        declared = identity.proof if identity.kind == ids.DECLARED else ""
        if declared and export.declared:
            if declared != export.declared:
                return
            proof = STATED
        elif (declared or export.declared) and proof != INODE:
            proof = ""
        if not proof:
            self._unlinked[number].setdefault(export.number, export)
            return
        keys.add(export.key)
        known = self._linked[number].setdefault(export.number, proof)
        self._linked[number][export.number] = min(known, proof, key=_STRENGTH.index)
        self._proofs[export.key] = min(self._proofs.get(export.key, EXPORT), proof, key=_STRENGTH.index)
        exported = self._hosts[export.host].mounts.get(export.mount)
        if exported is not None:  # the folder is on storage that the exporter mounts itself
            keys.update(self._identities[exported.number].keys())

    def _collect(self, host: _Host, inside: t.Sequence[t.Collection[str]]) -> None:
        for mount in host.mounts.values():
            identity = self._identities[mount.number]
            mount.keys |= self._more_keys[mount.number]
            mount.reached = mount.keys | set(self._keys_at(identity, [*ids.folders(identity.path), "/"]))
            host.keys |= mount.keys
            host.reached |= mount.reached.union(inside[mount.number])
        exported = {export.key for export in host.exports}
        host.keys |= exported
        host.reached |= exported

    def _keys_inside(self, identity: StorageIdentity) -> list[str]:
        """Keys of the mounts of folders inside the identity's own."""
        known = (folder for server in identity.servers for folder in self._folders[identity.family, server])
        return list(self._keys_at(identity, [folder for folder in known if below(folder, identity.path)]))

    def _keys_below(self, mount: SharedMount, path: str) -> t.Iterator[str]:
        """Keys of mounts of a folder between this mount and a file on it."""
        identity = self._identities[mount.number]
        if any(len(self._folders[identity.family, server]) > 1 for server in identity.servers):
            yield from self._keys_at(identity, ids.folders(identity.inside(mount.point, path)))

    def _keys_at(self, identity: StorageIdentity, folders: t.Iterable[str]) -> t.Iterator[str]:
        """Keys of the mounts of these folders of the same server; names by the operator stay apart from one another."""
        stated = self._stated if identity.kind == ids.DECLARED else frozenset()
        for server in identity.servers:
            mounted = self._folders[identity.family, server]
            for folder in folders:
                yield from mounted.get(folder, frozenset()) - stated


class _ExportIndex:
    """Exports by what a client may mount them as."""

    def __init__(self, hosts: t.Sequence[HostStorage], exports: t.Iterable[SharedExport]) -> None:
        #: Exporters by name, and whether the name is the inventory's.
        self._named: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._of_host: dict[str, list[SharedExport]] = defaultdict(list)
        self._at: dict[str, list[SharedExport]] = defaultdict(list)
        self._alias: dict[str, list[SharedExport]] = defaultdict(list)
        self._seen: dict[FileName, list[SharedExport]] = defaultdict(list)
        self._all = list(exports)
        for export in self._all:
            self._of_host[export.host].append(export)
            self._at[posixpath.normpath(export.path)].append(export)
            for suffix in ids.suffixes(export.path):
                self._alias[suffix].append(export)
        for entry in hosts:
            if entry.host in self._of_host:
                own = names_of(entry.host)
                for name in entry.names:
                    self._named[name].append((entry.host, SERVER if name in own else NODE))
                self._see(entry)

    def _see(self, entry: HostStorage) -> None:
        for export in self._of_host[entry.host]:
            for name in entry.inodes.get(export.path, ()):
                self._seen[name].append(export)

    def candidates(self, host: str, identity: StorageIdentity, files: t.Iterable[FileName]) -> dict[int, str]:
        """Exports of other hosts that a mount may be, with the proof; an empty proof: it is open."""
        answers: dict[int, str] = {}
        path = identity.path
        if not path or not identity.servers or path == "/":
            answers.update((export.number, "") for export in self._all)
        for folder in ids.folders(path):
            answers.update((export.number, "") for export in self._alias.get(folder, ()))
        for folder in (*ids.folders(path), "/"):
            answers.update((export.number, EXPORT) for export in self._at.get(folder, ()))
        exporters = (exporter for name in sorted(identity.servers) for exporter in self._named.get(name, ()))
        for exporter, proof in sorted(exporters, key=lambda entry: -_STRENGTH.index(entry[1])):
            for export in self._of_host[exporter]:
                if below(path, export.path) or ids.aliased(path, export.path):
                    answers[export.number] = proof
        for file in files:
            answers.update((export.number, INODE) for export in self._seen.get(file, ()))
        own = {export.number for export in self._of_host.get(host, ())}
        return {number: proof for number, proof in answers.items() if number not in own}
