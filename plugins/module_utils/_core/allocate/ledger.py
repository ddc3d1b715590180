# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of the ledger, and the plan of what becomes of them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

RESERVED = "reserved"
PUBLISHED = "published"
OBSERVED = "observed"
QUARANTINED = "quarantined"
RELEASED = "released"
#: In the order of a label's life.
STATES = (RESERVED, PUBLISHED, OBSERVED, QUARANTINED, RELEASED)
#: States in which a guest of the fleet has the label.
HELD = (RESERVED, PUBLISHED, OBSERVED)
#: The rank of a row whose label was released: it has none any more.
NO_RANK = -1


@dataclass(frozen=True)
class Row:
    """One label of the ledger, and whose it is."""

    domain: str
    uuid: str
    name: str
    #: Where the guest was last seen.
    host: str
    tenant: str
    rank: int
    level: str
    state: str
    #: End of the quarantine, seconds since the epoch.
    until: float | None = None

    @property
    def subject(self) -> str:
        """The guest in words."""
        return f"{self.name[:80]} ({self.uuid})"


@dataclass(frozen=True)
class Change:
    """One step of a plan: what becomes of a row, or of a host's range."""

    action: str
    subject: str
    old: str
    new: str
    row: Row | None = None
    #: The row as it was, where there was one.
    before: Row | None = None
    #: Low and high of a range.
    host: str = ""
    range: tuple[int, int] | None = None

    def told(self) -> dict[str, str]:
        """The step as the operator sees it."""
        return {"action": self.action, "subject": self.subject, "from": self.old, "to": self.new}


@dataclass(frozen=True)
class Note:
    """What was refused, or waits, and why."""

    subject: str
    why: str

    def told(self) -> dict[str, str]:
        """The note as the operator sees it."""
        return {"subject": self.subject, "why": self.why}


@dataclass
class Plan:
    """What to do in a domain."""

    changes: list[Change] = field(default_factory=list)
    refused: list[Note] = field(default_factory=list)
    pending: list[Note] = field(default_factory=list)
    #: Numbers of tenants that had none.
    tenants: dict[str, int] = field(default_factory=dict)

    def rows(self, before: t.Iterable[Row]) -> dict[str, Row]:
        """The domain's rows by uuid, when it is done."""
        after = {row.uuid: row for row in before}
        after.update((change.row.uuid, change.row) for change in self.changes if change.row is not None)
        return after
