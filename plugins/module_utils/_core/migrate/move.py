# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that is to move to another host: who is asked about it, and what speaks against it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from .. import words
from ..allocate.label_domains import LabelDomain
from ..audit.fleet.analysis import View
from ..facts.storage import HostStorage, Sharing, host_storage
from ..snapshot.model import Guest, Snapshot

ALLOWED, REFUSED, UNKNOWN = "allowed", "refused", "unknown"
#: So many names are told in a reason.


@dataclass(frozen=True)
class Reason:
    """Why a guest must not move, or why nobody knows whether it may."""

    #: refused or unknown.
    status: str
    why: str


def refused(why: str) -> Reason:
    """It must not move."""
    return Reason(REFUSED, why)


def unknown(why: str) -> Reason:
    """Nobody knows."""
    return Reason(UNKNOWN, why)


@dataclass(repr=False, eq=False)
class Fleet:
    """What is known of the hosts."""

    target: str
    #: The target, and every host that has one of the guests.
    snapshots: t.Mapping[str, Snapshot]
    #: All hosts that were read.
    views: t.Sequence[View]
    #: All storage of these, with labels or without.
    storage: t.Sequence[HostStorage]
    #: Hosts that were not read, and why.
    unread: t.Mapping[str, str] = field(default_factory=dict)
    #: Domains that the operator named, by host.
    domains: t.Mapping[str, LabelDomain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        #: Which storage hosts share at all, and which of it carries labels.
        self.sharing = Sharing(self.storage)
        self.labelled = Sharing([view.storage for view in self.views])


@dataclass(frozen=True)
class Move:
    """One guest on its way."""

    fleet: Fleet
    guest: Guest
    #: Host that it is on.
    source: str

    @property
    def target(self) -> str:
        """Host that it is to go to."""
        return self.fleet.target

    @property
    def here(self) -> Snapshot:
        """The host that it is on."""
        return self.fleet.snapshots[self.source]

    @property
    def there(self) -> Snapshot:
        """The host that it is to go to."""
        return self.fleet.snapshots[self.target]


def reachable_storage(host: str, snapshot: Snapshot) -> HostStorage:
    """The host's storage as if all of it had labels: what counts is who can come to it."""
    every = [replace(item, labelled=True, context=None, labelled_exports=item.exports) for item in snapshot.storage]
    return host_storage(host, replace(snapshot, storage=every))


def some(names: t.Collection[str]) -> str:
    """The first of the names in order, and how many more there are."""
    return words.some(sorted(names))
