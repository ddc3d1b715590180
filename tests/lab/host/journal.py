# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What a fault is about to change, written down first, so that it can be put back, even after a reboot."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

FOLDER = Path("/var/lib/svirt-lab/journal")
_NAMESPACES = ("security.selinux", "trusted.")


class Journal:
    """The steps that undo one fault; they are taken in reverse order."""

    def __init__(self, fault: str) -> None:
        self.path = FOLDER / f"{fault}.json"
        self.steps: list[dict[str, Any]] = []

    @classmethod
    def load(cls, fault: str) -> Journal | None:
        """The journal of a fault that is in the host, or None."""
        journal = cls(fault)
        if not journal.path.exists():
            return None
        journal.steps = json.loads(journal.path.read_text())
        return journal

    @staticmethod
    def injected() -> list[str]:
        """Names of the faults that are in the host."""
        return sorted(path.stem for path in FOLDER.glob("*.json"))

    def add(self, kind: str, **data: Any) -> None:
        """One step of the undo; see undo.py for the kinds."""
        self.steps.append({"kind": kind, **data})
        FOLDER.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.steps))
        os.replace(part, self.path)

    def close(self) -> None:
        """The fault is gone."""
        self.path.unlink(missing_ok=True)

    def file(self, path: str | Path) -> None:
        """Put back a small file: content, owner, mode, labels, times; remove it when it is not there now."""
        name = str(path)
        if not os.path.lexists(name):
            self.add("unlink", path=name)
            return
        self.add("file", path=name, content=base64.b64encode(Path(name).read_bytes()).decode(), **_attributes(name))

    def attributes(self, path: str | Path) -> None:
        """Put back owner, mode, labels and times of a file of any size."""
        self.add("attributes", path=str(path), **_attributes(str(path)))

    def guest(self, name: str, *paths: str) -> None:
        """Remove a guest that the fault brings, and its files."""
        for path in paths:
            if not os.path.lexists(path):
                self.add("unlink", path=path)
        self.add("remove_guest", name=name)


def _attributes(path: str) -> dict[str, Any]:
    info = os.stat(path)
    names = [name for name in os.listxattr(path) if name.startswith(_NAMESPACES)]
    values = {name: base64.b64encode(os.getxattr(path, name)).decode() for name in names}
    return {
        "mode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "xattrs": values,
        "times": [info.st_atime_ns, info.st_mtime_ns],
    }


def restore_attributes(step: dict[str, Any]) -> None:
    """The other half of _attributes()."""
    path = step["path"]
    os.chown(path, step["uid"], step["gid"])
    os.chmod(path, step["mode"])
    wanted: dict[str, str] = step["xattrs"]
    for name in os.listxattr(path):
        if name.startswith(_NAMESPACES) and name not in wanted:
            os.removexattr(path, name)
    for name, value in wanted.items():
        os.setxattr(path, name, base64.b64decode(value))
    os.utime(path, ns=(step["times"][0], step["times"][1]))
