# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a host, changed whole or not at all, and put back as they were.

A new file is written beside the old one, with its owner, mode and extended attributes (its label among them), brought
to the disk, and moved in place. A reader sees the old file or the new one; a crash leaves one of them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import stat
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import HostWriteError
from .journal import Entry, Journal, sync_folder
from .root import reason

KIND = "file"
LABEL = "security.selinux"
#: The largest file that is kept in the journal.
MAX_FILE = 8 * 1024 * 1024

_MARK = ".svirt-fleet-new"
_NO_XATTR = (errno.ENODATA, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class FileState:
    """A file as it is; ``content`` is None where there is none."""

    content: bytes | None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)

    def document(self) -> dict[str, t.Any]:
        """As JSON, for the journal."""
        if self.content is None:
            return {"content": None}
        return {
            "content": _text(self.content),
            "mode": self.mode,
            "uid": self.uid,
            "gid": self.gid,
            "xattrs": {name: _text(value) for name, value in sorted(self.xattrs.items())},
        }

    @classmethod
    def of(cls, document: dict[str, t.Any]) -> FileState:
        """From the journal."""
        if document["content"] is None:
            return cls(None)
        xattrs = {name: base64.b64decode(value) for name, value in document["xattrs"].items()}
        return cls(base64.b64decode(document["content"]), document["mode"], document["uid"], document["gid"], xattrs)


def state_of(path: str) -> FileState:
    """The file as it is now, links followed. Raises HostWriteError for what is no plain file or cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return FileState(None)
    except OSError as error:
        raise HostWriteError(f"{path} cannot be read: {reason(error)}") from error
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_FILE:
            raise HostWriteError(f"{path} is not a plain file of at most {MAX_FILE} bytes; it was left alone")
        with open(handle, "rb", closefd=False) as file:
            content = file.read(MAX_FILE + 1)
        return FileState(content, stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, _xattrs(handle))
    except OSError as error:
        raise HostWriteError(f"{path} cannot be read: {reason(error)}") from error
    finally:
        os.close(handle)


def change_file(
    path: str, content: bytes | None, journal: Journal, *, mode: int | None = None, label: str | None = None
) -> FileState:
    """Give the file this content, or remove it (None); what it was goes into the journal first, and is given back.

    Owner, mode and extended attributes stay. A new file gets ``mode`` (0644) and, where the host has labels, ``label``.
    Raises HostWriteError and JournalError; the file is then as it was.
    """
    path = os.path.realpath(path)  # a link to the file stays a link
    before = state_of(path)
    journal.record([Entry(KIND, path, before.document())])
    if before.content is None:
        xattrs = {LABEL: label.encode() + b"\0"} if label else {}
        put_file(path, FileState(content, 0o644 if mode is None else mode, 0, 0, xattrs))
    else:
        keep = before.mode if mode is None else mode
        put_file(path, FileState(content, keep, before.uid, before.gid, before.xattrs))
    return before


def put_file(path: str, state: FileState) -> None:
    """Make the file be like this, whole or not at all. Raises HostWriteError; the file is then as it was."""
    folder, name = os.path.split(path)
    fresh = os.path.join(folder, f".{name}{_MARK}")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)  # left by a run that was killed; the journal's lock says that none is alive
        if state.content is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        else:
            _write(fresh, state)
            os.rename(fresh, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise HostWriteError(f"{path} cannot be written: {reason(error)}; it is as it was") from error
    with contextlib.suppress(OSError):  # changed it is; a folder that cannot be opened is no reason to say otherwise
        sync_folder(folder)


def restore(entry: Entry) -> None:
    """Put a file back as the journal has it."""
    put_file(entry.subject, FileState.of(entry.before))


def _write(path: str, state: FileState) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        content = memoryview(state.content or b"")
        while content:
            content = content[os.write(handle, content) :]
        os.fchown(handle, state.uid, state.gid)
        os.fchmod(handle, state.mode)
        for name, value in state.xattrs.items():
            os.setxattr(handle, name, value)
        os.fsync(handle)
    finally:
        os.close(handle)


def _xattrs(handle: int) -> dict[str, bytes]:
    try:
        return {name: os.getxattr(handle, name) for name in os.listxattr(handle)}
    except OSError as error:
        if error.errno in _NO_XATTR:
            return {}
        raise


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
