# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a path really leads, found step by step, so that a storage which hangs is seen before it is touched.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import errno
import os
import posixpath
import typing as t

from ..._core.paths import below, parent
from ..._core.system.mounts import Mount
from .root import Root

_MAX_LINKS = 40
#: Longer paths of folders are not kept: a path of a thousand folders would cost megabytes.
_MAX_REMEMBERED = 1024
#: Deeper paths are compared with each mount point, not folder by folder.
_DEEP = 64


class MountTable:
    """Which mount a path lies under, by name alone: nothing is touched."""

    def __init__(self, mounts: t.Iterable[Mount]) -> None:
        self._by_point = {mount.mount: mount for mount in mounts}  # of two on one point the later one is on top
        self._hanging: dict[str, frozenset[str]] = {}
        for mount in self._by_point.values():
            if may_hang(mount):
                folder, name = posixpath.split(mount.mount)
                self._hanging[folder] = self._hanging.get(folder, frozenset()) | {name}

    def of(self, path: str) -> Mount | None:
        """The mount of an absolute path without links."""
        if path.count("/") > _DEEP:
            points = [point for point in self._by_point if below(path, point)]
            return self._by_point[max(points, key=len)] if points else None
        while path not in self._by_point:
            if path in ("/", "") or not path.startswith("/"):
                return None
            path = parent(path)
        return self._by_point[path]

    def on_device(self, device: str) -> list[Mount]:
        """Mounts of the file system with this device number, or of parts of it."""
        return [mount for mount in self._by_point.values() if mount.device == device]

    def hanging_in(self, folder: str) -> frozenset[str]:
        """Names in a folder at which another storage that may hang is mounted: looking at one is touching it."""
        return self._hanging.get(folder.rstrip("/") or "/", frozenset())

    def under(self, folder: str) -> list[Mount]:
        """Mounts at or below a folder."""
        start = folder.rstrip("/") + "/"
        return [mount for point, mount in self._by_point.items() if point == folder or point.startswith(start)]

    def of_type(self, type_: str) -> list[Mount]:
        """Mounts of file systems of this type, by mount point."""
        return sorted((mount for mount in self._by_point.values() if mount.type == type_), key=lambda item: item.mount)

    def remote(self) -> list[Mount]:
        """Mounts of network and cluster file systems, by mount point."""
        return sorted((mount for mount in self._by_point.values() if mount.remote), key=lambda mount: mount.mount)


def may_hang(mount: Mount | None) -> bool:
    """Whether reading a file there may hang: its storage is a network, a cluster or a daemon."""
    return mount is not None and (mount.remote or mount.type.startswith("fuse") or mount.type == "autofs")


class Paths:
    """Follows links within one view of the host's files; folders are remembered."""

    def __init__(self, root: Root, mounts: MountTable, prefix: str = "", enter: bool = False) -> None:
        """``prefix`` goes before every path that is touched: /proc/PID/root for a guest's own view.

        Without ``enter``, nothing on storage that may hang is touched, and a path ends as it is where it gets there.
        """
        self._root = root
        self._mounts = mounts
        self._prefix = prefix
        self._enter = enter
        self._folders: dict[str, str] = {}

    def resolve(self, path: str) -> str:
        """The path without links, as far as it may be followed. Raises OSError for a loop."""
        head, tail = posixpath.split(path.rstrip("/") or "/")
        return self._walk(self._folder(head), tail)

    def until(self, folder: str, path: str) -> str:
        """The path with its links followed up to where they first enter a folder; nothing in there is touched.

        Raises OSError for a loop.
        """
        return _Until(self._root, self._mounts, self._prefix, self._enter, folder).resolve(path)

    def _folder(self, path: str) -> str:
        """A folder without links. Its parents are resolved first, one by one: a path may have thousands."""
        unknown: list[str] = []
        while path not in self._folders and path not in ("/", ""):
            unknown.append(path)
            path = parent(path)
        folder = self._folders.get(path, "/")
        for path in reversed(unknown):
            folder = self._walk(folder, posixpath.basename(path))
            if len(path) <= _MAX_REMEMBERED:
                self._folders[path] = folder
        return folder

    def _walk(self, folder: str, name: str) -> str:
        """A name in a folder without links; where it is a link, its target."""
        names, links = [name], 0  # the next name is the last
        while names:
            name = names.pop()
            if name == "..":
                folder = posixpath.dirname(folder)
            if name in ("", ".", ".."):
                continue
            target = self._target(posixpath.join(folder, name))
            if target is None:
                folder = posixpath.join(folder, name)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), posixpath.join(folder, name))
            folder = "/" if target.startswith("/") else folder
            names += reversed(target.split("/"))
        return folder

    def _target(self, path: str) -> str | None:
        """The target of a link; None for what is no link, is not there, or may not be touched."""
        if not self._enter and may_hang(self._mounts.of(path)):
            return None
        try:
            return self._root.readlink(self._prefix + path)
        except OSError:
            return None


class _Until(Paths):
    """Follows links up to a folder."""

    def __init__(self, root: Root, mounts: MountTable, prefix: str, enter: bool, folder: str) -> None:
        super().__init__(root, mounts, prefix, enter)
        self._end = folder

    def _target(self, path: str) -> str | None:
        return None if below(posixpath.dirname(path), self._end) else super()._target(path)
