# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's statements about storage against the proofs that the snapshots have.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..errors import StorageStatementError
from . import storage_identity as ids
from .storage import FileName, HostStorage
from .storage_statements import StorageStatements

_REMEDY = "correct svirt_storage, or find out which of the hosts reports what is not so"


@dataclass(frozen=True)
class _Place:
    host: str
    folder: str

    def __str__(self) -> str:
        return f"{self.folder} on {self.host}"


def check_statements(hosts: t.Sequence[HostStorage], statements: StorageStatements) -> None:
    """Raise StorageStatementError for the first statement that a proof contradicts; the message names both."""
    if not statements.statements:
        return
    named = list(_named(hosts, statements))
    _check_proofs(named)
    _check_files(named)


def _named(
    hosts: t.Sequence[HostStorage], statements: StorageStatements
) -> t.Iterator[tuple[_Place, str, ids.StorageIdentity | None, frozenset[FileName]]]:
    """Mounts and exports with a name by the operator, what proves their identity, and the files seen there."""
    for entry in hosts:
        for storage in entry.storage:
            name = statements.name_of(entry.host, storage.mount, storage.source)
            identity = ids.identity_of(storage)
            if name and identity is not None:
                yield _Place(entry.host, storage.mount), name, identity, entry.inodes.get(storage.mount, frozenset())
            for folder in storage.labelled_exports:
                name = statements.name_of(entry.host, folder)
                if name:
                    yield _Place(entry.host, folder), name, None, entry.inodes.get(folder, frozenset())


def _check_proofs(named: t.Iterable[tuple[_Place, str, ids.StorageIdentity | None, t.Any]]) -> None:
    """A name has one proof of a kind, and a proof has one name."""
    by_name: dict[tuple[str, str], tuple[str, _Place]] = {}
    by_proof: dict[str, tuple[str, _Place]] = {}
    for place, name, identity, _seen in named:
        if identity is None or not identity.proof:
            continue
        proof, first = by_name.setdefault((name, identity.kind), (identity.proof, place))
        if proof != identity.proof:
            raise StorageStatementError(
                f"svirt_storage says that {first} and {place} are one storage, {name}, but their identities differ: "
                f"{proof} and {identity.proof}; {_REMEDY}",
                "proved_different",
            )
        if identity.kind == ids.UUID:
            _check_name(by_proof.setdefault(identity.proof, (name, place)), name, place, f"both are {identity.proof}")


def _check_files(named: t.Iterable[tuple[_Place, str, t.Any, frozenset[FileName]]]) -> None:
    """A file that two mounts show under one inode number is on one storage."""
    first: dict[FileName, tuple[str, _Place]] = {}
    for place, name, _identity, seen in named:
        for file in sorted(seen):
            why = f"both show the file {file[0][:80]} with inode number {file[1]}"
            _check_name(first.setdefault(file, (name, place)), name, place, why)


def _check_name(known: tuple[str, _Place], name: str, place: _Place, why: str) -> None:
    if known[0] != name:
        raise StorageStatementError(
            f"svirt_storage says that {known[1]} ({known[0]}) and {place} ({name}) are different storages, but {why}; "
            f"{_REMEDY}",
            "proved_same",
        )
