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

from ..._core.paths import below
from ..._core.system.mounts import Mount
from .root import Root

_MAX_LINKS = 40


class MountTable:
    """Which mount a path lies under, by name alone: nothing is touched."""

    def __init__(self, mounts: t.Iterable[Mount]) -> None:
        self._by_point = {mount.mount: mount for mount in mounts}  # of two on one point the later one is on top

    def of(self, path: str) -> Mount | None:
        """The mount of an absolute path without links."""
        while path not in self._by_point:
            if path in ("/", "") or not path.startswith("/"):
                return None
            path = posixpath.dirname(path)
        return self._by_point[path]

    def on_device(self, device: str | None) -> Mount | None:
        """A mount of the file system with this device number, the whole of it before a part; None: not mounted here."""
        mounts = (mount for mount in self._by_point.values() if device is not None and mount.device == device)
        return min(mounts, key=lambda mount: (mount.root != "/", mount.mount), default=None)

    def under(self, folder: str) -> list[Mount]:
        """Mounts at or below a folder."""
        start = folder.rstrip("/") + "/"
        return [mount for point, mount in self._by_point.items() if point == folder or point.startswith(start)]

    def remote(self) -> list[Mount]:
        """Mounts of network and cluster file systems, by mount point."""
        return sorted((mount for mount in self._by_point.values() if mount.remote), key=lambda mount: mount.mount)


def may_hang(mount: Mount | None) -> bool:
    """Whether looking at a file there may take for ever: a network, a cluster, or a daemon stands behind it."""
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

    def resolve(self, path: str, links: int = 0) -> str:
        """The path without links, as far as it may be followed. Raises OSError for a loop."""
        head, tail = posixpath.split(path.rstrip("/") or "/")
        if not tail:
            return "/"
        return self._step(self._folder(head, links), tail, links)

    def until(self, folder: str, path: str) -> str:
        """The path with its links followed up to where they first enter a folder; nothing in there is touched.

        Raises OSError for a loop.
        """
        return _Until(self._root, self._mounts, self._prefix, self._enter, folder).resolve(path)

    def _folder(self, path: str, links: int) -> str:
        known = self._folders.get(path)
        if known is None:
            known = self._folders[path] = self.resolve(path, links)
        return known

    def _step(self, folder: str, name: str, links: int) -> str:
        if name == ".":
            return folder
        if name == "..":
            return posixpath.dirname(folder)
        path = posixpath.join(folder, name)
        if not self._enter and may_hang(self._mounts.of(path)):
            return path
        try:
            target = self._root.readlink(self._prefix + path)
        except OSError:
            return path  # no link, or nothing there
        if links >= _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        return self.resolve(posixpath.join(folder, target), links + 1)


class _Until(Paths):
    """Follows links up to a folder."""

    def __init__(self, root: Root, mounts: MountTable, prefix: str, enter: bool, folder: str) -> None:
        super().__init__(root, mounts, prefix, enter)
        self._end = folder

    def _step(self, folder: str, name: str, links: int) -> str:
        if below(folder, self._end) and name not in (".", ".."):
            return posixpath.join(folder, name)
        return super()._step(folder, name, links)
