# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""New static labels for guests whose label dominates, or is dominated by, the label of another guest.

Only for guests that the operator allows to be power-cycled, because a running guest keeps its label until then. A new
label has four categories, one of each band of 248 in c32..c1023: labels of equal weight never dominate one another, and
no pair of libvirt dominates one. It is derived from the guest's uuid, so that the same fleet gets the same labels.

No label is assigned while a host could not be read completely, for a guest there may have any label. Labels of the
ledger are in use even if no guest is seen with them; a guest to which the ledger gave another label gets that.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, replace

from ..allocate.label_code import Code
from ..allocate.ledger import HELD, RELEASED, Row
from ..audit import finding as f
from ..audit.fleet.analysis import LOCAL, SHARED
from ..errors import LabelError
from ..libvirt.file_labels import confinement
from ..selinux.context import CategorySet, Context, Level, parse_context, parse_level
from ..snapshot.model import UNKNOWN, Guest, Snapshot

_BANDS = Code().bands
#: A label with all of them dominates every new label: no choice avoids it.
_ALL = CategorySet.of(category for band in _BANDS for category in range(band.first, band.last + 1))
#: Labels tried for one guest. Even in a fleet of a million guests the first one is nearly always free.
_TRIES = 1000


@dataclass(frozen=True)
class StaticGuest:
    """A guest that runs with the static label of its definition."""

    host: str
    uuid: str
    name: str
    context: Context


@dataclass(frozen=True)
class HostLabels:
    """Labels in use on a host, and its guests with a static label."""

    host: str
    in_use: frozenset[CategorySet]
    guests: tuple[StaticGuest, ...]
    #: All guests of the host were read.
    complete: bool = True


def labels(host: str, snapshot: Snapshot) -> HostLabels:
    """Labels of a host's guests, running and defined, of its files and of its containers."""
    contexts: list[str | None] = [process.context for process in snapshot.processes]
    contexts += [orphan.label for orphan in snapshot.orphans]
    contexts += [container.context for container in snapshot.containers]
    for guest in snapshot.guests:
        own = (*guest.live, *guest.persistent_labels, *(guest.saved_labels or ()))
        contexts += [guest.context, *(item.label for item in own)]
        contexts += [item.file.label for item in guest.resources]
    sets = {context.categories for context in map(_context, set(contexts)) if context is not None}
    in_use = frozenset(categories for categories in sets if categories.mask and not categories.dominates(_ALL))
    guests = (_static_guest(host, guest) for guest in snapshot.guests)
    complete = snapshot.coverage["guests"].status != UNKNOWN and not any(guest.error for guest in snapshot.guests)
    return HostLabels(host, in_use, tuple(guest for guest in guests if guest is not None), complete)


def propose(
    hosts: t.Iterable[HostLabels],
    findings: t.Iterable[f.Finding],
    allowed: t.Collection[str],
    unread: t.Collection[str],
    ledger: t.Iterable[Row] = (),
) -> dict[str, list[dict[str, str]]]:
    """Labels by host, as option ``guests`` of guest_seclabel. ``allowed`` are names or uuids of guests.

    In each group of guests whose labels dominate one another, one keeps its label.
    """
    hosts = list(hosts)
    orders: dict[str, list[dict[str, str]]] = {host.host: [] for host in hosts}
    rows = [row for row in ledger if row.state != RELEASED]
    in_use = {categories for host in hosts for categories in host.in_use}
    in_use.update(parse_level(row.level).categories for row in rows)
    own = levels(rows)
    for guest in movers(hosts, findings, allowed, unread, own):
        categories = own.get(guest.uuid)
        if categories is None or categories == guest.context.categories:
            categories = _fresh(guest.uuid, in_use)
        if categories is None:
            continue
        in_use.add(categories)
        level = Level(guest.context.high.sensitivity, categories)
        label = str(replace(guest.context, low=level, high=level))
        orders[guest.host].append({"guest": guest.uuid, "type": "static", "label": label})
    return orders


def levels(rows: t.Iterable[Row]) -> dict[str, CategorySet]:
    """Category sets of the ledger by uuid of the guest that has them."""
    return {row.uuid: parse_level(row.level).categories for row in rows if row.state in HELD}


def movers(
    hosts: t.Sequence[HostLabels],
    findings: t.Iterable[f.Finding],
    allowed: t.Collection[str],
    unread: t.Collection[str],
    own: t.Mapping[str, CategorySet],
) -> list[StaticGuest]:
    """Guests that need another label. ``own``: labels of the ledger by uuid; a guest with its own stays if possible."""
    if unread or not all(host.complete for host in hosts):
        return []
    movable = {
        (guest.host, guest.uuid): guest
        for host in hosts
        for guest in host.guests
        if guest.uuid in allowed or guest.name in allowed
    }
    chosen: dict[tuple[str, str], StaticGuest] = {}
    for finding in findings:
        if finding.rule not in (SHARED.id, LOCAL.id):
            continue
        parties = (*finding.evidence["guests"], *finding.evidence.get("reaches", ()))
        members = [(party["host"], party["uuid"]) for party in parties]
        able = [member for member in members if member in movable]
        able.sort(key=lambda member: own.get(member[1]) != movable[member].context.categories)
        stays = [] if len(able) < len(members) else able[:1]
        chosen.update((member, movable[member]) for member in able if member not in stays)
    return [chosen[member] for member in sorted(chosen)]


def _fresh(uuid: str, in_use: t.Collection[CategorySet]) -> CategorySet | None:
    for attempt in range(_TRIES):
        digest = hashlib.sha256(f"{uuid}/{attempt}".encode()).digest()
        words = (int.from_bytes(digest[4 * place : 4 * place + 4], "big") for place in range(len(_BANDS)))
        label = CategorySet.of(band.first + word % band.size for band, word in zip(_BANDS, words))
        if not any(label.dominates(other) or other.dominates(label) for other in in_use):
            return label
    return None


def _static_guest(host: str, guest: Guest) -> StaticGuest | None:
    seclabel = confinement(guest.persistent_labels)
    context = _context(guest.context)
    if not guest.active or not guest.persistent or context is None or seclabel is None or seclabel.type != "static":
        return None
    defined = _context(seclabel.label)
    # If the definition has another label already, it only waits for its power cycle.
    return StaticGuest(host, guest.uuid, guest.name, context) if defined == context else None


def _context(label: str | None) -> Context | None:
    try:
        return parse_context(label) if label else None
    except LabelError:
        return None
