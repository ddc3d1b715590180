# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be applied on each host so that its guests have the labels of the ledger.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..errors import LabelError
from ..selinux.context import Context, Level, parse_context, parse_level
from .labels_in_use import GuestUse, HostUse
from .ledger import HELD, Note, Row


@dataclass
class Orders:
    """By host the labels to write; and what stands in the way, or waits for a power cycle."""

    guests: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    refused: list[Note] = field(default_factory=list)
    pending: list[Note] = field(default_factory=list)


def orders(uses: t.Iterable[HostUse], rows: t.Mapping[str, Row]) -> Orders:
    """The orders for the hosts of a domain whose strategy is static. ``rows`` are the domain's by uuid."""
    made = Orders()
    for use in sorted(uses, key=lambda item: item.host):
        mine = made.guests.setdefault(use.host, [])
        for guest in use.guests:
            row = rows.get(guest.uuid)
            if row is not None and row.state in HELD and guest.persistent and not guest.error:
                _order(use, guest, row, mine, made)
    return made


def _order(use: HostUse, guest: GuestUse, row: Row, mine: list[dict[str, str]], made: Orders) -> None:
    wanted = _label(use, guest, row)
    if wanted is None:
        why = (
            f"libvirt's base label for {guest.kind} guests on {use.host} is not known, so neither is the type of its "
            "label; see that the daemon answers there and that its security driver is selinux"
        )
        made.refused.append(Note(guest.subject, why))
        return
    if guest.defined != wanted or not guest.relabels:
        mine.append({"guest": guest.uuid, "type": "static", "label": str(wanted)})
    if guest.active and guest.running != wanted.categories:
        made.pending.append(
            Note(
                guest.subject,
                f"it runs on {use.host} with {guest.running} until its power cycle; then it has {row.level}",
            )
        )


def _label(use: HostUse, guest: GuestUse, row: Row) -> Context | None:
    try:
        base = parse_context(use.baselabels.get(guest.kind, ""))
    except LabelError:
        return None
    level = Level(base.low.sensitivity, parse_level(row.level).categories)
    return replace(base, low=level, high=level)
