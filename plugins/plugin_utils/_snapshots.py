# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots on the controller: in a folder, one file per host of the inventory, or in the store.

A file holds either a snapshot or a record of why there is none (schema ``svirt.fleet/unread/1``). Whoever probes a
host writes the record *first* and replaces it by the snapshot: if the probe or the controller dies in between, the
snapshot of the previous run is not taken for a new one.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..module_utils._core.errors import SchemaError, StoreError
from ..module_utils._core.snapshot.document import decode_snapshot
from ..module_utils._core.snapshot.model import Snapshot
from ..module_utils._core.utf8 import clean_text
from ._store import Transaction, unpacked

UNREAD_SCHEMA = "svirt.fleet/unread/1"

#: Largest snapshot file. 10,000 guests need about 20 MB.
MAX_BYTES = 256 * 1024 * 1024
#: Seconds by which the clocks of two controllers, or of a file server, may differ.
AHEAD = 3600.0
#: Longest reason that is stored.
MAX_WHY = 2000
#: Longest file name without a hash. File systems allow 255 bytes.
_MAX_NAME = 180


_FUTURE = "has a time in the future, so its age is not known: a clock was ahead; probe the host again"


@dataclass(frozen=True)
class Unread:
    """A host without a usable snapshot, and why."""

    host: str
    why: str


def path_of(folder: str | Path, host: str) -> Path:
    """The host's file: a distinct plain file name for any inventory name, never a path out of the folder."""
    name = quote(host, safe="", errors="surrogatepass")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _MAX_NAME:
        digest = hashlib.sha256(host.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{name[:_MAX_NAME]}%{digest}"  # no quoted name has a percent sign before 64 digits
    return Path(folder) / f"{name}.json"


def write_snapshot(folder: str | Path, host: str, document: dict[str, t.Any]) -> Path:
    """Write a host's snapshot (its JSON form) in place of its previous file."""
    return write_json(path_of(folder, host), document)


def write_unread(folder: str | Path, host: str, why: str, now: float) -> Path:
    """Record that the host could not be read."""
    record = {"schema": UNREAD_SCHEMA, "host": host, "why": clean_text(why[:MAX_WHY]), "taken_at": now}
    return write_json(path_of(folder, host), record)


def read(folder: str | Path, host: str, oldest: float = 0.0) -> Snapshot | Unread:
    """A host's snapshot. A file that is missing, written before ``oldest`` or invalid makes it unread.

    The age is that of the file on the controller: the time in the snapshot is the host's claim.
    """
    path = path_of(folder, host)
    try:
        with path.open("rb") as stream:
            written = os.fstat(stream.fileno()).st_mtime
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Unread(host, f"no snapshot at {path}: the host was not probed; run the probe for it")
    except OSError as error:
        return Unread(host, f"snapshot {path} cannot be read: {error.strerror or error}")
    if written < oldest:
        late = f"{oldest - written:.0f} s"
        return Unread(host, f"snapshot {path} is {late} older than max_age allows; probe the host again")
    if written > time.time() + AHEAD:
        return Unread(host, f"snapshot {path} {_FUTURE}")
    if len(content) > MAX_BYTES:
        return Unread(host, f"snapshot {path} is larger than {MAX_BYTES} bytes")
    return _decoded(host, path, content)


def _decoded(host: str, path: Path, content: bytes) -> Snapshot | Unread:
    try:
        document = json.loads(content)
        if isinstance(document, dict) and document.get("schema") == UNREAD_SCHEMA:
            return Unread(host, str(document.get("why") or "no reason was given")[:MAX_WHY])
        return decode_snapshot(document)
    except SchemaError as error:
        return Unread(host, f"snapshot {path} does not follow its schema: {error}")
    except (ValueError, RecursionError) as error:
        return Unread(host, f"snapshot {path} is not JSON: {str(error)[:200]}")


def write_json(path: Path, document: t.Any, indent: int | None = None) -> Path:
    """Write a JSON file atomically, readable by its owner only, because it names weaknesses.

    Invalid Unicode (names on a host are bytes) is escaped.
    """
    return write_text(path, json.dumps(document, sort_keys=True, indent=indent) + "\n")


def write_text(path: Path, content: str, keep_mode: bool = False) -> Path:
    """Write a text file atomically, for its owner only, or with the permissions of the file that it replaces."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(content)
            if keep_mode and path.is_file() and not path.is_symlink():
                os.fchmod(handle, stat.S_IMODE(path.stat().st_mode))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def read_stored(transaction: Transaction, host: str, oldest: float) -> Snapshot | Unread:
    """A host's snapshot in the store. One received before ``oldest``, or damaged, makes the host unread."""
    stored = transaction.snapshot(host)
    if stored is None:
        return Unread(host, "the store has no snapshot of it: run the probe for it, then fleet_store")
    if stored.received_at < oldest:
        late = f"{oldest - stored.received_at:.0f} s"
        return Unread(host, f"its snapshot in the store is {late} older than max_age allows; probe the host again")
    if stored.received_at > time.time() + AHEAD:
        return Unread(host, f"its snapshot in the store {_FUTURE}")
    try:
        return decode_snapshot(json.loads(unpacked(stored.content)))
    except (SchemaError, StoreError, ValueError, RecursionError) as error:
        return Unread(host, f"its snapshot in the store is damaged: {str(error)[:200]}; store a new one")
