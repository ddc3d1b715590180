# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs as the store has them: kinds, states, ids, and which of two readings of one host counts.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

#: The playbook that began a run.
KINDS = ("audit", "harden", "allocate")
AUDIT, HARDEN, ALLOCATE = KINDS
#: Jobs join an open run. One that is being judged belongs to the job that began it.
OPEN, JUDGING, CLOSED = "open", "judging", "closed"
#: Steps of svirt.fleet.audit.
COLLECT, JUDGE = "collect", "judge"
AUDIT_STEPS = (COLLECT, JUDGE)
#: Steps of svirt.fleet.allocate and svirt.fleet.harden.
RESERVE, APPLY, CONFIRM = "reserve", "apply", "confirm"
ALLOCATE_STEPS = (COLLECT, RESERVE, APPLY, CONFIRM)
HARDEN_STEPS = (COLLECT, JUDGE, APPLY, CONFIRM)
#: What one step hands to the next, by host.
ALLOCATION, SHARED_USE, FRESH_LABELS = "allocation", "shared_use", "fresh_labels"
#: Runs that are kept.
KEPT = 50

#: In place of an id: the newest run that fits.
NEWEST = "newest"
#: End of the id of a closing audit: that of the run which it closes, however long, with this behind it.
RESULT = "-result"
_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:-]{{0,99}}({RESULT})?\Z")
ID_RULE = "1 to 100 letters, digits, dots, colons, hyphens and underscores, the first one a letter or digit"


def is_id(text: t.Any) -> bool:
    """Whether a text may be the id of a run."""
    return isinstance(text, str) and bool(_ID.match(text)) and text != NEWEST


@dataclass(frozen=True)
class HostReading:
    """What a job of a run read of a host: a snapshot by its digest, or why there is none."""

    host: str
    received_at: float
    taken_at: float = 0.0
    digest: str | None = None
    why: str = ""


def supersedes(reading: HostReading, known: HostReading | None) -> bool:
    """Whether a reading takes the place of the one that the run has: a snapshot before a failure, then the newer."""
    if known is None:
        return True
    if (reading.digest is None) != (known.digest is None):
        return reading.digest is not None
    return reading.received_at > known.received_at
