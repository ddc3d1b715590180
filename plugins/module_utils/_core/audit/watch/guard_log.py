# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's lines in the journal, counted each once.

A line is known by the boot and the monotonic time at which the journal took it, so a change of the clock counts none
twice. Only what root wrote is looked at: anybody may log under the guard's name.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, replace

IDENTIFIER = "svirt-guard"
#: Entries that are read at once, the newest.
MOST = 5000
FIELDS = ("MESSAGE", "PRIORITY", "_BOOT_ID")
#: What journalctl says, and succeeds, where there is nothing that it could read.
NO_JOURNAL = "No journal files were found"
#: End of the guard's line when collisions are only logged; what tenants chose is quoted before it.
_ALLOWED = "so it was let through"
_WARNING, _ERROR = 4, 3


@dataclass(frozen=True)
class GuardCounts:
    """Totals since the watch began, and the last line that was counted."""

    refused: int = 0
    #: Guests that collided and were let through, as the guard is set.
    allowed: int = 0
    #: Guests that the guard could not judge, and its other faults.
    errors: int = 0
    boot: str = ""
    monotonic: int = 0
    realtime: int = 0


class GuardLine(t.NamedTuple):
    """A line of the guard."""

    boot: str
    #: Microseconds since that boot, and since the epoch.
    monotonic: int
    realtime: int
    priority: int
    text: str


def counted(before: GuardCounts, text: str) -> GuardCounts:
    """The totals after the lines of ``journalctl -o json`` that are new."""
    counts = before
    for line in _lines(text):
        if not _is_new(before, line):
            continue
        if line.priority == _WARNING:
            allowed = line.text.rstrip().endswith(_ALLOWED)
            counts = replace(counts, refused=counts.refused + (not allowed), allowed=counts.allowed + allowed)
        elif line.priority <= _ERROR:
            counts = replace(counts, errors=counts.errors + 1)
        counts = replace(counts, boot=line.boot, monotonic=line.monotonic, realtime=line.realtime)
    return counts


def _is_new(before: GuardCounts, line: GuardLine) -> bool:
    if line.boot == before.boot:
        return line.monotonic > before.monotonic
    return line.realtime > before.realtime


def _lines(text: str) -> t.Iterator[GuardLine]:
    for part in text.split("\n"):
        try:
            entry = json.loads(part)
            message = entry["MESSAGE"]
            yield GuardLine(
                str(entry["_BOOT_ID"]),
                int(entry["__MONOTONIC_TIMESTAMP"]),
                int(entry["__REALTIME_TIMESTAMP"]),
                int(entry["PRIORITY"]),
                bytes(message).decode("utf-8", "replace") if isinstance(message, list) else str(message),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
