# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of the ledger, and the plan of changes to them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..result import Pending, Reason, Refusal, Step

RESERVED = "reserved"
PUBLISHED = "published"
OBSERVED = "observed"
QUARANTINED = "quarantined"
RELEASED = "released"
#: In the order of a label's life.
STATES = (RESERVED, PUBLISHED, OBSERVED, QUARANTINED, RELEASED)
#: States in which a guest of the fleet has the label.
HELD = (RESERVED, PUBLISHED, OBSERVED)
#: Rank of a row whose label was released.
NO_RANK = -1


@dataclass(frozen=True)
class Row:
    """Label of a guest."""

    domain: str
    uuid: str
    name: str
    #: Host on which the guest was last seen.
    host: str
    tenant: str
    rank: int
    level: str
    state: str
    #: End of the quarantine, seconds since the epoch.
    until: float | None = None

    @property
    def subject(self) -> str:
        """Name and uuid, for messages."""
        return f"{self.name[:80]} ({self.uuid})"


@dataclass(frozen=True)
class LedgerChange:
    """Step of a plan: change of a row, or of a host's range."""

    action: str
    subject: str
    old: str
    new: str
    row: Row | None = None
    #: The row before the change; None: there was none.
    before: Row | None = None
    #: Host of a range.
    host: str = ""
    #: Low and high of a range.
    range: tuple[int, int] | None = None

    def step(self) -> Step:
        """The change as an entry of ``plan``."""
        return Step(self.action, self.subject, self.old, self.new)


@dataclass
class LedgerPlan:
    """Changes in a domain, and what is refused or waits."""

    changes: list[LedgerChange] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    #: Numbers of tenants that had none.
    tenants: dict[str, int] = field(default_factory=dict)

    def refuse(self, subject: str, code: str, text: str) -> None:
        """Append a refusal."""
        self.refused.append(Refusal(subject, Reason(code, text)))

    def wait(self, subject: str, needs: str, code: str, text: str) -> None:
        """Append an entry that waits for ``needs``."""
        self.pending.append(Pending(subject, needs, Reason(code, text)))

    def rows(self, before: t.Iterable[Row]) -> dict[str, Row]:
        """Rows of the domain by uuid, after the changes."""
        after = {row.uuid: row for row in before}
        after.update((change.row.uuid, change.row) for change in self.changes if change.row is not None)
        return after
