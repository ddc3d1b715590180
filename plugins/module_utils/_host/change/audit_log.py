# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Denials of a host: from auditd's log, else the journal, else the kernel's own buffer.

Only the place that receives them now counts. An old log of an auditd that no longer runs proves nothing.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

from ..._core.errors import HostReadError
from ..._core.result import Reason
from ..._core.selinux.denials import GUARD_SCRIPT_HEX, DenialLog
from ..base import audit_files
from ..base.root import Root, reason
from ..base.tools import HostTools

_MAX_FILE = 128 * 1024 * 1024
_MAX_ROTATED = 20
_MAX_LINES = 200_000
_JOURNAL = ("-b", "-q", "--no-pager", "-o", "short-unix", "-n", str(_MAX_LINES))
#: A journal of gigabytes on a slow disk takes minutes.
_SECONDS = 900
_KERNEL_OFF = re.compile(r"audit=(?:0|off)\Z")


def read(root: Root, tools: HostTools, booted_at: float | None) -> DenialLog:
    """Denials since the host booted, from the place that receives the records."""
    log = DenialLog()
    words = [word for word in (root.line("/proc/cmdline") or "").split() if word.startswith("audit=")]
    if words and _KERNEL_OFF.match(words[-1]):
        log.problem = Reason("audit_off", f"the kernel was started with {words[-1]} and records no denial")
    elif audit_files.runs(root):
        _read_files(root, log, booted_at)
    elif not _read_journal(tools, log):
        _read_buffer(tools, log, booted_at)
    return log


def _read_files(root: Root, log: DenialLog, booted_at: float | None) -> None:
    """The current file and the rotated ones, newest first, until one reaches back to the boot."""
    path = audit_files.log_path(root)
    for name in (path, *(f"{path}.{number}" for number in range(1, _MAX_ROTATED))):
        try:
            text = root.read_text(name, _MAX_FILE)
        except FileNotFoundError:
            break
        except (OSError, HostReadError) as error:
            log.problem = Reason("log_unreadable", reason(error))
            return
        log.take(_relevant(text))
        if booted_at is not None and log.earliest is not None and log.earliest <= booted_at:
            break
    if log.earliest is None:
        log.problem = Reason("log_empty", f"auditd runs, but {path} has no record")


def _relevant(text: str) -> t.Iterator[str]:
    """Lines about denials and policy, and the first and last line: they bound the time that the log covers."""
    lines = text.split("\n")
    last = len(lines) - 2  # it ends with an end of line
    for place, line in enumerate(lines):
        if place in (0, last) or "avc:" in line or "MAC_" in line or GUARD_SCRIPT_HEX in line:
            yield line


def _read_journal(tools: HostTools, log: DenialLog) -> bool:
    program = tools.find("journalctl")
    if program is None:
        return False
    words = [program, *_JOURNAL, "_TRANSPORT=kernel", "+", "_TRANSPORT=audit"]
    status, text, _err = tools.run_reader(words, _SECONDS)
    if status or not text.strip():
        return False
    log.take(text.split("\n"))
    return log.earliest is not None


def _read_buffer(tools: HostTools, log: DenialLog, booted_at: float | None) -> None:
    program = tools.find("dmesg")
    status, text, err = tools.run_reader([program], _SECONDS) if program else (1, "", "there is no dmesg")
    if status:
        why = f"auditd does not run, and neither the journal nor the kernel's buffer can be read: {err.strip()[:200]}"
        log.problem = Reason("log_unreadable", why)
    elif "Linux version" not in text:
        why = "auditd does not run, the journal cannot be read, and the kernel's buffer has lost its beginning"
        log.problem = Reason("buffer_overrun", why)
    else:
        log.take(text.split("\n"))
        log.earliest = booted_at if log.earliest is None else log.earliest
        log.latest = max(log.latest, booted_at or 0.0)
