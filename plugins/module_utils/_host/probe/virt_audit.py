# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's audit records of a host: from auditd's files, the rotated ones too, else from the journal.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import io
import json
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import HostReadError
from ..._core.result import Reason
from ..._core.selinux import virt_audit as core
from ..._core.selinux.virt_audit import AuditScan, VirtEvent
from ..base import audit_files
from ..base.root import Root, reason
from ..base.tools import HostTools

#: Bytes of one file, and of all: the oldest files are left out above it.
MAX_FILE = 256 * 1024 * 1024
MAX_BYTES = 4 * 1024 * 1024 * 1024
#: auditd keeps at most 999 files.
MAX_FILES = 999
#: How often the files are read again when auditd rotates them meanwhile.
_TRIES = 3
#: Entries of the journal.
_MAX_ENTRIES = 200_000
_SECONDS = 300
_FIELDS = "MESSAGE,_AUDIT_TYPE,_BOOT_ID,_TRANSPORT"
_TYPES = ("1305", "2500", "2502")


@dataclass(repr=False, eq=False)
class GuestRecords:
    """Events of the log of one host, in its order."""

    events: list[VirtEvent] = field(default_factory=list)
    #: From when on they are complete; None: nothing was read.
    since: float | None = None
    #: Where they are from: auditd, journal.
    source: str = ""
    #: Why there are none; None when there may be.
    problem: Reason | None = None


def read(root: Root, tools: HostTools) -> GuestRecords:
    """The events of a host. Never raises for what a host may hold."""
    path = audit_files.log_path(root)
    if audit_files.runs(root) or root.exists(path):
        return _files(root, path)
    return _journal(tools)


def _files(root: Root, path: str) -> GuestRecords:
    try:
        for _attempt in range(_TRIES):
            chosen = _chosen(root, path)
            scan = AuditScan()
            for name, _inode in reversed(chosen):
                scan.take(io.BytesIO(root.read_bytes(name, MAX_FILE)))
            if _chosen(root, path) == chosen:
                break
        else:
            text = f"{path} was rotated {_TRIES} times while it was read; run this again"
            return GuestRecords(problem=Reason("log_rotated", text))
    except (OSError, HostReadError) as error:
        return GuestRecords(problem=Reason("log_unreadable", reason(error)))
    if scan.since is None:
        return GuestRecords(problem=Reason("log_empty", f"{path} has no record"))
    records = GuestRecords(list(scan.events), scan.since, "auditd")
    if not audit_files.runs(root) and scan.last is not None:
        records.events.append(VirtEvent(scan.last, core.LOG_OFF, reason="auditd_off"))
    return records


def _chosen(root: Root, path: str) -> list[tuple[str, int]]:
    """The files to read with their inode numbers, the newest first. Raises OSError."""
    chosen: list[tuple[str, int]] = []
    total = 0
    for name in (path, *(f"{path}.{number}" for number in range(1, MAX_FILES + 1))):
        try:
            facts = root.stat(name)
        except FileNotFoundError:
            if name != path:
                break
            continue
        total += facts.st_size
        if total > MAX_BYTES:
            break
        chosen.append((name, facts.st_ino))
    return chosen


def _journal(tools: HostTools) -> GuestRecords:
    """The records that systemd's journal took from the kernel, where no auditd does."""
    program = tools.find("journalctl")
    if program is None:
        return GuestRecords(problem=Reason("no_audit_log", "the host has neither auditd nor a journal"))
    words = [program, "-q", "--no-pager", "-o", "json", f"--output-fields={_FIELDS}", "-n", str(_MAX_ENTRIES)]
    words += ["_TRANSPORT=audit", *(f"_AUDIT_TYPE={number}" for number in _TYPES)]
    status, text, err = tools.run_reader(words, _SECONDS)
    if status:
        why = f"the host has no auditd, and its journal cannot be read: {err.strip()[:200]}"
        return GuestRecords(problem=Reason("log_unreadable", why))
    records = GuestRecords(source="journal")
    boot = ""
    for at, type_, message, booted in _entries(text):
        records.since = at if records.since is None else records.since
        if boot and booted != boot:
            records.events.append(VirtEvent(at, core.BOOT))
        boot = booted
        event = core.event_of(type_, at, message)
        if event is not None:
            records.events.append(event)
    if records.since is None:
        why = "the host has no auditd, and its journal has no record of libvirt: turn auditing on (auditd)"
        records.problem = Reason("no_audit_log", why)
    del records.events[: -core.MAX_EVENTS]
    return records


def _entries(text: str) -> t.Iterator[tuple[float, str, str, str]]:
    """Time, type, text and boot of each entry of the journal; others are left out."""
    for line in text.split("\n"):
        try:
            entry = json.loads(line)
            message = entry["MESSAGE"]
            if isinstance(message, list):  # bytes, where they are no UTF-8
                message = bytes(message).decode("utf-8", "surrogateescape")
            at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
            name, _space, rest = str(message).partition(" ")  # the type's name, of which systemd knows some only
            number, boot = str(entry["_AUDIT_TYPE"]), str(entry.get("_BOOT_ID", ""))
            yield at, number, str(message) if "=" in name else rest, boot
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
