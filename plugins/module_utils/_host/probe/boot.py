# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the boot loaders, read as text. Who asked for them lists the entries.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import os
import posixpath

from ..._core.errors import HostReadError
from ..._core.system.boot_loaders.files import ENTRY_FILES, MAX_FILES, MAX_TEXT, BootFiles, root_names
from ..._core.system.mounts import Mount, parse_mountinfo
from ..base.root import Root, reason
from . import system

_BY_TAG = {
    "UUID": "/dev/disk/by-uuid",
    "PARTUUID": "/dev/disk/by-partuuid",
    "LABEL": "/dev/disk/by-label",
    "PARTLABEL": "/dev/disk/by-partlabel",
}


def read_files(root: Root) -> BootFiles:
    """The files that hold entries."""
    files = BootFiles()
    for pattern in ENTRY_FILES:
        take(root, files, pattern)
    _read_host(root, files)
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
    tags = [name for name in _names(root, _BY_TAG["UUID"]) if _numbers(root, f"{_BY_TAG['UUID']}/{name}") == own]
    for value in (*root_names(files.texts.values()), *(f"UUID={name}" for name in tags[:1])):
        same = _is_root(root, value, own, bool(tags))
        # btrfs may have several devices, and any of them names it.
        if same or (same is False and mounted.type != "btrfs"):
            files.host.roots[value] = same


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
    return "".join(char if char.isalnum() or char in "#+-.:=@_" else _escaped(char) for char in name.strip('"'))


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def take(root: Root, files: BootFiles, pattern: str) -> None:
    """Read the files of one pattern that were not read yet."""
    for path in _paths(root, pattern, files.problems):
        text = system.read_or_none(root, path, files.problems)
        if text is None or _read_before(root, files, path):
            continue
        if not files.add(path, text):
            bounds = f"{MAX_FILES} files or {MAX_TEXT} characters"
            files.problems.append(f"{path}: not read, as all files of the boot loaders have more than {bounds}")
            return


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
