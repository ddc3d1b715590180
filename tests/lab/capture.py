# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Fetches from a host the tree that a fixture needs."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from .agent import fetch
from .errors import LabError
from .ssh import Remote


def capture(remote: Remote, target: Path) -> int:
    """Write the captured tree into a folder and return the number of its files. Raises LabError for a full one."""
    if target.exists() and any(target.iterdir()):
        raise LabError(f"{target} is not empty; name a new folder")
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(fetch(remote, "capture")), mode="r:gz") as archive:
        names = archive.getnames()
        archive.extractall(target, filter="data")
    _links(target)
    return len(names)


def _links(target: Path) -> None:
    """Make the symbolic links of the manifest, with the targets that they have in the host."""
    manifest = json.loads((target / "manifest.json").read_text())
    for name, entry in manifest.items():
        path = target / name.lstrip("/")
        if entry.get("type") != "link" or path.is_symlink() or path.exists():
            continue
        if "\n" in name or len(name) > 512:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(entry["target"])
