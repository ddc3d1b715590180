# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identity of storage that several hosts may mount, and whether two identities are of one storage.

Proof of identity is a file system uuid, a cluster's fsid with the name of its file system, or the operator's word
(storage_statements.py). Two different proofs of one kind show two storages. The text of a mount source is no proof:
one server has several names and addresses. Equal texts are taken for one storage; different texts leave it open,
except two separate folders of one server, and two file systems of one list of monitors. A name that each host gives
to another machine, such as localhost, is none, and shares of SMB with two names may be one folder.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import typing as t
from dataclasses import dataclass

from ..paths import below
from ..snapshot.model import Storage
from ..system.mounts import unbracketed

#: Whether two storages are one.
SHARED, OPEN, DIFFERENT = "shared", "open", "different"

#: Protocols of NFS.
NFS = frozenset(("nfs", "nfs4"))

#: Protocols of SMB.
SMB = frozenset(("cifs", "smb3", "smbfs"))

#: Kinds of identity. Identities of different kinds cannot be compared.
DECLARED, UUID, CEPH, SOURCE = "declared", "uuid", "ceph", "source"

#: CephFS since Linux 5.17: user@fsid.name=/folder.
_CEPH = re.compile(r"[^@/]*@(?P<fsid>[0-9a-f-]{36})\.(?P<name>[^=/]+)=(?P<path>/?.*)\Z")
#: File systems whose mount source lists several servers.
_SEVERAL_SERVERS = re.compile(r"[,;]")
#: Which of the services of an address it is: mounts.remote_source.
_SERVICE = re.compile(r" \([^()]*\)\Z")
#: A volume of GlusterFS with its transport; names of volumes have no dot.
_TRANSPORT = re.compile(r"\A(/[^/.]+)\.(?:tcp|rdma)(?=/|\Z)")
#: A server as a name or an address, without its user and port.
_SERVER = re.compile(r"(?:[^@/]*@)?(?:\[(?P<bracketed>[^\]]*)\](?::\d+)?|(?P<name>[^:\[\]]*)(?::\d+)?|(?P<bare>.*))\Z")
#: Names that every host gives to itself, and the beginning of its own addresses.
_OWN_NAMES = frozenset(("localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "lo"))
_OWN_ADDRESS = re.compile(r"127(?:\.\d{1,10}){1,3}\Z")
_MAX_ADDRESS = 200


@dataclass(frozen=True)
class StorageIdentity:
    """What is known of the identity of one mount."""

    kind: str
    #: Name by the operator, uuid, or fsid and name of a CephFS; equal exactly where it is the same storage.
    proof: str = ""
    #: Names and addresses of its servers, as the mount source has them, with the service where it is not the usual
    #: one: its port, or a CephFS by its name. Empty where the source names none.
    servers: frozenset[str] = frozenset()
    #: Folder of the server that is mounted; empty where the source has none.
    path: str = ""
    #: Protocol, such as nfs or ceph.
    family: str = ""

    @property
    def names_storage(self) -> bool:
        """Two mounts with this identity are taken for one storage. A mount source without a server says nothing."""
        return self.kind != SOURCE or bool(self.servers)

    def keys(self) -> tuple[str, ...]:
        """Keys that hosts with this storage agree on."""
        if self.kind in (DECLARED, UUID):
            return (self.proof,)
        return tuple(source_key(self.family, server, self.path) for server in sorted(self.servers))

    def inside(self, point: str, path: str) -> str:
        """The server's path of a file that a host sees at a path, on its mount point."""
        return posixpath.normpath(posixpath.join(self.path or "/", posixpath.relpath(path, point)))

    def __str__(self) -> str:
        server = min(self.servers, default="")
        if server and self.kind != CEPH:
            return f"{server}:{self.path}"
        if self.proof or not self.path:
            return f"{self.proof}{self.path}" if self.proof else f"a mount of type {self.family}"
        return f"{self.path} of a {self.family} server that each host names for itself"


def source_key(family: str, server: str, path: str) -> str:
    """Key of a folder of a server."""
    return f"{family}:{server}:{path}"


def normal_source(source: str) -> str:
    """A mount source in normal form, for comparison with other sources."""
    server, path = _server_and_path(source)
    return f"{server}:{path}" if path else server


def identity_of(storage: Storage, declared: str = "") -> StorageIdentity | None:
    """Identity of a mount that other hosts may have too; None for a local one. ``declared``: name by the operator."""
    text = storage.identity or ""
    if not (storage.remote or text.startswith("nfs:")):
        return None
    family = "nfs" if storage.type == "nfs4" else storage.type.rpartition(".")[2]
    if text.startswith("uuid:"):
        proof, slash, folder = text.partition(":/")
        path = posixpath.normpath("/" + folder) if slash else ""
        return StorageIdentity(DECLARED if declared else UUID, declared or proof, path=path, family=family)
    kind, colon, rest = text.partition(":")
    source = rest if colon else storage.source
    family = kind if colon else family
    ceph = _CEPH.match(source) if family == "ceph" else None
    if ceph:
        path = posixpath.normpath("/" + ceph["path"].lstrip("/"))
        proof = f"ceph:{ceph['fsid']}.{ceph['name']}"
        return StorageIdentity(DECLARED if declared else CEPH, declared or proof, frozenset((proof,)), path, family)
    server, path = _server_and_path(source)
    service = _SERVICE.search(server)
    named = _SEVERAL_SERVERS.split(server[: service.start()] if service else server) if path else ()
    service_name = service.group() if service else ""
    servers = frozenset(f"{name}{service_name}" for name in named if name and not is_relative(name))
    if family == "glusterfs":
        path = _TRANSPORT.sub(r"\1", path)
    return StorageIdentity(DECLARED if declared else SOURCE, declared, servers, path, family)


def _server_and_path(source: str) -> tuple[str, str]:
    """Server (lower case) and folder of a mount source; no folder where the source names no server."""
    if source.startswith("//"):
        server, _slash, path = source[2:].partition("/")
    else:
        server, colon, path = source.partition(":/")
        if not colon:
            server, colon, path = source.rpartition(":")
        if not colon:
            return source.lower(), ""
    server = unbracketed(server.lower()).rstrip(".")
    return server, posixpath.normpath("/" + path.lstrip("/"))


def is_relative(server: str) -> bool:
    """Whether a server's name or address means another machine on each host: its own, or one of its own link."""
    match = _SERVER.match(server)
    name = "" if match is None else match["bracketed"] or match["name"] or match["bare"] or ""
    name, zone, _interface = name.partition("%")
    first = name.partition(".")[0]
    if zone or first in _OWN_NAMES or name.endswith(".localhost") or _OWN_ADDRESS.match(name):
        return True
    try:
        address = ipaddress.ip_address(name[:_MAX_ADDRESS])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_link_local or address.is_unspecified


def relation(one: StorageIdentity, other: StorageIdentity) -> str:
    """Whether two mounts are of one storage, or overlap: SHARED, DIFFERENT, or OPEN."""
    if one.kind == other.kind == DECLARED or one.kind == other.kind == UUID:
        return SHARED if one.proof == other.proof else DIFFERENT
    if one.kind == other.kind == CEPH and one.proof != other.proof:
        return DIFFERENT
    if one.family != other.family:
        return OPEN
    if not one.servers & other.servers:
        return DIFFERENT if one.family == CEPH and _of_one_cluster(one, other) else OPEN
    if below(one.path, other.path) or below(other.path, one.path):
        return SHARED
    if one.family in SMB:  # a share is a name: two of them may be one folder
        return OPEN if _share(one.path) != _share(other.path) else DIFFERENT
    if DECLARED in (one.kind, other.kind) or aliased(one.path, other.path) or aliased(other.path, one.path):
        return OPEN
    return DIFFERENT


def _of_one_cluster(one: StorageIdentity, other: StorageIdentity) -> bool:
    """Whether two file systems that have names of their own are of one list of monitors."""
    if not all(_SERVICE.search(server) for server in one.servers | other.servers):
        return False
    monitors, others = ({_SERVICE.sub("", server) for server in each.servers} for each in (one, other))
    return not monitors.isdisjoint(others)


def _share(path: str) -> str:
    return path.strip("/").partition("/")[0]


def aliased(path: str, exported: str) -> bool:
    """Whether an NFS 4 client may see an exported folder at this path, below a pseudo-root: /srv/images as /images."""
    return path == "/" or any(exported.endswith(folder) for folder in folders(path))


def folders(path: str) -> list[str]:
    """A path and all folders above it, without the root."""
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1)] if parts != [""] else []


def suffixes(path: str) -> list[str]:
    """What a path may be called below a pseudo-root: /srv/images is also /images."""
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[count:]) for count in range(len(parts))] if parts != [""] else []


def connected(identities: t.Sequence[StorageIdentity]) -> list[list[int]]:
    """Indexes of identities that are, or may be, of one storage, in groups; near linear in their number.

    Groups of one are left out. Two identities of one group need not be related directly.
    """
    by_label: dict[tuple[str, t.Any], list[int]] = {}
    for index, identity in enumerate(identities):
        label = identity.proof if identity.kind != SOURCE else (identity.family, identity.servers)
        by_label.setdefault((identity.kind, label), []).append(index)
    kinds = {kind for kind, _label in by_label}
    servers = [label for kind, label in by_label if kind == SOURCE]
    # Identities of two kinds, protocols or servers cannot be told apart: whatever else there is hangs together by them.
    if len(kinds) > 1 or len(servers) > 1 or (servers and not servers[0][1]):
        return [list(range(len(identities)))] if len(identities) > 1 else []
    if kinds <= {DECLARED, UUID}:
        return [group for group in by_label.values() if len(group) > 1]
    return [group for indexes in by_label.values() for group in _by_path(identities, indexes)]


def _by_path(identities: t.Sequence[StorageIdentity], indexes: t.Sequence[int]) -> list[list[int]]:
    """Folders of one server: those that lie in one another, or may be one under a pseudo-root."""
    known: dict[str, list[int]] = {}
    if len(indexes) > 1 and identities[indexes[0]].family in SMB:
        return [list(indexes)]
    for index in indexes:
        known.setdefault(identities[index].path, []).append(index)
    if "/" in known:
        return [list(indexes)] if len(indexes) > 1 else []
    names: dict[str, list[str]] = {}
    for path in known:
        for suffix in suffixes(path):
            names.setdefault(suffix, []).append(path)
    groups = []
    for path, own in known.items():
        alike = {other for folder in folders(path) for other in names.get(folder, ())}
        alike |= {folder for folder in folders(path) if folder in known}
        group = [*own, *(known[other][0] for other in sorted(alike) if other != path)]
        groups += [group] if len(group) > 1 else []
    return groups
