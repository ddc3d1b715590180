# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where ledger and fleet say different things. It is told, never settled: people know which of the two is right.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict

from ..selinux.context import CategorySet, parse_level
from .label_code import Code
from .labels_in_use import GuestUse, HostUse
from .ledger import HELD, QUARANTINED, RELEASED, Note, Row
from .ranges import Slot
from .static_labels import homes

_MAX_NAMES = 5


def compare(code: Code, uses: t.Sequence[HostUse], rows: t.Iterable[Row]) -> list[Note]:
    """The conflicts of a domain's labels."""
    live = {row.uuid: row for row in rows if row.state != RELEASED}
    guests = homes(uses)
    return [
        *_drifted(guests, live),
        *_shared(code, guests),
        *_in_quarantine(code, guests, live),
    ]


def compare_ranges(uses: t.Iterable[HostUse], slots: t.Iterable[Slot]) -> list[Note]:
    """Hosts whose daemon draws from other categories than the ledger says."""
    seen = {use.host: use.range for use in uses if use.range is not None}
    return [
        Note(
            slot.host,
            f"its daemon draws from {seen[slot.host]}, the ledger says {slot}; apply the ledger's range there",
        )
        for slot in slots
        if slot.host in seen and (seen[slot.host].low, seen[slot.host].high) != (slot.low, slot.high)
    ]


def _drifted(guests: t.Mapping[str, t.Sequence[GuestUse]], live: t.Mapping[str, Row]) -> t.Iterator[Note]:
    for uuid, row in live.items():
        own = parse_level(row.level).categories
        for place in guests.get(uuid, ()) if row.state in HELD else ():
            if place.defined is not None and place.defined.categories != own:
                why = f"the ledger says {row.level}, its definition on {place.host} says {place.defined.range}; "
                yield Note(row.subject, why + "reserve gives the order to write the ledger's label")


def _shared(code: Code, guests: t.Mapping[str, t.Sequence[GuestUse]]) -> t.Iterator[Note]:
    """Labels of the code that several guests have."""
    holders: dict[CategorySet, dict[str, GuestUse]] = defaultdict(dict)
    for uuid, places in guests.items():
        for place in places:
            for categories in place.held:
                if code.ranks(categories) is not None:
                    holders[categories][uuid] = place
    for categories, who in sorted(holders.items(), key=lambda item: str(item[0])):
        if len(who) > 1:
            yield Note(f"s0:{categories}", f"{_named(who.values())} use it; reserve gives each its own label")


def _in_quarantine(
    code: Code, guests: t.Mapping[str, t.Sequence[GuestUse]], live: t.Mapping[str, Row]
) -> t.Iterator[Note]:
    resting = {row.level: row for row in live.values() if row.state == QUARANTINED}
    for uuid, places in guests.items() if resting else ():
        for place in places:
            for categories in place.held:
                row = resting.get(f"s0:{categories}")
                if row is not None and row.uuid != uuid and code.ranks(categories) is not None:
                    yield Note(row.level, f"it rests in quarantine for {row.subject}, but {_named([place])} uses it")


def _named(places: t.Collection[GuestUse]) -> str:
    names = [f"{place.subject} on {place.host}" for place in places]
    return ", ".join(names[:_MAX_NAMES]) + (f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else "")
