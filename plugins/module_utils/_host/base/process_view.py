# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files as another process sees them: its mount namespace, and its root where it runs in a container.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from ..._core.errors import HostReadError
from ..._core.paths import below, parent
from ..._core.system.mounts import parse_mountinfo
from .paths import MountTable, Paths, may_hang
from .root import Root

_MISSING = (FileNotFoundError, NotADirectoryError)


class ProcessView:
    """The files of a process, read through /proc/PID/root."""

    def __init__(self, root: Root, pid: int) -> None:
        self._root = root
        self._proc = f"/proc/{pid}"
        self.prefix = f"{self._proc}/root"
        # Links are resolved here and not by the kernel, which would follow an absolute one to the reader's own root.
        self._paths = Paths(root, MountTable(()), self.prefix)

    def shares(self, path: str) -> bool | None:
        """Whether this path is one and the same file for the process and for the reader; None: unknown."""
        try:
            if self._root.readlink(f"{self._proc}/ns/mnt") == self._root.readlink("/proc/self/ns/mnt"):
                return True
        except FileNotFoundError:
            pass
        except OSError:
            return None
        try:
            self._root.stat(f"{self.prefix}/")
            while True:
                own, other = self._identity(path), self._identity_here(path)
                if own is not None or other is not None or path in ("/", ""):
                    return own == other
                path = parent(path)  # neither has it: do they at least have one folder?
        except OSError:
            return None

    def has_own_root(self, mounts: MountTable) -> bool:
        """Whether its root is another file system than the host's, as in a container. ``mounts`` are the host's."""
        try:
            if self._identity("/") == self._identity_here("/"):
                return False  # as most are: their mounts need not be read
        except OSError:
            return False
        own, other = self._mounts().of("/"), mounts.of("/")
        return own is not None and other is not None and (own.device, own.root) != (other.device, other.root)

    def host_path(self, real: str, mounts: MountTable) -> str | None:
        """The path on the host of a file of the process; None where no mount of the host shows it.

        ``real`` has no links, ``mounts`` are the host's. Looks at the file, whatever storage it is on.
        """
        own = self._mounts().of(real)
        if own is None or own.device is None:
            return None
        within = posixpath.join(own.root, posixpath.relpath(real, own.mount))
        for mount in mounts.on_device(own.device):
            if below(within, mount.root):
                path = posixpath.normpath(posixpath.join(mount.mount, posixpath.relpath(within, mount.root)))
                try:
                    if self._identity_here(path) == self._identity(real):
                        return path
                except OSError:
                    continue
        return None

    def read_text(self, path: str, limit: int) -> str:
        """A regular file of the process. Raises OSError and HostReadError.

        The process may be hostile to the reader: no link leads out of its root, no special file and no storage that
        may hang is opened.
        """
        real = self._paths.resolve(path)
        where = self.prefix + real
        if may_hang(self._mounts().of(real)):
            raise HostReadError(f"{where} lies on storage that may not answer")
        before = self._root.lstat(where)
        if not stat.S_ISREG(before.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", where)
        text = self._root.read_text(where, limit)
        after = self._root.lstat(where)
        if (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino) or self._fresh(path) != real:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), where)
        return text

    def changed_at(self, path: str) -> float:
        """When a file of the process was changed. Raises OSError."""
        return float(self._root.lstat(self.prefix + self._paths.resolve(path)).st_mtime)

    def _fresh(self, path: str) -> str:
        return Paths(self._root, MountTable(()), self.prefix).resolve(path)

    def _mounts(self) -> MountTable:
        try:
            return MountTable(parse_mountinfo(self._root.read_text(f"{self._proc}/mountinfo")))
        except (OSError, HostReadError):
            return MountTable(())

    def _identity(self, path: str) -> tuple[int, int] | None:
        try:
            facts = self._root.stat(self.prefix + self._paths.resolve(path))
        except _MISSING:
            return None
        return facts.st_dev, facts.st_ino

    def _identity_here(self, path: str) -> tuple[int, int] | None:
        try:
            facts = self._root.stat(path)
        except _MISSING:
            return None
        return facts.st_dev, facts.st_ino
