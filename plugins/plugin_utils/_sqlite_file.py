# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of a SQLite store: its creation and its mode.

Created beside its place with all tables, then linked there: so a file that is empty or holds no tables was damaged, or
is none of ours. Labels and snapshots name weaknesses, so the file is its owner's alone.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import tempfile
import typing as t
from pathlib import Path

from ..module_utils._core.errors import StoreError
from . import _migrations

OWNER_ONLY = 0o600
#: A larger file is not checked page by page before its use.
MAX_CHECKED = 256 * 1024 * 1024


def create(path: Path) -> None:
    """Create an empty store, for the owner alone. Does nothing if there is a file meanwhile."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".part", dir=path.parent)
    os.close(handle)
    try:
        with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _migrations.statements("sqlite", 0):
                connection.execute(statement)
            connection.execute("COMMIT")
        _place(Path(name), path)
    except sqlite3.Error as error:
        raise StoreError(f"store {path} cannot be created: {error}. Nothing was written", "store_unusable") from None
    finally:
        for leftover in (name, f"{name}-journal"):
            Path(leftover).unlink(missing_ok=True)


def _place(temporary: Path, path: Path) -> None:
    """Give the file its name, unless another run was faster."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))
            temporary.replace(path)


def refuse_dangling(path: Path) -> None:
    """Raise StoreError for a link to nowhere. SQLite would make an empty file there, in place of the store to come."""
    if path.is_symlink() and not path.exists():
        raise StoreError(
            f"store {path} is a link to {path.readlink()}, where there is nothing: see that its file system is "
            "mounted, or correct the link. Nothing was written",
            "store_missing",
        )


def refuse_empty(path: Path) -> None:
    """Raise StoreError for a file without content."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_file() and path.stat().st_size == 0:
            raise StoreError(
                f"store {path} is an empty file (0 bytes), so it is no store, or its content was lost: restore its "
                "backup, or delete the empty file and rebuild the ledger with operation repair and repair: true. "
                "Nothing was written",
                "store_empty",
            )


def refuse_cut(path: Path, size: int) -> None:
    """Raise StoreError for a file that is shorter than its pages."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_file() and path.stat().st_size < size:
            raise StoreError(
                f"store {path} is damaged: it has {path.stat().st_size} of {size} bytes; restore its backup, or move "
                "it away and rebuild the ledger with operation repair and repair: true. Nothing was written",
                "store_damaged",
            )


def refuse_unwritable(path: Path) -> None:
    """Raise StoreError if the file, or the folder in which it would be created, cannot be written."""
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    # SQLite writes a journal beside the file.
    for needed in dict.fromkeys((place, place if place.is_dir() else place.parent)):
        if not os.access(needed, os.W_OK):
            why = f"store {path} cannot be written: {needed} is not writable; run as its owner, or name another store"
            raise StoreError(why, "store_read_only")
    if not place.is_dir() and place != path:
        raise StoreError(f"store {path} cannot be created: {place} is no folder", "store_unusable")


def others_can_read(path: Path) -> int | None:
    """Mode of a file that others than its owner may use; None: they may not, or there is no file."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    return mode if mode & 0o077 else None


def narrow(path: Path) -> str:
    """Take other users' rights on a store away. Returns a warning, or an empty string.

    A group that may write was let in on purpose: it stays, and is reported.
    """
    mode = others_can_read(path)
    if mode is None:
        return ""
    wanted = mode & 0o660 if mode & 0o020 else mode & OWNER_ONLY
    shared = f"; its group keeps its access: let runs share a PostgreSQL store instead, or chmod 600 {path}"
    if wanted == mode:
        return f"store {path} has mode {mode:04o}{shared}"
    try:
        path.chmod(wanted)
    except OSError as error:
        why = error.strerror or error
        return f"store {path} has mode {mode:04o}, so others than its owner can use it, and stays so: {why}"
    rest = shared if wanted & 0o077 else ""
    return f"store {path} had mode {mode:04o}, so others than its owner could use it: it is {wanted:04o} now{rest}"


def refuse_damaged(rows: t.Sequence[t.Sequence[t.Any]], path: str) -> None:
    """Raise StoreError for anything but ``ok`` as the answer of ``PRAGMA quick_check``."""
    answer = str(rows[0][0]) if rows else "no answer"
    if answer != "ok":
        first = (answer.splitlines() or [""])[-1][:200]
        raise StoreError(
            f"store {path} is damaged: {first}; restore its backup, or move it away and rebuild the ledger with "
            "operation repair and repair: true. Nothing was written",
            "store_damaged",
        )
