# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The cache outside the tree: written whole or not at all, and never left locked by a crash."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .shell import as_root, run, say


def cache_dir() -> Path:
    """The cache folder of the project, created when missing."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "svirt-fleet"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest(parts: Iterable[str | bytes]) -> str:
    """A short hash of the inputs, in their order."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock on a file; the kernel drops it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that holds {path.name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def obtain(name: str, make: Callable[[Path, Path], None]) -> Path:
    """The cached file of that name; when missing, written by make(target, scratch folder) and moved in place whole.

    Scratch folders that a crash left behind are removed under the same lock.
    """
    folder = cache_dir()
    final = folder / name
    with locked(folder / f"{name}.lock"):
        _sweep(folder, f"{name}.tmp-")
        if final.exists():
            return final
        scratch = Path(tempfile.mkdtemp(prefix=f"{name}.tmp-", dir=folder))
        try:
            make(scratch / "result", scratch)
            os.replace(scratch / "result", final)
        finally:
            remove_tree(scratch)
    return final


def _sweep(folder: Path, prefix: str) -> None:
    for left in folder.glob(f"{prefix}*"):
        remove_tree(left)


def remove_tree(path: Path) -> None:
    """Remove a folder; as root where root filled it."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        run(as_root(["rm", "-rf", "--one-file-system", str(path)]))
