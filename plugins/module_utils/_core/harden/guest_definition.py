# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests as libvirt defines them, with their XML: what plans are made from that change definitions.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass, field

from ..errors import PlanError
from ..libvirt.domain_edit import Filter
from ..libvirt.domain_xml import Domain, parse_domain
from ..snapshot.model import Network, NetworkFilter, SecurityModel

POWER_CYCLE = "guest_power_cycle"
OPERATOR = "operator"


@dataclass(frozen=True)
class Definition:
    """A guest: what libvirt would start next, and what runs now."""

    uuid: str
    name: str
    active: bool = False
    #: XML of the next start; None for a transient guest.
    inactive: str | None = None
    #: XML of what runs; None while it is off.
    live: str | None = None
    #: Label of its process, as libvirt reads it from the kernel.
    process: str | None = None
    managed_save: bool = False

    @property
    def subject(self) -> str:
        """As the audit names it."""
        return f"guest {self.name}"

    @functools.cached_property
    def next(self) -> Domain | None:
        """The persistent XML, read. Raises DomainXmlError."""
        return None if self.inactive is None else parse_domain(self.inactive)

    @functools.cached_property
    def now(self) -> Domain | None:
        """The live XML, read. Raises DomainXmlError."""
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
    #: Label of libvirt's daemon, which has the range that it draws from.
    daemon: str | None = None
    #: Why libvirt cannot see which addresses guests use, and so cannot learn them; empty when it can.
    deaf: str = ""

    def find(self, key: str) -> Definition | None:
        """A guest by uuid or name; None when there is none."""
        found = [guest for guest in self.guests if key in (guest.uuid, guest.name)]
        exact = [guest for guest in found if guest.uuid == key] or found
        return exact[0] if exact else None

    def guest(self, key: str) -> Definition:
        """A guest by uuid or name. Raises PlanError for what is none."""
        found = self.find(key)
        if found is None:
            known = ", ".join(sorted(guest.name for guest in self.guests)[:10]) or "none"
            raise PlanError(f"there is no guest {key!r} on this host; give a name or uuid of: {known}")
        return found


@dataclass(frozen=True)
class Define:
    """Give a guest this persistent XML."""

    uuid: str
    name: str
    before: str
    after: str

    @property
    def subject(self) -> str:
        """As the audit names it."""
        return f"guest {self.name}"


@dataclass(frozen=True)
class Live:
    """Give an interface of a running guest this filter now."""

    uuid: str
    name: str
    mac: str
    before: Filter | None
    after: Filter | None

    @property
    def subject(self) -> str:
        """As the audit names it."""
        return f"interface {self.mac} of guest {self.name}"


Step = t.Union[Define, Live]


@dataclass
class Plan:
    """What is to be done, and what is not, with the reasons."""

    steps: list[Step] = field(default_factory=list)
    #: Lines of the result.
    lines: list[dict[str, t.Any]] = field(default_factory=list)
    before: list[dict[str, t.Any]] = field(default_factory=list)
    after: list[dict[str, t.Any]] = field(default_factory=list)
    pending: list[dict[str, str]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)

    def refuse(self, subject: str, why: str) -> None:
        """Leave a thing alone."""
        self.refused.append({"subject": subject, "why": why})

    def wait(self, subject: str, needs: str, why: str) -> None:
        """A thing is not as it should be before something else has happened."""
        self.pending.append({"subject": subject, "needs": needs, "why": why})

    def result(self, diff: bool = False) -> dict[str, t.Any]:
        """As modules return it."""
        made: dict[str, t.Any] = {
            "changed": bool(self.lines),
            "before": self.before,
            "after": self.after,
            "plan": self.lines,
            "pending": self.pending,
            "refused": self.refused,
        }
        if diff:
            made["diff"] = [_difference(line) for line in self.lines]
        return made

    def done(self, not_made: list[dict[str, str]], diff: bool = False) -> dict[str, t.Any]:
        """The result of a run; ``not_made`` are steps that did not work, each with subject and why."""
        made = self.result(diff)
        if not_made:
            made["not_made"] = not_made
            made["changed"] = len(not_made) < len(self.steps)
        return made


def _difference(line: t.Mapping[str, t.Any]) -> dict[str, str]:
    subject = line["subject"]
    place = f" ({line['where']})" if "where" in line else ""
    return {
        "before": f"{line['from'] or ''}\n",
        "after": f"{line['to'] or ''}\n",
        "before_header": f"{subject}{place}",
        "after_header": f"{subject}{place}",
    }
