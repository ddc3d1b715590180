# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned migration of a guest: the hosts involved, and objections to it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .. import words
from ..allocate.label_domains import LabelDomain
from ..audit.fleet.analysis import ComparedHost
from ..facts.sharing import Sharing
from ..facts.storage import HostStorage
from ..facts.storage_statements import NOTHING, StorageStatements
from ..result import Reason
from ..snapshot.model import Guest, Snapshot

ALLOWED, REFUSED, UNKNOWN = "allowed", "refused", "unknown"


@dataclass(frozen=True)
class Objection:
    """A reason against a move: the guest must not move, or it is unknown whether it may."""

    #: refused or unknown.
    status: str
    reason: Reason

    def as_dict(self) -> dict[str, str]:
        """Entry of the return value ``reasons``."""
        return {"status": self.status, "why": self.reason.text, "code": self.reason.code}


def refused(code: str, text: str) -> Objection:
    """The guest must not move."""
    return Objection(REFUSED, Reason(code, text))


def unknown(code: str, text: str) -> Objection:
    """It is unknown whether the guest may move."""
    return Objection(UNKNOWN, Reason(code, text))


@dataclass(repr=False, eq=False)
class MoveFleet:
    """Snapshots, storage and label domains of the hosts."""

    target: str
    #: The target, and every host that has one of the guests.
    snapshots: t.Mapping[str, Snapshot]
    #: All hosts that were read.
    compared_hosts: t.Sequence[ComparedHost]
    #: All storage of these, with labels or without.
    storage: t.Sequence[HostStorage]
    #: Hosts that were not read, and why.
    unread: t.Mapping[str, str] = field(default_factory=dict)
    #: Domains that the operator named, by host.
    domains: t.Mapping[str, LabelDomain] = field(default_factory=dict)
    #: The operator's statements about storage.
    statements: StorageStatements = NOTHING

    def __post_init__(self) -> None:
        #: Which storage hosts share at all, and which of it carries labels.
        self.sharing = Sharing(self.storage, self.statements)
        self.labelled = Sharing([compared.storage for compared in self.compared_hosts], self.statements)


@dataclass(frozen=True)
class Move:
    """One guest with its source and target."""

    fleet: MoveFleet
    guest: Guest
    #: Host that the guest is on.
    source: str

    @property
    def target(self) -> str:
        """Host that the guest is to move to."""
        return self.fleet.target

    @property
    def disks(self) -> frozenset[str] | None:
        """The guest's disks; None while it does not run."""
        parties = (
            party for compared in self.fleet.compared_hosts if compared.host == self.source for party in compared.guests
        )
        return next((party.disks for party in parties if party.uuid == self.guest.uuid), None)

    @property
    def here(self) -> Snapshot:
        """Snapshot of the source."""
        return self.fleet.snapshots[self.source]

    @property
    def there(self) -> Snapshot:
        """Snapshot of the target."""
        return self.fleet.snapshots[self.target]


def some(names: t.Collection[str]) -> str:
    """The first of the names in order, and how many more there are."""
    return words.some(sorted(names))
