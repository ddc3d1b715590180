# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's statements about storage: which mounts are of one storage, and which hosts use it.

Mounts of one statement are the same storage, mounts of two statements are different ones. Where a proof in the
snapshots says otherwise, sharing.py refuses the statements.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import re
import typing as t
from dataclasses import dataclass, field

from ..errors import StorageStatementError
from .storage_identity import normal_source

FIELDS = ("name", "sources", "mounts", "hosts")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
#: Limits of a statement that a person writes.
_MAX_STATEMENTS = 10_000
_MAX_TEXT = 4096


@dataclass(frozen=True)
class StorageStatement:
    """One storage by name."""

    name: str
    #: Mount sources, in normal form, on whatever host they are.
    sources: tuple[str, ...] = ()
    #: Host and folder: a mount point of the host, or a folder that it exports. They win over sources.
    mounts: tuple[tuple[str, str], ...] = ()
    #: All hosts that use it, inside the fleet and outside; empty: not stated.
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class StorageStatements:
    """All statements, ready to be looked up."""

    statements: tuple[StorageStatement, ...] = ()
    _by_source: dict[str, str] = field(default_factory=dict)
    _by_mount: dict[tuple[str, str], str] = field(default_factory=dict)
    _hosts: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, statements: t.Sequence[StorageStatement]) -> StorageStatements:
        """Index the statements."""
        return cls(
            tuple(statements),
            {source: entry.name for entry in statements for source in entry.sources},
            {mount: entry.name for entry in statements for mount in entry.mounts},
            {entry.name: entry.hosts for entry in statements if entry.hosts},
        )

    def name_of(self, host: str, folder: str, source: str = "") -> str:
        """Name of the storage that is mounted at, or exported as, a folder of a host; empty: not stated."""
        name = self._by_mount.get((host, folder), "") if self._by_mount else ""
        return name or (self._by_source.get(normal_source(source), "") if source and self._by_source else "")

    def hosts_of(self, name: str) -> tuple[str, ...]:
        """All hosts that use the storage of this name; empty: not stated."""
        return self._hosts.get(name, ())


NOTHING = StorageStatements()


def parse_storage(items: t.Any) -> StorageStatements:
    """Statements from the operator's text. Raises StorageStatementError for the first fault."""
    if not isinstance(items, (list, tuple)) or len(items) > _MAX_STATEMENTS:
        what = f"{len(items)} entries" if isinstance(items, (list, tuple)) else _kind(items)
        raise StorageStatementError(
            f"storage: expected a list of at most {_MAX_STATEMENTS} storages, got {what}", "storage_list"
        )
    statements = [_statement(f"storage[{index}]", item) for index, item in enumerate(items)]
    _check_apart(statements)
    return StorageStatements.of(sorted(statements, key=lambda entry: entry.name))


def _statement(where: str, item: t.Any) -> StorageStatement:
    if not isinstance(item, dict):
        raise StorageStatementError(f"{where}: expected a storage with name and sources, got {_kind(item)}", "entry")
    name = item.get("name")
    if not isinstance(name, str) or not _NAME.match(name):
        raise StorageStatementError(
            f"{where}: name is {_shown(name)}; give at most 64 letters, digits, '.', '_' and '-'", "name"
        )
    where = f"{where} {name}"
    unknown = sorted(str(field_) for field_ in item if field_ not in FIELDS)
    if unknown:
        raise StorageStatementError(
            f"{where}: unknown field {_shown(unknown[0])}; known are {', '.join(FIELDS)}", "unknown_field"
        )
    sources = tuple(normal_source(text) for text in _texts(where, "sources", item.get("sources")))
    mounts = tuple(_mount(where, text) for text in _texts(where, "mounts", item.get("mounts")))
    if not sources and not mounts:
        raise StorageStatementError(
            f"{where}: give sources, such as filer:/vol/vms, or mounts, such as kvm1:/srv/vms", "empty"
        )
    return StorageStatement(name, sources, mounts, _texts(where, "hosts", item.get("hosts")))


def _texts(where: str, field_: str, value: t.Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in value):
        raise StorageStatementError(f"{where}: {field_} is {_shown(value)}; give a list of texts", "not_a_list")
    for text in value:
        if not text.strip() or len(text) > _MAX_TEXT or "\0" in text:
            raise StorageStatementError(f"{where}: {field_} has the entry {_shown(text)}; correct it", "text")
    return tuple(value)


def _mount(where: str, text: str) -> tuple[str, str]:
    host, colon, folder = text.partition(":/")
    if not host or not colon:
        raise StorageStatementError(
            f"{where}: mounts has the entry {_shown(text)}; give HOST:/FOLDER, the folder being a mount point of the "
            "host or one that it exports",
            "mount",
        )
    return host, posixpath.normpath("/" + folder)


def _check_apart(statements: t.Sequence[StorageStatement]) -> None:
    """No name twice, no mount in two storages."""
    names: set[str] = set()
    owner: dict[t.Any, str] = {}
    for entry in statements:
        if entry.name in names:
            raise StorageStatementError(f"two storages have the name {entry.name}; make one of both", "name_twice")
        names.add(entry.name)
        for mount in (*entry.sources, *entry.mounts):
            if owner.setdefault(mount, entry.name) != entry.name:
                shown = mount if isinstance(mount, str) else ":".join(mount)
                raise StorageStatementError(
                    f"{shown} is in the storages {owner[mount]} and {entry.name}; it is one storage, so take it out "
                    "of the other; where a source has two meanings, name mounts instead",
                    "mount_twice",
                )


def _kind(value: t.Any) -> str:
    return f"{type(value).__name__} {_shown(value)}"


def _shown(value: t.Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
