# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host as data: built by hand or captured from a real one, it stands in for the host's own files.

A machine without SELinux cannot hold the labels that a captured tree has, so they are kept beside the files.

A captured host is a folder with ``manifest.json``: path -> entry. An entry has ``type`` (one of f d l b c s p, as find
writes it) and, where they are not the usual ones, mode, uid, gid, ino, dev, rdev, mtime,
link (text of a symbolic link), xattrs
(name -> base64), errno (every look at it fails so), and its content as ``text`` or, where it is no UTF-8, ``data``
(base64). ``answers`` beside the paths holds what /sys/fs/selinux/access said: question -> answer;
a question to /sys/fs/selinux/create begins with "create ". ``libvirt`` holds
what the daemon answered: items as ``_host.probe.libvirt_reader.ask`` gives them.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import posixpath
import stat
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostReadError
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.root import MAX_FILE, Root

#: Question -> answer, as in ``Tree.answers``; None for a label that the policy does not know.
Policy = t.Callable[[str], t.Optional[str]]

_FORMATS = {
    "f": stat.S_IFREG,
    "d": stat.S_IFDIR,
    "l": stat.S_IFLNK,
    "b": stat.S_IFBLK,
    "c": stat.S_IFCHR,
    "s": stat.S_IFSOCK,
    "p": stat.S_IFIFO,
}
DEVICE = os.makedev(254, 1)
_MAX_LINKS = 40


@dataclass
class Entry:
    """One file, as os.stat_result has it, with its content and its extended attributes."""

    type: str = "f"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    ino: int = 0
    dev: int = DEVICE
    rdev: int = 0
    mtime: float = 0.0
    link: str = ""
    content: bytes = b""
    xattrs: dict[str, bytes] = field(default_factory=dict)
    errno: int = 0

    @property
    def st_mode(self) -> int:
        return _FORMATS[self.type] | self.mode

    @property
    def st_ino(self) -> int:
        return self.ino

    @property
    def st_dev(self) -> int:
        return self.dev

    @property
    def st_size(self) -> int:
        return len(self.content)

    @property
    def st_rdev(self) -> int:
        return self.rdev

    @property
    def st_uid(self) -> int:
        return self.uid

    @property
    def st_gid(self) -> int:
        return self.gid

    @property
    def st_mtime(self) -> float:
        return self.mtime

    @property
    def st_ctime(self) -> float:
        return self.mtime


@dataclass
class Tree:
    """The files of a host, by path."""

    entries: dict[str, Entry] = field(default_factory=lambda: {"/": Entry("d", 0o755, ino=2)})
    answers: dict[str, str] = field(default_factory=dict)
    libvirt: list[dict[str, t.Any]] = field(default_factory=list)
    numbered: int = 0

    def add(self, path: str, entry: Entry) -> Entry:
        """Put a file there, with the folders above it."""
        entry.ino = entry.ino or self._number()
        self.entries[path] = entry
        while path != "/":
            path = posixpath.dirname(path)
            if path not in self.entries:
                self.entries[path] = Entry("d", 0o755, ino=self._number())
        return entry

    def _number(self) -> int:
        """An inode number that no other file of the tree got."""
        self.numbered += 1
        return 1_000_000_000 + self.numbered

    def file(self, path: str, text: str | bytes = "", label: str | None = None, **facts: t.Any) -> Entry:
        """A plain file, or another type by ``type``."""
        content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        entry = self.add(path, Entry(content=content, **facts))
        if label is not None:
            entry.xattrs["security.selinux"] = label.encode() + b"\0"
        return entry

    def link(self, path: str, target: str) -> Entry:
        """A symbolic link."""
        return self.add(path, Entry("l", 0o777, link=target))

    def folder(self, path: str, label: str | None = None, **facts: t.Any) -> Entry:
        """A folder."""
        return self.file(path, b"", label, type="d", **{"mode": 0o755, **facts})

    def remembers(self, path: str, label: str, references: int, timestamp: str = "1700000000") -> None:
        """What libvirt remembers of a file."""
        values = {"selinux": label, "ref_selinux": str(references), "timestamp_selinux": timestamp}
        for name, value in values.items():
            self.entries[path].xattrs[f"trusted.libvirt.security.{name}"] = value.encode() + b"\0"

    def load(self, folder: Path) -> Tree:
        """Add a captured host."""
        document = json.loads((folder / "manifest.json").read_text())
        self.answers.update(document.pop("answers", {}))
        self.libvirt += document.pop("libvirt", [])
        for path, facts in document.items():
            plain = {key: value for key, value in facts.items() if key not in ("xattrs", "text", "data")}
            entry = self.add(path, Entry(**plain))
            entry.xattrs = {name: base64.b64decode(value) for name, value in facts.get("xattrs", {}).items()}
            text, data = facts.get("text", ""), facts.get("data", "")
            entry.content = text.encode() if text else base64.b64decode(data)
        return self


class CapturedRoot(Root):
    """A tree in the place of the host."""

    def __init__(self, tree: Tree, policy: Policy | None = None, root: bool = True) -> None:
        self._tree = tree
        self._policy = policy or tree.answers.get
        self._root = root

    @property
    def privileged(self) -> bool:
        return self._root

    def peek(self, path: str, size: int = 4096) -> bytes:
        return self._file(path).content[:size]

    def read_bytes(self, path: str, limit: int = MAX_FILE) -> bytes:
        content = self._file(path).content
        if len(content) > limit:
            raise HostReadError(f"{path} is larger than {limit} bytes", "too_large")
        return content

    def holds(self, path: str, content: bytes, limit: int = MAX_FILE) -> bool:
        return content in self._file(path).content[:limit]

    def transact(self, path: str, request: bytes) -> bytes:
        queries = {"/sys/fs/selinux/access": "", "/sys/fs/selinux/create": "create "}
        if not self._root:
            raise _error(errno.EACCES, path)
        answer = self._policy(queries[path] + request.decode())
        if answer is None:
            raise _error(errno.EINVAL, path)
        return answer.encode()

    def listdir(self, path: str) -> list[str]:
        return sorted(name for name, _folder in self.scan(path))

    def scan(self, path: str, untouched: t.Container[str] = ()) -> t.Iterator[tuple[str, bool]]:
        real, entry = self._find(path, follow=True)
        if entry.type != "d":
            raise _error(errno.ENOTDIR, path)
        start = real.rstrip("/") + "/"
        for other, item in sorted(self._tree.entries.items()):
            name = other[len(start) :]
            if other.startswith(start) and other != start and "/" not in name and name not in untouched:
                yield name, item.type == "d"

    def stat(self, path: str) -> Entry:
        return self._find(path, follow=True)[1]

    def lstat(self, path: str) -> Entry:
        return self._find(path, follow=False)[1]

    def readlink(self, path: str) -> str:
        entry = self.lstat(path)
        if entry.type != "l":
            raise _error(errno.EINVAL, path)
        return entry.link

    def getxattr(self, path: str, name: str, follow: bool = True) -> bytes | None:
        return self._find(path, follow)[1].xattrs.get(name)

    def listxattr(self, path: str) -> list[str]:
        return sorted(self.stat(path).xattrs)

    def _file(self, path: str) -> Entry:
        entry = self.stat(path)
        if entry.type == "d":
            raise _error(errno.EISDIR, path)
        return entry

    def _find(self, path: str, follow: bool, links: int = 0) -> tuple[str, Entry]:
        """The path without links, and what is there. Raises OSError as the kernel would."""
        if "\0" in path:
            raise ValueError("embedded null byte")
        real = "/"
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for index, part in enumerate(parts):
            real = posixpath.dirname(real) if part == ".." else posixpath.join(real, part)
            entry = self._tree.entries.get(real)
            if entry is None:
                raise _error(errno.ENOENT, path)
            if entry.errno:
                raise _error(entry.errno, path)
            last = index == len(parts) - 1
            if entry.type == "l" and (follow or not last):
                if links > _MAX_LINKS:
                    raise _error(errno.ELOOP, path)
                target = posixpath.join(posixpath.dirname(real), entry.link, *parts[index + 1 :])
                return self._find(target, follow, links + 1)
            if not last and entry.type != "d":
                raise _error(errno.ENOTDIR, path)
        return real, self._tree.entries[real]


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)
