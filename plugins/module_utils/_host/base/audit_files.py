# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where auditd writes its log, and whether it runs: else the journal may have the records, or nobody.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath

from ..._core.errors import HostReadError
from .root import Root

CONF = "/etc/audit/auditd.conf"
LOG = "/var/log/audit/audit.log"
AUDITD = "auditd"


def runs(root: Root, program: str = AUDITD) -> bool:
    """Whether a process has the program's name."""
    try:
        pids = [name for name in root.listdir("/proc") if name.isdigit()]
    except (OSError, HostReadError):
        return False
    return any(root.line(f"/proc/{pid}/comm") == program for pid in pids)


def log_path(root: Root) -> str:
    """The current file of the log; older ones have .1, .2 and so on."""
    try:
        lines = root.read_text(CONF, 65536).split("\n")
    except (OSError, HostReadError):
        return LOG
    for line in lines:
        name, _equals, value = (part.strip() for part in line.partition("="))
        if name == "log_file" and posixpath.isabs(value):
            return value
    return LOG
