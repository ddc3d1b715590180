# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host's daemon draws from which categories: ranges of one width that share none, within a label domain.

No guest's XML is touched. A guest that runs keeps the pair that it drew before, until its power cycle: those that lie
outside of their host's range are told.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..libvirt.category_range import MIN_CATEGORIES, DaemonRange
from ..selinux.context import MAX_CATEGORY, CategorySet, parse_level
from .ledger import NO_RANK, Change, Note, Plan, Row
from .static_labels import Scene

_CATEGORIES = MAX_CATEGORY + 1


@dataclass(frozen=True)
class Slot:
    """A host's range, both ends included."""

    domain: str
    host: str
    low: int
    high: int

    def meets(self, low: int, high: int) -> bool:
        """Whether it shares a category with this range."""
        return self.low <= high and low <= self.high

    def __str__(self) -> str:
        return f"c{self.low}.c{self.high}"


def capacity(width: int) -> int:
    """How many ranges of a width there are."""
    return _CATEGORIES // width


def allot(scene: Scene, slots: t.Sequence[Slot], rows: t.Sequence[Row]) -> Plan:
    """A range for each host of a domain whose strategy is range."""
    domain, width = scene.domain, scene.domain.range_width
    plan = Plan()
    held = {slot.host: slot for slot in slots}
    statics = {parse_level(row.level).categories for row in rows if row.rank != NO_RANK}
    for use in scene.uses:
        statics.update(guest.defined.categories for guest in use.guests if guest.defined is not None)
    free = _free(width, slots, statics)
    left: list[str] = []
    for host in domain.hosts:
        slot = held.get(host)
        if slot is not None:
            if slot.high - slot.low + 1 != width:
                plan.refused.append(Note(host, _other_width(slot, width)))
            continue
        low = next(free, None)
        if low is None:
            left.append(host)
            continue
        held[host] = Slot(domain.name, host, low, low + width - 1)
        plan.changes.append(Change("range", host, "", str(held[host]), host=host, range=(low, low + width - 1)))
    if left:
        plan.refused.append(Note(domain.name, _outgrown(domain.name, width, len(domain.hosts), left)))
    plan.pending += _outside(scene, held)
    return plan


def _free(width: int, slots: t.Iterable[Slot], statics: t.Iterable[CategorySet]) -> t.Iterator[int]:
    """Where ranges may begin: clear of the others', and with no pair in them that reaches or is reached by a label."""
    for low in range(0, capacity(width) * width, width):
        mask = ((1 << width) - 1) << low
        if any(slot.meets(low, low + width - 1) for slot in slots):
            continue
        if not any(_within(statics_set, mask) for statics_set in statics):
            yield low


def _within(categories: CategorySet, mask: int) -> bool:
    """Whether a pair drawn from the range could lie within the set, or hold it."""
    inside = CategorySet(categories.mask & mask)
    return len(inside) >= 2 or (len(inside) == 1 and inside == categories)


def _outside(scene: Scene, held: t.Mapping[str, Slot]) -> t.Iterator[Note]:
    for use in scene.uses:
        slot = held.get(use.host)
        for guest in use.guests:
            pair = guest.running
            if slot is None or pair is None or guest.static or not guest.active or guest.defined is not None:
                continue
            if any(not slot.low <= category <= slot.high for category in pair):
                why = f"it runs on {use.host} with {pair}, outside of the host's range {slot}, until its power cycle"
                yield Note(guest.subject, why)


def _other_width(slot: Slot, width: int) -> str:
    return (
        f"it keeps its range {slot}, {slot.high - slot.low + 1} categories, though range_width is {width}; to change "
        "it, release the hosts of the domain, then reserve"
    )


def _outgrown(domain: str, width: int, hosts: int, left: t.Sequence[str]) -> str:
    names = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
    narrower = _CATEGORIES // hosts
    advice = "use the strategy static, which has no such bound"
    if narrower >= MIN_CATEGORIES and narrower < width:
        pairs = DaemonRange(0, narrower - 1).pairs
        advice += f", or release the hosts of the domain and give it range_width {narrower}: {capacity(narrower)} hosts"
        advice += f", each with {pairs} pairs and so guests"
    return (
        f"domain {domain} has {hosts} hosts, and {capacity(width)} ranges of {width} categories fit into "
        f"c0.c{MAX_CATEGORY}, less where static labels lie: {names} get none; {advice}"
    )


def rebuild(scene: Scene, slots: t.Sequence[Slot]) -> Plan:
    """Ranges that the hosts' daemons draw from already, where each is its host's alone and of the domain's width."""
    width = scene.domain.range_width
    plan = Plan()
    held = list(slots)
    known = {slot.host for slot in slots}
    for use in sorted(scene.uses, key=lambda item: item.host):
        seen = use.range
        if use.host in known or seen is None or seen.categories != width or seen.low % width:
            continue
        if any(slot.meets(seen.low, seen.high) for slot in held):
            plan.refused.append(
                Note(use.host, f"its range {seen} meets that of another host; reserve gives it its own")
            )
            continue
        held.append(Slot(scene.domain.name, use.host, seen.low, seen.high))
        plan.changes.append(Change("rebuild", use.host, "", str(seen), host=use.host, range=(seen.low, seen.high)))
    return plan
