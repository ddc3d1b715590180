# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which storage hosts share, and where that is open.

For two mounts, or a mount and a folder that another host exports, there are three answers:

- *shared*: one proof (storage_identity.py), a file that both see under one inode number, equal mount sources, or a
  host of the fleet that exports such a folder. Equal texts prove nothing; a wrong guess reports a group too many.
- *different*: proofs of one kind that differ, the operator's word, or separate folders of one server.
- *open*: all else. Then a verdict is unknown, labels are kept apart as if it were shared, and files are left alone.

Each answer follows from the snapshots of the two hosts, never from a third one: one more host can only add to what is
shared and to what is open.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t
from collections import defaultdict
from dataclasses import dataclass, field

from ..paths import below
from . import storage_identity as ids
from .connected import Parts
from .storage import FileName, HostStorage, names_of
from .storage_identity import StorageIdentity
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
_GUESSES = (NODE, EXPORT)


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


@dataclass(frozen=True)
class Unsettled:
    """An example of two storages of which it is open whether they are one."""

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
        self._proved: Parts[int] = Parts()
        #: Exports that an identity is shared with, and how that is known.
        self._linked: dict[int, dict[int, str]] = defaultdict(dict)
        #: Exports of which that is open, by identity.
        self._unlinked: dict[int, dict[int, SharedExport]] = defaultdict(dict)
        #: Folders that are mounted, by protocol and server.
        self._folders: dict[tuple[str, str], set[str]] = defaultdict(set)
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

    def has_file(self, source: str, file: tuple[str, str], target: str, point: str) -> bool | None:
        """Whether a file of the source is also the target's file of the same path, on the mount there; None: open.

        Only the two hosts count, since a third one could lie, and only proof: neither path nor node name of an export.
        """
        here = self.numbers_of_files(source, [file])
        there = self.numbers_of_files(target, [(point, file[1])])
        seen = [self._given[name].inodes for name in (source, target)]
        answers: set[bool | None] = {False}
        for one in here:
            for other in there:
                places = [self._place(number, mount) for number, mount in ((one, file[0]), (other, point))]
                common = seen[0].get(places[0], frozenset()) & seen[1].get(places[1], frozenset())
                answers.add(True if common else self._is_one(one, other, (file[0], point), file[1]))
        return True if True in answers else None if None in answers else False

    # -- what is open --------------------------------------------------------------------------------------------------

    def open_groups(self) -> list[list[str]]:
        """Hosts of which it is open whether they share storage, in groups; near linear in the number of mounts."""
        groups = [[host for number in group for host in self._users[number]] for group in self._open_identities()]
        for number, exports in self._unlinked.items():
            groups.append([*self._users[number], *(export.host for export in exports.values())])
        return [group for group in groups if len(set(group)) > 1]

    def numbers_of(self, host: str) -> list[int]:
        """Numbers of a host's mounts and exports."""
        entry = self._hosts[host]
        return [*(mount.number for mount in entry.mounts.values()), *(export.number for export in entry.exports)]

    def numbers_of_files(self, name: str, files: t.Iterable[tuple[str, str]] | None) -> list[int]:
        """Numbers of the storage of files, given as (mount point, path); None: any file of the host."""
        if files is None:
            return self.numbers_of(name)
        host = self._hosts[name]
        numbers: list[int] = []
        for point, path in files:
            if point in host.mounts:
                numbers.append(host.mounts[point].number)
            numbers += [item.number for item in host.exports if item.mount == point and below(path, item.path)]
        return numbers

    def is_open(self, one: int, other: int) -> bool:
        """Whether it is open that two identities, or an identity and an export, are of one storage."""
        if one < 0 or other < 0:
            identity, export = max(one, other), min(one, other)
            return export in self._unlinked.get(identity, ()) and export not in self._linked.get(identity, ())
        if one == other:
            return not self._identities[one].names_storage
        relation = ids.relation(self._identities[one], self._identities[other])
        return relation == ids.OPEN and self._proved.part(one) != self._proved.part(other)

    def is_open_between(self, name: str, files: t.Iterable[tuple[str, str]] | None, other: str) -> bool:
        """Whether it is open that another host has the storage of files."""
        theirs = self.numbers_of(other)
        mine = self.numbers_of_files(name, files) if theirs else ()
        return any(self.is_open(one, number) for one in mine for number in theirs)

    def unsettled(self, host: str, numbers: t.Iterable[int], settled: t.Container[str] = ()) -> Unsettled | None:
        """A host, none of ``settled``, of which it is open whether it has one of a host's storages."""
        for one in sorted(set(numbers)):
            for other in (*range(len(self._identities)), *self._exports):
                if self.is_open(one, other):
                    users = self._users[other] if other >= 0 else [self._exports[other].host]
                    far = next((user for user in users if user != host and user not in settled), None)
                    if far is not None:
                        return Unsettled(host, self.text(one), far, self.text(other))
        return None

    def unproved(self, host: str, place: tuple[str, str]) -> Unsettled | None:
        """A host of which its own snapshot and this host's leave open whether it has a folder's storage.

        The folder is given as (mount point, path). What a third host reports closes nothing here.
        """
        inodes = self._given[host].inodes
        files = inodes.get(place[0], frozenset()) | inodes.get(place[1], frozenset())
        for one in sorted(set(self.numbers_of_files(host, [place]))):
            for other in (*range(len(self._identities)), *self._exports):
                if not self._is_doubtful(one, other):
                    continue
                for user in self._users[other] if other >= 0 else [self._exports[other].host]:
                    theirs = self._given[user].inodes
                    seen = (theirs.get(point, frozenset()) for point in self._points(user, other))
                    if user != host and not any(files & names for names in seen):
                        return Unsettled(host, self.text(one), user, self.text(other))
        return None

    def _is_doubtful(self, one: int, other: int) -> bool:
        """Whether only a file in common could prove that two identities, or an identity and an export, are one."""
        if one < 0 and other < 0:
            return False
        if one < 0 or other < 0:
            identity, export = max(one, other), min(one, other)
            proof = self._linked.get(identity, {}).get(export, "")
            return proof not in (STATED, SERVER) and bool(proof or export in self._unlinked.get(identity, ()))
        if one == other:
            return not self._identities[one].names_storage
        return ids.relation(self._identities[one], self._identities[other]) == ids.OPEN

    def _points(self, host: str, number: int) -> list[str]:
        """Where files of an identity or export of a host are listed."""
        if number < 0:
            return [self._exports[number].path, self._exports[number].mount]
        return [mount.point for mount in self._hosts[host].mounts.values() if mount.number == number]

    def text(self, number: int) -> str:
        """An identity or export in words."""
        return f"the export {self._exports[number].path}" if number < 0 else str(self._identities[number])

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
        for identity in self._identities:
            for server in identity.servers:
                self._folders[identity.family, server].add(identity.path)

    def _join(self, hosts: t.Sequence[HostStorage]) -> None:
        """Join identities of which two mounts show one file under one inode number."""
        first: dict[FileName, int] = {}
        for entry in hosts:
            for point, mount in self._hosts[entry.host].mounts.items():
                for name in entry.inodes.get(point, ()):
                    self._proved.join(first.setdefault(name, mount.number), mount.number)
        for number in range(len(self._identities)):
            part = self._proved.part(number)
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
        """Keys of the mounts of these folders of the same server."""
        if identity.kind not in (ids.SOURCE, ids.CEPH):
            return
        for folder in folders:
            for server in identity.servers:
                if folder in self._folders[identity.family, server]:
                    yield ids.source_key(identity.family, server, folder)

    # -- answers -------------------------------------------------------------------------------------------------------

    def _is_one(self, one: int, other: int, points: tuple[str, str], path: str) -> bool | None:
        """Whether a path is the same file on two identities or exports; None: open."""
        if one < 0 or other < 0:
            proof = self._linked.get(max(one, other), {}).get(min(one, other))
            if proof in (STATED, SERVER):
                return True
            return None if proof or self.is_open(one, other) else False
        ours, theirs = self._identities[one], self._identities[other]
        relation = ids.relation(ours, theirs) if ours.names_storage else ids.OPEN
        if relation != ids.SAME or ours.kind == theirs.kind == ids.DECLARED:
            return {ids.SAME: True, ids.OPEN: None}.get(relation, False)
        return ours.inside(points[0], path) == theirs.inside(points[1], path)

    def _place(self, number: int, mount: str) -> str:
        """Where files of an identity or export of a host are listed."""
        return self._exports[number].path if number < 0 else mount

    def _open_identities(self) -> list[list[int]]:
        alone = [[n] for n, identity in enumerate(self._identities) if not identity.names_storage]
        return [*ids.connected(self._identities), *alone]


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
