# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of changes on a host: the state of each object before a change, and the state that the change sets.

One file per run of a module, one line of JSON per object that is about to change. ``record`` returns when its lines are
on the disk: a run that is killed at any point has recorded everything that it changed. A partial line belongs to a
change that was never made, and is ignored.

What was set is recorded too, so that a rollback can see whether an object is still as this collection left it. Journals
of older versions have no such part.

Only one run at a time works on a host: a run holds the lock of the journal until it closes the journal, or dies.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import JournalError
from .root import reason

FOLDER = "/var/lib/svirt-fleet/journal"
#: Runs that were put back are kept here, as a record.
UNDONE = "undone"
#: Seconds to wait for another run on the host that records nothing.
WAIT = 60.0

_KEYS = ("kind", "subject", "before", "after")
_NAME = re.compile(r"(\d{6})-([a-z_]+)\.jsonl\Z")


@dataclass(frozen=True)
class Entry:
    """One object before a change."""

    #: Kind of the object, which decides which actor restores it: file, label, guest, interface, fcontext, …
    kind: str
    #: The object: a path, a uuid, a name.
    subject: str
    #: Everything that is needed to restore it; the kind decides which keys. Bytes are base64 text.
    before: dict[str, t.Any] = field(repr=False)
    #: What the change sets, for a comparison with the present state; None: not recorded, as in older journals.
    after: dict[str, t.Any] | None = field(default=None, repr=False)
    #: When the last entry of its run was recorded, in seconds; None: it was not read from a file.
    recorded_at: float | None = field(default=None, compare=False)


class Journal:
    """The journal of one host, opened by one run of a module. Nothing is created before the first record."""

    def __init__(self, module: str, folder: str = FOLDER, wait: float = WAIT) -> None:
        """``module`` names the run's file. Raises JournalError while another run keeps the lock."""
        self.folder = folder
        self._module = module
        self._file: int | None = None
        self.path: str | None = None
        self._lock: int | None = None
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._lock = lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            text = f"the journal {folder} cannot be opened: {reason(error)}"
            raise JournalError(text, "journal_unusable") from error
        try:
            self._take_lock(lock, wait)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the next run work on the host."""
        handles, self._file, self._lock = (self._file, self._lock), None, None
        for handle in handles:
            if handle is not None:
                os.close(handle)

    def record(self, entries: t.Iterable[Entry]) -> int:
        """Record the entries; when this returns they outlast a crash. Gives the position for ``withdraw``.

        Raises JournalError: then change nothing.
        """
        lines = b"".join(_line(entry) for entry in entries)
        if not lines:
            return -1
        try:
            handle = self._file if self._file is not None else self._start()
            size = os.fstat(handle).st_size
            try:
                written = 0
                while written < len(lines):
                    written += os.write(handle, lines[written:])
                os.fsync(handle)
            except OSError:
                with contextlib.suppress(OSError):
                    self._cut(handle, size)
                raise
        except OSError as error:
            raise self._unwritten(error) from error
        return size

    def withdraw(self, position: int) -> None:
        """Remove the entries recorded from this position on: their changes were not made. Raises JournalError."""
        if position < 0 or self._file is None:
            return
        try:
            handle = self._file
            self._cut(handle, position)
            if self._file is not None:
                os.fsync(handle)
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> JournalError:
        return JournalError(f"the journal {self.folder} cannot be written: {reason(error)}", "journal_not_written")

    def _cut(self, handle: int, size: int) -> None:
        """Truncate to whole records, so that no later one follows half a line; remove a file without any."""
        os.ftruncate(handle, size)
        if size == 0 and self.path is not None:
            os.unlink(self.path)
            self._file = self.path = None
            os.close(handle)

    def runs(self) -> list[str]:
        """The files of runs that changed something and were not put back, oldest first."""
        return runs_in(self.folder)

    def retire(self, path: str) -> None:
        """Move the file of a run that was put back to the folder of such runs."""
        aside = os.path.join(self.folder, UNDONE)
        try:
            os.makedirs(aside, mode=0o700, exist_ok=True)
            os.rename(path, os.path.join(aside, f"{time.time_ns()}-{os.path.basename(path)}"))
            sync_folder(aside)
            sync_folder(self.folder)
        except OSError as error:
            text = f"{path} was put back and cannot be put aside: {reason(error)}"
            raise JournalError(text, "journal_not_retired") from error

    def _take_lock(self, lock: int, wait: float) -> None:
        """Take the lock. A run that records changes is at work, so the wait counts from its last record."""
        seen, until = self._records(), time.monotonic() + wait
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                now = self._records()
                if now != seen:
                    seen, until = now, time.monotonic() + wait
                if time.monotonic() >= until:
                    text = (
                        f"another run has been changing this host and has recorded nothing for {wait:g} s; it holds "
                        f"{self.folder}/lock"
                    )
                    raise JournalError(text, "journal_locked") from None
                time.sleep(0.2)

    def _records(self) -> list[tuple[str, int]]:
        """Files of the journal with their times: another run's signs of life."""
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            return sorted((entry.name, entry.stat().st_mtime_ns) for entry in entries)
        return []

    def _start(self) -> int:
        last = max((int(_NAME.match(os.path.basename(path))[1]) for path in self.runs()), default=0)  # type: ignore[index]  # runs() gives names that match
        self.path = os.path.join(self.folder, f"{last + 1:06}-{self._module}.jsonl")
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        sync_folder(self.folder)
        return self._file


@dataclass(frozen=True)
class Journals:
    """Where a host's journal is, for the runs of modules that open it."""

    folder: str = FOLDER
    #: As for Journal.
    wait: float = WAIT

    def open(self, module: str) -> Journal:
        """Open the journal for a run of the module. Raises JournalError while another run keeps the lock."""
        return Journal(module, self.folder, self.wait)


def runs_in(folder: str = FOLDER) -> list[str]:
    """As ``Journal.runs``, without the lock, for callers that change nothing. Raises JournalError."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(f"the journal {folder} cannot be read: {reason(error)}", "journal_unreadable") from error
    return [os.path.join(folder, name) for name in sorted(names) if _NAME.match(name)]


def entries_of(path: str) -> list[Entry]:
    """The entries of a run, in their order. Raises JournalError for a file that is no journal."""
    entries: list[Entry] = []
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
            recorded_at = os.fstat(file.fileno()).st_mtime
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {reason(error)}", "journal_unreadable") from error
    for number, line in enumerate(lines[:-1], 1):  # text after the last end of line is a partial record
        try:
            entries.append(_entry(json.loads(line), recorded_at))
        except (ValueError, TypeError, RecursionError) as error:
            problem = type(error).__name__ if isinstance(error, RecursionError) else _brief(error)
            text = f"{path}, line {number}, is no entry of the journal: {problem}"
            raise JournalError(text, "journal_malformed") from error
    return entries


def _entry(document: t.Any, recorded_at: float) -> Entry:
    if not isinstance(document, dict) or not set(_KEYS[:3]) <= set(document) <= set(_KEYS):
        raise ValueError(f"it must have the keys {', '.join(_KEYS[:3])}")
    after = document.get("after")
    if not all(isinstance(document[key], str) for key in ("kind", "subject")):
        raise ValueError("kind and subject must be text")
    return Entry(document["kind"], document["subject"], document["before"], after, recorded_at)


def _brief(error: Exception) -> str:
    """The error without the text that it is about, which may hold secrets."""
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def sync_folder(path: str) -> None:
    """Make new, renamed and removed names in a folder outlast a crash, where the file system can."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _line(entry: Entry) -> bytes:
    document: dict[str, t.Any] = {"kind": entry.kind, "subject": entry.subject, "before": entry.before}
    if entry.after is not None:
        document["after"] = entry.after
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("utf-8") + b"\n"
