# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Repairs of the rules across hosts as they are printed, applied to the hosts of a case.

Each entry of a row is a phrase of the printed text and what it says to do.
"""

from __future__ import annotations

import copy
import itertools
import typing as t
from dataclasses import dataclass, field

from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import Row
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.finding import Finding
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.guests import draws_categories
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.file_labels import confinement
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s

from .faults.fleet import DAEMON, FleetCase
from .fleets import PROCESS

_LABELS = (f"s0:c64,c364,c664,c{number}" for number in itertools.count(930))
_PAIRS = itertools.count(2)


@dataclass
class Fleet:
    """What a case judges."""

    hosts: list[s.Snapshot]
    ledger: list[Row] = field(default_factory=list)


Change = t.Callable[[Fleet, Finding], None]


def _named(fleet: Fleet, finding: Finding) -> list[s.Guest]:
    """Guests of the finding, those that run first."""
    evidence = finding.evidence
    entries = [*evidence.get("reached_by", ()), *evidence.get("guests", ()), *evidence.get("reaches", ())]
    names = [entry["guest"] for entry in entries if isinstance(entry, dict)]
    guests = [guest for host in fleet.hosts for guest in host.guests if guest.name in names]
    return sorted(guests, key=lambda guest: (not guest.active, names.index(guest.name)))


def _relabel(guest: s.Guest, level: str) -> None:
    static = [s.SecLabel("selinux", "static", label=PROCESS + level)]
    if not draws_categories(guest) or confinement(guest.persistent_labels) is not None:
        guest.persistent_labels = static
    if guest.active:
        guest.context = PROCESS + level
        live = confinement(guest.live)
        guest.live = static if live is not None and live.type == "static" else guest.live


def _another_label(fleet: Fleet, finding: Finding) -> None:
    """The first guest of the pair: a dynamic one draws anew, a static one gets another label."""
    _relabel(_named(fleet, finding)[0], next(_LABELS))


def _own_labels(fleet: Fleet, finding: Finding) -> None:
    for guest in _named(fleet, finding):
        _relabel(guest, next(_LABELS))


def _draw_anew(fleet: Fleet, _finding: Finding) -> None:
    """Ranges per host, from which all guests have drawn."""
    for host in fleet.hosts:
        for guest in host.guests:
            if guest.active and confinement(guest.persistent_labels) is None:
                _relabel(guest, next(_LABELS))


def _ranges(fleet: Fleet, _finding: Finding) -> None:
    for number, host in enumerate(fleet.hosts):
        assert host.libvirt.daemon is not None
        host.libvirt.daemon.context = f"{DAEMON}c{600 + 64 * number}.c{663 + 64 * number}"


def _wider(fleet: Fleet, _finding: Finding) -> None:
    for host in fleet.hosts:
        assert host.libvirt.daemon is not None
        host.libvirt.daemon.context = f"{DAEMON}c0.c63"


def _power_cycle(fleet: Fleet, finding: Finding) -> None:
    for host in fleet.hosts:
        for guest in host.guests:
            live = confinement(guest.live)
            if guest.active and live is not None and live.type == "dynamic":
                number = next(_PAIRS)
                _relabel(guest, f"s0:c{number},c{number + 30}")


def _settle_ledger(fleet: Fleet, finding: Finding) -> None:
    """What the ledger can settle it does; a guest without its label gets it."""
    known = {row.uuid: row for row in fleet.ledger}
    guests = {guest.uuid: guest for host in fleet.hosts for guest in host.guests}
    for uuid, guest in guests.items():
        defined = confinement(guest.persistent_labels)
        if uuid in known and (defined is None or defined.label != PROCESS + known[uuid].level):
            guest.persistent_labels = [s.SecLabel("selinux", "static", label=PROCESS + known[uuid].level)]
            guest.context = PROCESS + known[uuid].level if guest.active else None
            guest.live = guest.persistent_labels if guest.active else []
        elif uuid not in known and defined is not None and defined.label:
            level = defined.label.removeprefix(PROCESS)
            fleet.ledger.append(Row("prod", uuid, guest.name, "kvm1", "default", 1, level, "observed"))
    fleet.ledger[:] = [row for row in fleet.ledger if row.uuid in guests]


def _end_other(fleet: Fleet, finding: Finding) -> None:
    name = finding.subject.removeprefix("guest ")
    host = next(host for host in reversed(fleet.hosts) if any(guest.name == name for guest in host.guests))
    host.guests = [guest for guest in host.guests if guest.name != name]


def _new_container(fleet: Fleet, _finding: Finding) -> None:
    for host in fleet.hosts:
        for container in host.containers:
            container.context = "system_u:system_r:container_t:s0:c1000,c1001"


def _rest(fleet: Fleet, finding: Finding) -> None:
    """The files at rest get the label of their folder."""
    paths = {entry["file"] for entry in finding.evidence.get("guests", ()) if "file" in entry}
    for host in fleet.hosts:
        for guest in host.guests:
            for item in guest.resources:
                if item.path in paths and not guest.active:
                    item.file.label = "system_u:object_r:virt_image_t:s0"


#: Repairs of each rule across hosts: phrase of the text, and the change.
REPAIRS: dict[str, tuple[tuple[str, Change], ...]] = {
    "CAT-001": (("another label", _another_label), ("a label of its own for every guest", _own_labels)),
    "CAT-002": (("another label", _another_label),),
    "CAT-003": (("another static label", _another_label),),
    "CAT-004": (("ranges per host", _draw_anew),),
    "CAT-005": (("a range of its own", _ranges),),
    "CAT-006": (("a wider range", _wider),),
    "CAT-007": (("Power-cycle the guests", _power_cycle),),
    "CAT-008": (("category_allocation with operation repair", _settle_ledger),),
    "CAT-009": (("a label of its own", _own_labels),),
    "CAT-010": (("end the other", _end_other),),
    "CAT-011": (("Start the container anew", _new_container), ("power-cycle the guest", _another_label)),
}


#: Situations of a rule with a repair of their own, by the case's name.
OTHER_REPAIRS: dict[str, tuple[tuple[str, Change], ...]] = {
    "CAT-001 a file at rest": (("restorecon -F PATH", _rest),),
}


def repairs_of(case: FleetCase) -> tuple[tuple[str, Change], ...]:
    """The repairs that the finding of a case names."""
    return OTHER_REPAIRS.get(str(case), REPAIRS[case.rule])


def fleet_of(case: FleetCase) -> Fleet:
    """The case's hosts and ledger, to be changed."""
    return Fleet(copy.deepcopy(case.hosts()), list(case.ledger))
