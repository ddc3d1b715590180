# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences between ledger and fleet. They are reported, never settled: the operator knows which of the two is right.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict

from ..result import Reason, Refusal
from ..selinux.context import CategorySet, parse_level
from ..words import some
from .label_code import Code
from .labels_in_use import GuestUse, HostUse
from .ledger import HELD, QUARANTINED, RELEASED, Row
from .ranges import Slot
from .static_labels import homes

_MAX_NAMES = 5


def compare(code: Code, uses: t.Sequence[HostUse], rows: t.Iterable[Row]) -> list[Refusal]:
    """Conflicts between a domain's rows and the labels of its guests."""
    live = {row.uuid: row for row in rows if row.state != RELEASED}
    guests = homes(uses)
    return [
        *_other_definitions(guests, live),
        *_shared(code, guests),
        *_in_quarantine(code, guests, live),
    ]


def compare_ranges(uses: t.Iterable[HostUse], slots: t.Iterable[Slot]) -> list[Refusal]:
    """Hosts whose daemon draws from another range than the ledger's."""
    seen = {use.host: use.range for use in uses if use.range is not None}
    return [
        Refusal(
            slot.host,
            Reason(
                "range_differs",
                f"its daemon draws from {seen[slot.host]}, the ledger says {slot}; apply the ledger's range there",
            ),
        )
        for slot in slots
        if slot.host in seen and (seen[slot.host].low, seen[slot.host].high) != (slot.low, slot.high)
    ]


def _other_definitions(guests: t.Mapping[str, t.Sequence[GuestUse]], live: t.Mapping[str, Row]) -> t.Iterator[Refusal]:
    for uuid, row in live.items():
        own = parse_level(row.level).categories
        for place in guests.get(uuid, ()) if row.state in HELD else ():
            if place.defined is not None and place.defined.categories != own:
                why = (
                    f"the ledger says {row.level}, its definition on {place.host} says {place.defined.range}; reserve "
                    "gives the order to write the ledger's label"
                )
                yield Refusal(row.subject, Reason("definition_differs", why))


def _shared(code: Code, guests: t.Mapping[str, t.Sequence[GuestUse]]) -> t.Iterator[Refusal]:
    """Labels of the code that several guests have."""
    holders: dict[CategorySet, dict[str, GuestUse]] = defaultdict(dict)
    for uuid, places in guests.items():
        for place in places:
            for categories in place.held:
                if code.ranks(categories) is not None:
                    holders[categories][uuid] = place
    for categories, users in sorted(holders.items(), key=lambda item: str(item[0])):
        if len(users) > 1:
            why = f"{_places(users.values())} use it; reserve gives each its own label"
            yield Refusal(f"s0:{categories}", Reason("label_shared", why))


def _in_quarantine(
    code: Code, guests: t.Mapping[str, t.Sequence[GuestUse]], live: t.Mapping[str, Row]
) -> t.Iterator[Refusal]:
    resting = {row.level: row for row in live.values() if row.state == QUARANTINED}
    for uuid, places in guests.items() if resting else ():
        for place in places:
            for categories in place.held:
                row = resting.get(f"s0:{categories}")
                if row is not None and row.uuid != uuid and code.ranks(categories) is not None:
                    why = f"it is in quarantine for {row.subject}, but {_places([place])} uses it"
                    yield Refusal(row.level, Reason("quarantined_label_used", why))


def _places(places: t.Collection[GuestUse]) -> str:
    return some([f"{place.subject} on {place.host}" for place in places], _MAX_NAMES)
