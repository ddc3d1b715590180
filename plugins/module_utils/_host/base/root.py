# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access to a host's files: every read is bounded, nothing is written, and tests can pass a captured tree.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import errno
import os
import typing as t

from ..._core.errors import HostReadError, SvirtError
from ..._core.result import Reason

#: The largest file that a reader takes whole.
MAX_FILE = 4 * 1024 * 1024
#: Names read from one folder at most.
MAX_NAMES = 100_000

# A special file under a configuration file's name must not hold the reader up.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NO_XATTR = (errno.ENODATA, errno.EOPNOTSUPP)


class Stat(t.Protocol):
    """What the readers use of os.stat_result."""

    @property
    def st_mode(self) -> int: ...
    @property
    def st_ino(self) -> int: ...
    @property
    def st_dev(self) -> int: ...
    @property
    def st_size(self) -> int: ...
    @property
    def st_rdev(self) -> int: ...
    @property
    def st_uid(self) -> int: ...
    @property
    def st_gid(self) -> int: ...
    @property
    def st_mtime(self) -> float: ...
    @property
    def st_ctime(self) -> float: ...


class Root:
    """The host that this process runs on. Paths are absolute; bytes that are no UTF-8 become surrogates."""

    @property
    def privileged(self) -> bool:
        """Whether this process may look everywhere."""
        return os.geteuid() == 0

    def peek(self, path: str, size: int = 4096) -> bytes:
        """The first bytes of a file, by one read: for the small files of /proc and /sys. Raises OSError."""
        handle = os.open(path, _READ)
        try:
            return os.read(handle, size)
        finally:
            os.close(handle)

    def read_bytes(self, path: str, limit: int = MAX_FILE) -> bytes:
        """A whole file. Raises OSError, and HostReadError for a file above the limit."""
        handle = os.open(path, _READ)
        try:
            parts: list[bytes] = []
            size = 0
            while size <= limit:
                part = os.read(handle, 65536)
                if not part:
                    return b"".join(parts)
                parts.append(part)
                size += len(part)
        finally:
            os.close(handle)
        raise HostReadError(f"{path} is larger than {limit} bytes", "too_large")

    def holds(self, path: str, content: bytes, limit: int = MAX_FILE) -> bool:
        """Whether a file holds these bytes within the limit; little of it is in memory at a time. Raises OSError."""
        handle = os.open(path, _READ)
        try:
            rest, size = b"", 0
            while size < limit:
                part = os.read(handle, 1 << 20)
                if not part:
                    return False
                if content in rest + part:
                    return True
                rest = part[1 - len(content) :]
                size += len(part)
            return False
        finally:
            os.close(handle)

    def transact(self, path: str, request: bytes) -> bytes:
        """Ask one of selinuxfs's question files: write the question, read the answer. Raises OSError."""
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(handle, request)
            return os.read(handle, 4096)
        finally:
            os.close(handle)

    def listdir(self, path: str) -> list[str]:
        """The names in a folder, sorted. Raises OSError, and HostReadError for a folder that has too many."""
        names = os.listdir(path)
        if len(names) > MAX_NAMES:
            raise HostReadError(f"{path} holds more than {MAX_NAMES} names", "too_many_names")
        return sorted(names)

    def scan(self, path: str, untouched: t.Container[str] = ()) -> t.Iterator[tuple[str, bool]]:
        """Each name in a folder, and whether it is a folder itself; links are not followed. Raises OSError.

        ``untouched`` names are left out: where the file system gives no types, each file has to be looked at.
        """
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name not in untouched:
                    yield entry.name, entry.is_dir(follow_symlinks=False)

    def stat(self, path: str) -> Stat:
        """Facts about the file, links followed. Raises OSError."""
        return os.stat(path)

    def lstat(self, path: str) -> Stat:
        """Facts about the file or the link itself. Raises OSError."""
        return os.lstat(path)

    def readlink(self, path: str) -> str:
        """The text of a link. Raises OSError; EINVAL: it is no link."""
        return os.readlink(path)

    def getxattr(self, path: str, name: str, follow: bool = True) -> bytes | None:
        """An extended attribute; None where the file or its file system has none. Raises OSError."""
        try:
            return os.getxattr(path, name, follow_symlinks=follow)
        except OSError as error:
            if error.errno in _NO_XATTR:
                return None
            raise

    def listxattr(self, path: str) -> list[str]:
        """The names of extended attributes that this process may see. Raises OSError."""
        try:
            return os.listxattr(path)
        except OSError as error:
            if error.errno in _NO_XATTR:
                return []
            raise

    def exists(self, path: str) -> bool:
        """Whether something is there, links followed."""
        try:
            self.stat(path)
        except OSError:
            return False
        return True

    def read_text(self, path: str, limit: int = MAX_FILE) -> str:
        """A whole file as text. Raises OSError, and HostReadError for a file above the limit."""
        return text_of(self.read_bytes(path, limit))

    def line(self, path: str) -> str | None:
        """The first line of a small file, without the spaces around it; None when it cannot be read."""
        try:
            content = self.peek(path)
        except OSError:
            return None
        return text_of(content.split(b"\n", 1)[0]).strip()

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted; none when there is no such folder. Raises OSError for other trouble."""
        try:
            return self.listdir(path)
        except (FileNotFoundError, NotADirectoryError):
            return []


def text_of(content: bytes) -> str:
    """Bytes of a host as text; nothing is lost."""
    return content.decode("utf-8", "surrogateescape")


def label_of(content: bytes | None) -> str | None:
    """A label as text, without the closing NUL."""
    return text_of(content).rstrip("\0\n") or None if content is not None else None


def trouble(error: BaseException, code: str = "unreadable") -> Reason:
    """An error as a reason, for coverage: with a code of its own where it has one, else with ``code``."""
    own = error.code if isinstance(error, SvirtError) else SvirtError.code
    return Reason(code if own == SvirtError.code else own, reason(error))


def reason(error: BaseException) -> str:
    """The text of an error, bounded, for coverage."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"[:500]
    return (str(error) or type(error).__name__)[:500]
