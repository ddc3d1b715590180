# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests as libvirt defines them, with their XML, and what a plan that changes them consists of.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass, field

from ..errors import PlanError
from ..libvirt.domain_edit import Filter
from ..libvirt.domain_xml import Domain, parse_domain
from ..result import Pending, Reason, Refusal, Result, Step
from ..snapshot.model import Network, NetworkFilter, SecurityModel

POWER_CYCLE = "guest_power_cycle"
OPERATOR = "operator"


@dataclass(frozen=True)
class Definition:
    """A guest: the XML of its next start, and the XML of the running process."""

    uuid: str
    name: str
    active: bool = False
    #: XML of the next start; None for a transient guest.
    inactive: str | None = None
    #: XML of the running guest; None while it is off.
    live: str | None = None
    #: Label of its process, as libvirt reads it from the kernel.
    process: str | None = None
    managed_save: bool = False
    #: State of a guest that stands still: paused, crashed or asleep; empty for one that runs, or is off.
    still: str = ""
    #: Jobs that are under way: a backup, a snapshot, a migration, a block job. Read only of guests to be cycled.
    jobs: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """Name of the guest in results and in the audit."""
        return f"guest {self.name}"

    @functools.cached_property
    def next(self) -> Domain | None:
        """The parsed persistent XML. Raises DomainXmlError."""
        return None if self.inactive is None else parse_domain(self.inactive)

    @functools.cached_property
    def now(self) -> Domain | None:
        """The parsed live XML. Raises DomainXmlError."""
        return None if self.live is None else parse_domain(self.live)


@dataclass
class Survey:
    """All guests of a host, and what the host knows about labels and filters."""

    guests: list[Definition] = field(default_factory=list)
    models: list[SecurityModel] = field(default_factory=list)
    filters: list[NetworkFilter] | None = None
    networks: list[Network] | None = None
    #: Process types that are meant for guests.
    guest_types: frozenset[str] = frozenset()
    #: Label of libvirt's daemon; its range is the one that libvirt draws from.
    daemon: str | None = None
    #: Why libvirt cannot see which addresses guests use, and so cannot learn them; empty when it can.
    deaf: str = ""

    def find(self, key: str) -> Definition | None:
        """A guest by uuid or name; None when there is none."""
        matches = [guest for guest in self.guests if key in (guest.uuid, guest.name)]
        exact = [guest for guest in matches if guest.uuid == key] or matches
        return exact[0] if exact else None

    def guest(self, key: str) -> Definition:
        """A guest by uuid or name. Raises PlanError for an unknown one."""
        guest = self.find(key)
        if guest is None:
            known = ", ".join(sorted(guest.name for guest in self.guests)[:10]) or "none"
            raise PlanError(f"there is no guest {key!r} on this host; give a name or uuid of: {known}", "no_such_guest")
        return guest


@dataclass(frozen=True)
class Define:
    """Give a guest this persistent XML."""

    uuid: str
    name: str
    before: str
    after: str

    @property
    def subject(self) -> str:
        """Name of the guest in results and in the audit."""
        return f"guest {self.name}"


@dataclass(frozen=True)
class LiveFilter:
    """Give an interface of a running guest this filter now."""

    uuid: str
    name: str
    mac: str
    before: Filter | None
    after: Filter | None

    @property
    def subject(self) -> str:
        """Name of the interface in results and in the audit."""
        return f"interface {self.mac} of guest {self.name}"


GuestChange = t.Union[Define, LiveFilter]


@dataclass
class GuestPlan(Result):
    """Result of a module that changes guests, with the changes that it takes.

    Several steps of the plan may be one change: one definition carries the filters of all interfaces.
    """

    before: list[dict[str, t.Any]] = field(default_factory=list)
    after: list[dict[str, t.Any]] = field(default_factory=list)
    changes: list[GuestChange] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether at least one change was made, or would be."""
        return len(self.changes) > len(self.not_made)

    def refuse(self, subject: str, reason: Reason) -> None:
        """Leave an object as it is; a reason is named once."""
        refusal = Refusal(subject, reason)
        if refusal not in self.refused:
            self.refused.append(refusal)

    def wait(self, subject: str, needs: str, reason: Reason) -> None:
        """An object reaches its state only after something else."""
        self.pending.append(Pending(subject, needs, reason))

    def document(self, diff: bool = False) -> dict[str, t.Any]:
        """The return values, with a diff where one is asked for: labels and filters, never the XML around them."""
        values = self.as_dict()
        return {**values, "diff": [_difference(step) for step in self.plan]} if diff else values


def _difference(step: Step) -> dict[str, str]:
    place = f" ({step.extra['where']})" if "where" in step.extra else ""
    return {
        "before": f"{step.before or ''}\n",
        "after": f"{step.after or ''}\n",
        "before_header": f"{step.subject}{place}",
        "after_header": f"{step.subject}{place}",
    }
