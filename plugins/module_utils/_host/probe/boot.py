# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the boot loaders, read as the kinds of loaders name them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t

from ..._core.errors import HostReadError
from ..._core.snapshot.model import BootEntry
from ..._core.system.boot_loaders.kinds import KINDS
from ..._core.system.boot_loaders.loader import BootFiles, BootProgram
from ..base.root import Root, reason

_MAX_ENTRIES = 1000


def entries(root: Root) -> tuple[list[BootEntry], list[str]]:
    """Every boot entry, and what could not be read."""
    files = read_files(root)
    listed = [entry for kind in KINDS for entry in kind.entries(files)]
    problems = files.problems
    if len(listed) > _MAX_ENTRIES:
        problems.append(f"only {_MAX_ENTRIES} of {len(listed)} boot entries are kept")
    if not listed and not problems:
        problems.append("no GRUB configuration and no boot loader entries were found")
    return listed[:_MAX_ENTRIES], problems


def read_files(root: Root) -> BootFiles:
    """The files that hold entries."""
    files = BootFiles()
    for pattern in _patterns(kind.entry_files for kind in KINDS):
        _take(root, files, pattern)
    return files


def read_all(root: Root, find: t.Callable[[str], str | None]) -> BootFiles:
    """The files that hold entries, those that entries are made from, and the programs that make them."""
    files = read_files(root)
    if not (files.texts or files.problems):
        files.problems.append("no GRUB configuration and no boot loader entries were found")
    for pattern in _patterns(kind.setting_files for kind in KINDS):
        _take(root, files, pattern)
    for name in _patterns(kind.programs for kind in KINDS):
        path = find(name)
        if path is not None:
            files.programs[name] = BootProgram(path, _script(root, path))
    return files


def _patterns(groups: t.Iterable[t.Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


def _take(root: Root, files: BootFiles, pattern: str) -> None:
    """Read the files of one pattern that were not read yet."""
    for path in _paths(root, pattern, files.problems):
        text = _text(root, path, files.problems)
        if text is not None and not _read_before(root, files, path):
            files.texts[path] = text


def _read_before(root: Root, files: BootFiles, path: str) -> bool:
    """Whether the file was read under another path: /efi and /boot/efi may be one folder."""
    name = posixpath.basename(path)
    others = [other for other in files.texts if posixpath.basename(other) == name]
    try:
        own = root.stat(path) if others else None
        stats = [root.stat(other) for other in others]
    except OSError:
        return path in others
    return own is not None and (own.st_dev, own.st_ino) in [(stat.st_dev, stat.st_ino) for stat in stats]


def _paths(root: Root, pattern: str, problems: list[str]) -> list[str]:
    before, star, after = pattern.partition("*")
    if not star:
        return [pattern]
    folder = posixpath.dirname(before)
    ending, slash, rest = after.partition("/")
    try:
        names = [name for name in root.names(folder) if name.endswith(ending) and not name.startswith(".")]
    except (OSError, HostReadError) as error:
        problems.append(reason(error))
        return []
    return [f"{folder}/{name}{slash}{rest}" for name in names]


def _text(root: Root, path: str, problems: list[str]) -> str | None:
    try:
        return root.read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, HostReadError) as error:
        problems.append(reason(error))
        return None


def _script(root: Root, path: str) -> str:
    """The text of a program that is a script; empty for others."""
    try:
        return root.read_text(path) if root.peek(path, 2) == b"#!" else ""
    except (OSError, HostReadError):
        return ""
