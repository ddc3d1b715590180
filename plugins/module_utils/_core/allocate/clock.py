# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time of the ledger. The end of a quarantine must not depend on one controller's clock alone.

The store has the latest time of all writers. A clock that is ahead of it by more than a bound may be wrong, and would
release every label in quarantine: until the operator confirms it, no quarantine begins or ends. A clock that is behind
ends no quarantine early, and a quarantine that begins then ends later.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from ..result import Reason

DAY = 86400.0
#: Longest plausible time between two writers, in seconds.
BOUND = 30 * DAY
#: A clock that is behind by more is reported.
BEHIND = DAY


@dataclass(frozen=True)
class LedgerTime:
    """Time of one operation."""

    #: Quarantines that end at or before this time are over.
    now: float
    #: Quarantines begin at this time.
    start: float
    #: Latest time of all writers, to be written; None: it stays.
    latest: float | None
    #: The clock is ahead by more than the bound: no quarantine begins or ends.
    ahead: Reason | None = None
    #: The clock is behind.
    behind: Reason | None = None


def ledger_time(latest: float | None, now: float, confirmed: bool = False) -> LedgerTime:
    """Time of an operation at ``now`` of the controller's clock. ``latest``: of all writers before; None: no writer."""
    if latest is None or confirmed:
        return LedgerTime(now, now, now)
    if now > latest + BOUND:
        return LedgerTime(latest, latest, None, ahead=Reason("clock_ahead", _ahead(latest, now)))
    behind = Reason("clock_behind", _behind(latest, now)) if now < latest - BEHIND else None
    return LedgerTime(now, max(now, latest), max(now, latest), behind=behind)


def _ahead(latest: float, now: float) -> str:
    return (
        f"this controller's clock says {date(now)}, the ledger was last written {date(latest)}, {_days(now - latest)} "
        f"days before: more than {BOUND / DAY:.0f} days, so the clock may be wrong. No label was released or put into "
        "quarantine. Correct the clock; if it is right, run once with confirm_clock: true"
    )


def _behind(latest: float, now: float) -> str:
    return (
        f"this controller's clock says {date(now)}, the ledger was last written {date(latest)}, {_days(latest - now)} "
        "days later: one of the two clocks is wrong. No quarantine ends early. Correct the clock; if it is right, run "
        "once with confirm_clock: true"
    )


def date(seconds: float) -> str:
    """A time for messages."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} s since 1970"


def _days(seconds: float) -> str:
    return f"{seconds / DAY:,.0f}"
