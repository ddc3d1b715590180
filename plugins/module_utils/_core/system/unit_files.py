# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service of systemd as its files make it: which of them count, in which order, and whose assignment holds.

The unit itself is the first of its name in the folders below. Drop-ins are gathered from ``UNIT.d`` of every folder,
then from ``service.d``, which is for all services. Of drop-ins with one name only the first counts; an empty one, or a
link to /dev/null, masks the others of its name. All that are left are applied in the order of their
names, whatever folder they are in. The last assignment holds, and an empty one takes back those before it.

Sources: systemd.unit(5), systemd.exec(5).

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass

#: Where systemd looks, from what counts most on.
FOLDERS = (
    *("/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient"),
    *("/run/systemd/generator.early", "/etc/systemd/system", "/etc/systemd/system.attached", "/run/systemd/system"),
    *("/run/systemd/system.attached", "/run/systemd/generator", "/usr/local/lib/systemd/system"),
    *("/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/generator.late"),
)
#: The drop-ins of all services.
_ALL = "service"
_ENDING = ".conf"
_COMMENT = ("#", ";")


@dataclass(frozen=True)
class UnitFile:
    """A file of a unit. ``text`` is empty where the file is there to take others of its name away."""

    path: str
    text: str


@dataclass(frozen=True)
class UnitAssignment:
    """Where a key gets its value."""

    path: str
    value: str


def units(unit: str) -> list[str]:
    """Where the unit itself may be, the first that is there counts."""
    return [f"{folder}/{unit}" for folder in FOLDERS]


def folders(unit: str) -> list[str]:
    """Where its drop-ins may be, from what counts most on."""
    return [f"{folder}/{name}.d" for name in (unit, _ALL) for folder in FOLDERS]


def is_drop_in(name: str) -> bool:
    """Whether systemd takes a file of this name for a drop-in."""
    return name.endswith(_ENDING) and not name.startswith(".")


def applied(unit: str, files: t.Iterable[UnitFile]) -> list[UnitFile]:
    """The files that count, in the order in which systemd applies them."""
    known = {file.path: file for file in files}
    main = next((known[path] for path in units(unit) if path in known), None)
    rank = {folder: number for number, folder in enumerate(folders(unit))}
    by_name: dict[str, UnitFile] = {}
    for file in sorted(known.values(), key=lambda file: rank.get(posixpath.dirname(file.path), len(rank))):
        folder, name = posixpath.split(file.path)
        if folder in rank and is_drop_in(name):
            by_name.setdefault(name, file)
    drop_ins = [file for _name, file in sorted(by_name.items()) if file.text.strip()]
    return [main, *drop_ins] if main else drop_ins


def assignments(files: t.Iterable[UnitFile], key: str, section: str = "Service") -> list[UnitAssignment]:
    """Each assignment of a key that is not taken back, in order: the last one holds."""
    assigned: list[UnitAssignment] = []
    for file in files:
        for name, value in _pairs(file.text, section):
            if name == key:
                assigned = [*assigned, UnitAssignment(file.path, value)] if value else []
    return assigned


def _pairs(text: str, section: str) -> t.Iterator[tuple[str, str]]:
    inside = ""
    for line in _lines(text):
        if line.startswith("[") and line.endswith("]"):
            inside = line[1:-1]
        elif inside == section and "=" in line:
            name, _equals, value = line.partition("=")
            yield name.rstrip(), value.strip()


def _lines(text: str) -> t.Iterator[str]:
    """Lines without comments; one that ends with a backslash goes on in the next, past comments between them."""
    begun = ""
    for raw in text.split("\n"):
        if raw.lstrip().startswith(_COMMENT):
            continue
        line = f"{begun} {raw.strip()}" if begun else raw.strip()
        begun = line[:-1].rstrip() if line.endswith("\\") else ""
        if not line.endswith("\\"):
            yield line
    if begun:
        yield begun
