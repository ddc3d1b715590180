# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels to set in the guest definitions of each host so that they agree with the ledger.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..errors import LabelError
from ..result import Pending, Reason, Refusal
from ..selinux.context import Context, Level, parse_context, parse_level
from .labels_in_use import GuestUse, HostUse
from .ledger import HELD, Row


@dataclass
class HostOrders:
    """Labels to set, by host; what is refused, and what waits for a power cycle."""

    guests: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)


def orders(uses: t.Iterable[HostUse], rows: t.Mapping[str, Row]) -> HostOrders:
    """Orders for the hosts of a domain of strategy static. ``rows`` are the domain's, by uuid."""
    result = HostOrders()
    for use in sorted(uses, key=lambda item: item.host):
        labels = result.guests.setdefault(use.host, [])
        for guest in use.guests:
            row = rows.get(guest.uuid)
            if row is not None and row.state in HELD and guest.persistent and not guest.error:
                _order(use, guest, row, labels, result)
    return result


def _order(use: HostUse, guest: GuestUse, row: Row, labels: list[dict[str, str]], result: HostOrders) -> None:
    wanted = _label(use, guest, row)
    if wanted is None:
        why = (
            f"libvirt's base label for {guest.kind} guests on {use.host} is not known, so neither is the type of its "
            "label; see that the daemon answers there and that its security driver is selinux"
        )
        result.refused.append(Refusal(guest.subject, Reason("base_label_unknown", why)))
        return
    if guest.defined != wanted or not guest.relabels:
        labels.append({"guest": guest.uuid, "type": "static", "label": str(wanted)})
    if guest.active and guest.running != wanted.categories:
        why = f"it runs on {use.host} with {guest.running} until its power cycle; then it has {row.level}"
        result.pending.append(Pending(guest.subject, "power_cycle", Reason("runs_with_other_label", why)))


def _label(use: HostUse, guest: GuestUse, row: Row) -> Context | None:
    try:
        base = parse_context(use.baselabels.get(guest.kind, ""))
    except LabelError:
        return None
    level = Level(base.low.sensitivity, parse_level(row.level).categories)
    return replace(base, low=level, high=level)
