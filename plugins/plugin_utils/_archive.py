# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the watch's program: a zip archive that Python runs, with the collection's own sources and nothing else.

The same sources give the same bytes on every controller: nothing is compressed, and no file has a time of its own.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import ast
import functools
import io
import zipfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "module_utils"
PACKAGE = "svirt_fleet"
_START = ("_watch", "main.py")
_MAIN = f"""import sys

from {PACKAGE}._watch.main import main

sys.exit(main(sys.argv[1:]))
"""
_TIME = (1980, 1, 1, 0, 0, 0)


@functools.cache
def program() -> bytes:
    """The archive."""
    files = _closure(SOURCES.joinpath(*_START))
    names = {"__main__.py": _MAIN}
    for path in files:
        inside = path.relative_to(SOURCES)
        names[f"{PACKAGE}/{inside.as_posix()}"] = path.read_text(encoding="utf-8")
        for folder in (Path(), *inside.parents):
            names.setdefault((Path(PACKAGE) / folder / "__init__.py").as_posix(), "")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, text in sorted(names.items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, text)
    return content.getvalue()


def _closure(start: Path) -> set[Path]:
    """A file, and all files of the collection that it imports, directly or not."""
    found: set[Path] = set()
    rest = [start]
    while rest:
        path = rest.pop()
        if path not in found:
            found.add(path)
            rest += _imported(path)
    return found


def _imported(path: Path) -> list[Path]:
    """Files of the collection that a file imports, at its top or inside of a function."""
    files = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            places = [base, *(base / alias.name for alias in node.names)]
            files += [file for place in places if (file := place.with_suffix(".py")).is_file()]
    return files
