# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the boot loaders, read as the kinds of loaders name them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import os
import posixpath
import typing as t

from ..._core.errors import HostReadError
from ..._core.result import Reason
from ..._core.snapshot.model import BootEntry
from ..._core.system.boot_loaders.kinds import KINDS, doubts_of, entries_of
from ..._core.system.boot_loaders.loader import BootFiles, BootProgram
from ..._core.system.boot_loaders.ownership import root_of
from ..._core.system.mounts import Mount, parse_mountinfo
from ..base.root import Root, reason
from . import system

_BY_TAG = {
    "UUID": "/dev/disk/by-uuid",
    "PARTUUID": "/dev/disk/by-partuuid",
    "LABEL": "/dev/disk/by-label",
    "PARTLABEL": "/dev/disk/by-partlabel",
}
_MAX_ENTRIES = 1000
_NONE_FOUND = "no GRUB configuration and no boot loader entries were found"


def entries(root: Root) -> tuple[list[BootEntry], list[Reason]]:
    """Every boot entry, and what could not be read or followed."""
    files = read_files(root)
    listed = entries_of(files)
    problems = [Reason("boot_files_unread", why) for why in files.problems]
    problems += [Reason("boot_text_unclear", why) for why in doubts_of(files)]
    if len(listed) > _MAX_ENTRIES:
        problems.append(Reason("too_many_entries", f"only {_MAX_ENTRIES} of {len(listed)} boot entries are kept"))
    if not listed and not problems:
        problems.append(Reason("no_boot_entry", _NONE_FOUND))
    return listed[:_MAX_ENTRIES], problems


def read_files(root: Root) -> BootFiles:
    """The files that hold entries."""
    files = BootFiles()
    for pattern in _patterns(kind.entry_files for kind in KINDS):
        _take(root, files, pattern)
    _read_host(root, files)
    return files


def read_all(root: Root, find: t.Callable[[str], str | None]) -> BootFiles:
    """The files that hold entries, those that entries are made from, and the programs that make them."""
    files = read_files(root)
    if not (files.texts or files.problems):
        files.problems.append(_NONE_FOUND)
    for pattern in _patterns(kind.setting_files for kind in KINDS):
        _take(root, files, pattern)
    for name in _patterns(kind.programs for kind in KINDS):
        path = find(name)
        if path is not None:
            files.programs[name] = BootProgram(path, _script(root, path))
    return files


def _read_host(root: Root, files: BootFiles) -> None:
    """What tells this host's entries from those of other systems."""
    release = system.os_release(root)
    files.host.cmdline = root.line("/proc/cmdline") or ""
    files.host.machine_id = root.line("/etc/machine-id") or None
    files.host.os_ids = tuple(filter(None, (release.get("ID"), *release.get("ID_LIKE", "").split())))
    try:
        mounts = parse_mountinfo(root.read_text("/proc/self/mountinfo"))
    except (OSError, HostReadError):
        mounts = []
    mounted = next((mount for mount in reversed(mounts) if mount.mount == "/"), None)
    if mounted is not None:
        files.host.root_source = mounted.source
    own = _device(root, mounted) if mounted is not None else None
    if mounted is None or own is None:
        return
    tagged = any(_numbers(root, f"{_BY_TAG['UUID']}/{name}") == own for name in _names(root, _BY_TAG["UUID"]))
    for value in {root_of(entry.arguments) for kind in KINDS for entry in kind.entries(files)}:
        same = _is_root(root, value, own, tagged)
        # btrfs may have several devices, and any of them names it.
        files.host.roots[value] = None if same is False and mounted.type == "btrfs" else same


def _is_root(root: Root, value: str, own: str, tagged: bool) -> bool | None:
    """Whether ``root=`` names the device ``own``; None where that is not known.

    ``tagged``: udev has made links for the device. A link that is not there then names no tag of it.
    """
    tag, equals, name = value.partition("=")
    by_tag = bool(equals) and tag in _BY_TAG
    path = f"{_BY_TAG[tag]}/{_encoded(name)}" if by_tag else value
    if not path.startswith("/dev/") or "/.." in path or "/PARTNROFF" in value:
        return None
    numbers = _numbers(root, path)
    if numbers is not None:
        return numbers == own
    return False if tagged and (by_tag or posixpath.dirname(path) == "/dev") and not root.exists(path) else None


def _numbers(root: Root, path: str) -> str | None:
    """MAJOR:MINOR of a device; None when there is none."""
    try:
        number = root.stat(path).st_rdev
    except OSError:
        return None
    return f"{os.major(number)}:{os.minor(number)}" if number else None


def _names(root: Root, folder: str) -> list[str]:
    try:
        return root.names(folder)
    except (OSError, HostReadError):
        return []


def _device(root: Root, mounted: Mount) -> str | None:
    """MAJOR:MINOR of the device that the root file system is on; None for one without such a device."""
    if mounted.device is not None and not mounted.device.startswith("0:"):
        return mounted.device
    return _numbers(root, mounted.source) if mounted.source.startswith("/dev/") else None


def _encoded(name: str) -> str:
    """The name of a link that udev makes for a tag."""
    return "".join(
        char if char.isalnum() or char in "#+-.:=@_" else "".join(f"\\x{byte:02x}" for byte in char.encode())
        for char in name.strip('"')
    )


def _patterns(groups: t.Iterable[t.Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


def _take(root: Root, files: BootFiles, pattern: str) -> None:
    """Read the files of one pattern that were not read yet."""
    for path in _paths(root, pattern, files.problems):
        text = system.read_or_none(root, path, files.problems)
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


def _script(root: Root, path: str) -> str:
    """The text of a program that is a script; empty for others."""
    try:
        return root.read_text(path) if root.peek(path, 2) == b"#!" else ""
    except (OSError, HostReadError):
        return ""
