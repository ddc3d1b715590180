# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""New static labels for guests whose label reaches another guest, or is reached by one.

Only for guests that the operator lets be power-cycled, since a running guest keeps its label until then. A new label
has four categories, one of each band of 248 in c32..c1023: labels of equal weight never contain one another, and
libvirt's pairs cannot contain them. It follows from the guest's uuid, so that the same fleet gets the same labels.

Nothing is given out while a host could not be read wholly, for a guest there may have any label.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, replace

from ..allocate.label_code import Code
from ..audit import finding as f
from ..audit.fleet.analysis import LOCAL, SHARED
from ..errors import LabelError
from ..libvirt.file_labels import confinement
from ..selinux.context import CategorySet, Context, Level, parse_context
from ..snapshot.model import UNKNOWN, Guest, Snapshot

_BANDS = Code().bands
#: A label that holds all of it is dominated by none and holds any: no choice avoids it.
_ALL = CategorySet.of(category for band in _BANDS for category in range(band.first, band.last + 1))
#: So many labels are tried for one guest. Even in a fleet of a million guests the first one is nearly always free.
_TRIES = 1000


@dataclass(frozen=True)
class Holder:
    """A guest that runs with the static label of its definition."""

    host: str
    uuid: str
    name: str
    context: Context


@dataclass(frozen=True)
class Labels:
    """All that is known of a host's labels: those that are taken, and the guests that could be given another one."""

    host: str
    taken: frozenset[CategorySet]
    holders: tuple[Holder, ...]
    #: All guests of the host were read.
    complete: bool = True


def labels(host: str, snapshot: Snapshot) -> Labels:
    """The labels of a host's guests, running and defined, of its files and of its containers."""
    found: list[str | None] = [process.context for process in snapshot.processes]
    found += [orphan.label for orphan in snapshot.orphans]
    found += [container.context for container in snapshot.containers]
    for guest in snapshot.guests:
        found += [guest.context, *(item.label for item in (*guest.live, *guest.persistent_labels))]
        found += [item.file.label for item in guest.resources]
    sets = {context.categories for context in map(_context, set(found)) if context is not None}
    taken = frozenset(categories for categories in sets if categories.mask and not categories.dominates(_ALL))
    holders = (_holder(host, guest) for guest in snapshot.guests)
    complete = snapshot.coverage["guests"].status != UNKNOWN and not any(guest.error for guest in snapshot.guests)
    return Labels(host, taken, tuple(holder for holder in holders if holder is not None), complete)


def propose(
    hosts: t.Iterable[Labels], findings: t.Iterable[f.Finding], allowed: t.Collection[str], unread: t.Collection[str]
) -> dict[str, list[dict[str, str]]]:
    """By host, what guest_seclabel takes as its option guests. ``allowed`` are names or uuids of guests.

    In each group of guests that reach one another one keeps its label, if need be the first.
    """
    hosts = list(hosts)
    made: dict[str, list[dict[str, str]]] = {one.host: [] for one in hosts}
    if unread or not all(one.complete for one in hosts):
        return made
    taken = {categories for one in hosts for categories in one.taken}
    movable = {
        (holder.host, holder.uuid): holder
        for one in hosts
        for holder in one.holders
        if holder.uuid in allowed or holder.name in allowed
    }
    for holder in _movers(findings, movable):
        categories = _fresh(holder.uuid, taken)
        if categories is None:
            continue
        taken.add(categories)
        level = Level(holder.context.high.sensitivity, categories)
        label = str(replace(holder.context, low=level, high=level))
        made[holder.host].append({"guest": holder.uuid, "type": "static", "label": label})
    return made


def _movers(findings: t.Iterable[f.Finding], movable: t.Mapping[tuple[str, str], Holder]) -> list[Holder]:
    movers: dict[tuple[str, str], Holder] = {}
    for finding in findings:
        if finding.rule not in (SHARED.id, LOCAL.id):
            continue
        members = [
            (told["host"], told["uuid"]) for told in (*finding.evidence["guests"], *finding.evidence.get("reaches", ()))
        ]
        able = [member for member in members if member in movable]
        stays = [] if len(able) < len(members) else able[:1]
        movers.update((member, movable[member]) for member in able if member not in stays)
    return [movers[member] for member in sorted(movers)]


def _fresh(uuid: str, taken: t.Collection[CategorySet]) -> CategorySet | None:
    for attempt in range(_TRIES):
        digest = hashlib.sha256(f"{uuid}/{attempt}".encode()).digest()
        words = (int.from_bytes(digest[4 * place : 4 * place + 4], "big") for place in range(len(_BANDS)))
        made = CategorySet.of(band.first + word % band.size for band, word in zip(_BANDS, words))
        if not any(made.dominates(other) or other.dominates(made) for other in taken):
            return made
    return None


def _holder(host: str, guest: Guest) -> Holder | None:
    seclabel = confinement(guest.persistent_labels)
    context = _context(guest.context)
    if not guest.active or not guest.persistent or context is None or seclabel is None or seclabel.type != "static":
        return None
    defined = _context(seclabel.label)
    # One whose definition has another label already waits for its power cycle only.
    return Holder(host, guest.uuid, guest.name, context) if defined == context else None


def _context(label: str | None) -> Context | None:
    try:
        return parse_context(label) if label else None
    except LabelError:
        return None
