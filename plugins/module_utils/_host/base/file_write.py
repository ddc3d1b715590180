# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a host, changed as a whole or not at all, and restored from the journal.

A new file is written beside the old one, with its owner, mode and extended attributes (its label among them), synced to
the disk, and renamed over the old one. A reader sees the old file or the new one; a crash leaves one of them.

A file that somebody else saves in the meantime is never overwritten: it is compared again right before the rename. A
file is restored only while it is still the one that this collection wrote.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import stat
import typing as t
from dataclasses import dataclass, field, replace

from ..._core.errors import HostWriteError, PlanError
from ..._core.result import Reason
from .journal import Entry, Journal, sync_folder
from .root import reason

KIND = "file"
LABEL = "security.selinux"
#: The largest file that is kept in the journal.
MAX_FILE = 8 * 1024 * 1024

#: Code of an error or refusal: somebody else changed the file while this run was at work.
CHANGED_MEANWHILE = "changed_meanwhile"
#: Code of an error about something that is no plain file.
NOT_PLAIN = "not_a_plain_file"

_MARK = ".svirt-fleet-new"
_NO_XATTR = (errno.ENODATA, errno.EOPNOTSUPP)
#: How often a change is tried again when somebody else saves the file meanwhile.
_TRIES = 5
#: Seconds from the last record of a run to its last change of a file, where the journal does not have what was set: a
#: program of the host, such as grubby, may work on it for so long.
_SLACK = 300.0
#: Attributes that the kernel computes from the content.
_COMPUTED = ("security.ima", "security.evm")

#: New content, or a function that makes it from the present content; None: no file.
Content = t.Union[bytes, None, t.Callable[[t.Optional[bytes]], t.Optional[bytes]]]


@dataclass(frozen=True)
class FileState:
    """A file; ``content`` is None where there is none."""

    content: bytes | None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)
    #: Device, inode, size and times in nanoseconds (mtime, ctime) of the file that was read.
    identity: tuple[int, ...] = field(default=(), compare=False)

    def document(self) -> dict[str, t.Any]:
        """The state as JSON, for the journal."""
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
        """The state from the journal."""
        if document["content"] is None:
            return cls(None)
        xattrs = {name: base64.b64decode(value) for name, value in document["xattrs"].items()}
        return cls(base64.b64decode(document["content"]), document["mode"], document["uid"], document["gid"], xattrs)

    def mark(self) -> dict[str, t.Any]:
        """The state for the journal, to recognize it later: the content as a digest."""
        if self.content is None:
            return {"sha256": None}
        xattrs = {name: _text(value) for name, value in sorted(self.xattrs.items()) if name not in _COMPUTED}
        digest = hashlib.sha256(self.content).hexdigest()
        return {"sha256": digest, "mode": self.mode, "uid": self.uid, "gid": self.gid, "xattrs": xattrs}


def difference(mark: t.Mapping[str, t.Any], now: FileState, label: bool = True) -> str:
    """What of a file differs from the mark of a state, with or without its label; empty when nothing does."""
    present = now.mark()
    if present["sha256"] is None or mark["sha256"] is None:
        return (
            "" if present["sha256"] == mark["sha256"] else "it was removed" if mark["sha256"] else "it is there again"
        )
    if present["sha256"] != mark["sha256"]:
        return "its content was changed"
    if (present["uid"], present["gid"], present["mode"]) != (mark["uid"], mark["gid"], mark["mode"]):
        return "its owner or mode was changed"
    names = [
        name
        for name, value in mark["xattrs"].items()
        if present["xattrs"].get(name) != value and (label or name != LABEL)
    ]
    if names:
        return "its label was changed" if LABEL in names else f"its attribute {names[0]} was changed"
    return ""


def state_of(path: str) -> FileState:
    """The file as it is now, links followed. Raises HostWriteError for anything but a readable plain file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return FileState(None)
    except OSError as error:
        raise HostWriteError(f"{path} cannot be read: {reason(error)}", "not_readable") from error
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_FILE:
            raise HostWriteError(
                f"{path} is not a plain file of at most {MAX_FILE} bytes; it was left alone", NOT_PLAIN
            )
        with open(handle, "rb", closefd=False) as file:
            content = file.read(MAX_FILE + 1)
        mode, xattrs = stat.S_IMODE(facts.st_mode), _xattrs(handle)
        return FileState(content, mode, facts.st_uid, facts.st_gid, xattrs, _identity(facts))
    except OSError as error:
        raise HostWriteError(f"{path} cannot be read: {reason(error)}", "not_readable") from error
    finally:
        os.close(handle)


def change_file(
    path: str,
    content: Content,
    journal: Journal,
    *,
    mode: int | None = None,
    label: str | None = None,
    basis: FileState | None = None,
) -> FileState:
    """Give the file this content, or remove it (None), after its state is in the journal; gives its former state.

    Owner, mode and extended attributes stay. A new file gets ``mode`` (0644) and, where the host has labels, ``label``.
    ``basis`` has the content from which the new one was made: a file with another one is left alone. When somebody else
    saves the file meanwhile, the change is made again from what they saved, a few times.
    Raises HostWriteError and JournalError; this run has then not changed the file.
    """
    path = os.path.realpath(path)  # a link to the file stays a link
    for _attempt in range(_TRIES):
        before = state_of(path)
        if basis is not None and (before.content or b"") != (basis.content or b""):
            break
        fresh = content(before.content) if callable(content) else content
        if before.content is None:
            xattrs = {LABEL: label.encode() + b"\0"} if label else {}
            after = FileState(fresh, 0o644 if mode is None else mode, 0, 0, xattrs)
        else:
            keep = before.mode if mode is None else mode
            after = FileState(fresh, keep, before.uid, before.gid, before.xattrs)
        if record_and_put(path, before, after, journal):
            return before
    text = f"{path} was saved by somebody else meanwhile; it is as they left it, run this again"
    raise HostWriteError(text, CHANGED_MEANWHILE)


def record_and_put(path: str, before: FileState, after: FileState, journal: Journal) -> bool:
    """Record a change and make it, unless somebody else changes the file meanwhile; gives whether it was made.

    Raises HostWriteError and JournalError; the file is then as it was.
    """
    position = journal.record([Entry(KIND, path, before.document(), after.mark())])
    try:
        put_file(path, after, before)
    except HostWriteError as error:
        if error.code != CHANGED_MEANWHILE:
            raise
        journal.withdraw(position)
        return False
    return True


def put_file(path: str, state: FileState, expected: FileState | None = None) -> None:
    """Give the file this state, as a whole or not at all. Raises HostWriteError; the file is then as it was.

    With ``expected``, as ``state_of`` gave it, a file that somebody else changed since is left alone.
    """
    folder, name = os.path.split(path)
    fresh = os.path.join(folder, f".{name}{_MARK}")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)  # left by a run that was killed; the journal's lock says that none is alive
        if state.content is not None:
            _write(fresh, state)
        if expected is not None:
            _expect(path, expected)
        if state.content is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        elif expected is None or expected.content is not None or not _linked(fresh, path):
            os.rename(fresh, path)
    except (OSError, HostWriteError) as error:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        if isinstance(error, HostWriteError):
            raise
        if isinstance(error, FileExistsError):
            raise _changed(path) from error
        text = f"{path} cannot be written: {reason(error)}; it is as it was"
        raise HostWriteError(text, "not_writable") from error
    with contextlib.suppress(OSError):  # the change is made, even where the folder cannot be opened for a sync
        sync_folder(folder)


def take_back(path: str, before: FileState, content: bytes | None) -> None:
    """Undo this run's own change of a file, unless somebody else changed it since. Raises HostWriteError."""
    now = state_of(path)
    if now.content != content:
        raise _changed(path)
    put_file(path, before, now)


def restore(entry: Entry) -> None:
    """Restore a file as the journal has it, while it is still the file that this collection wrote.

    Raises PlanError where it is not, and HostWriteError; the file is then as it was.
    """
    before = FileState.of(entry.before)
    for _attempt in range(_TRIES):
        now = look(entry)
        verdict = judged(entry, now)
        if isinstance(verdict, Reason):
            raise PlanError(verdict.text, verdict.code)
        if not verdict or isinstance(now, Reason):
            return
        try:
            put_file(entry.subject, _with_label(before, entry, now), now)
            return
        except HostWriteError as error:
            if error.code != CHANGED_MEANWHILE:
                raise
    raise _changed(entry.subject)


def _with_label(before: FileState, entry: Entry, now: FileState) -> FileState:
    """The state to restore, with the label that the file was given since, by a relabel of the host for example."""
    label = now.xattrs.get(LABEL)
    ours = (entry.after or {}).get("xattrs", {}).get(LABEL) if entry.after is not None else _text(label or b"")
    if before.content is None or label is None or _text(label) == ours:
        return before
    return replace(before, xattrs={**before.xattrs, LABEL: label})


def look(entry: Entry) -> FileState | Reason:
    """The present state of a file of the journal, or why it is not that file any more. Raises HostWriteError."""
    path = entry.subject
    if os.path.realpath(path) != path:
        text = f"{path} leads through a link to {os.path.realpath(path)} by now; it was left alone"
        return Reason("now_a_link", text)
    try:
        return state_of(path)
    except HostWriteError as error:
        if error.code == NOT_PLAIN:
            return Reason(NOT_PLAIN, str(error))
        raise


def judged(entry: Entry, now: FileState | Reason) -> Reason | bool:
    """Whether a file is to be restored (False: it already is as it was), or why it must not be."""
    if isinstance(now, Reason):
        return now
    former = FileState.of(entry.before).mark()
    if not difference(former, now):
        return False
    if entry.after is not None:
        what = difference(entry.after, now, label=False)
        if not what:
            return True
        if not difference(former, now, label=False):
            return False
        text = f"{entry.subject}: {what} after this collection wrote it, so it is not ours any more; it was left alone"
        return Reason("changed_since", text)
    changed_at = now.identity[-1] / 1e9 if now.identity else None
    if entry.recorded_at is not None and changed_at is not None and changed_at > entry.recorded_at + _SLACK:
        text = (
            f"{entry.subject} was changed after this collection's run, whose journal does not have what it set; "
            "it was left alone"
        )
        return Reason("changed_since", text)
    return True


def _expect(path: str, expected: FileState) -> None:
    """Compare a file with what was read of it, by its stat and its content. Raises HostWriteError and OSError."""
    try:
        same = _identity(os.lstat(path)) == expected.identity
    except FileNotFoundError:
        same = expected.content is None
    if not same or (expected.content is not None and state_of(path) != expected):
        raise _changed(path)


def _changed(path: str) -> HostWriteError:
    return HostWriteError(f"{path} was changed by somebody else just now; it was left alone", CHANGED_MEANWHILE)


def _linked(fresh: str, path: str) -> bool:
    """Give a new file its name without replacing another one; gives whether the file system could."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        raise
    except OSError:
        return False
    os.unlink(fresh)
    return True


def _identity(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


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
