# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges of domains of strategy range: one range of the domain's width for each host's daemon, without overlap.

No guest XML is changed. A running guest keeps the pair that was drawn before until its power cycle; guests with a pair
outside their host's range are reported.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..libvirt.category_range import MIN_CATEGORIES, DaemonRange
from ..result import Pending, Reason
from ..selinux.context import MAX_CATEGORY, CategorySet, parse_level
from ..words import some
from .ledger import NO_RANK, LedgerChange, LedgerPlan, Row
from .static_labels import DomainUse

_CATEGORIES = MAX_CATEGORY + 1


@dataclass(frozen=True)
class Slot:
    """A host's range, both ends included."""

    domain: str
    host: str
    low: int
    high: int

    def meets(self, low: int, high: int) -> bool:
        """Whether it overlaps this range."""
        return self.low <= high and low <= self.high

    def __str__(self) -> str:
        return f"c{self.low}.c{self.high}"


def capacity(width: int) -> int:
    """Number of ranges of a width."""
    return _CATEGORIES // width


def allot(usage: DomainUse, slots: t.Sequence[Slot], rows: t.Sequence[Row]) -> LedgerPlan:
    """Assign a range to each host of a domain of strategy range."""
    domain, width = usage.domain, usage.domain.range_width
    plan = LedgerPlan()
    slot_of = {slot.host: slot for slot in slots}
    statics = {parse_level(row.level).categories for row in rows if row.rank != NO_RANK}
    for use in usage.uses:
        statics.update(guest.defined.categories for guest in use.guests if guest.defined is not None)
    free = _free(width, slots, statics)
    without_slot: list[str] = []
    for host in domain.hosts:
        slot = slot_of.get(host)
        if slot is not None:
            if slot.high - slot.low + 1 != width:
                plan.refuse(host, "range_of_other_width", _other_width(slot, width))
            continue
        low = next(free, None)
        if low is None:
            without_slot.append(host)
            continue
        slot_of[host] = Slot(domain.name, host, low, low + width - 1)
        plan.changes.append(
            LedgerChange("range", host, "", str(slot_of[host]), host=host, range=(low, low + width - 1))
        )
    if without_slot:
        plan.refuse(domain.name, "no_range_left", _outgrown(domain.name, width, len(domain.hosts), without_slot))
    plan.pending += _outside(usage, slot_of)
    return plan


def _free(width: int, slots: t.Iterable[Slot], statics: t.Iterable[CategorySet]) -> t.Iterator[int]:
    """First categories of free ranges: no overlap, and no pair that dominates or is dominated by a static label."""
    for low in range(0, capacity(width) * width, width):
        mask = ((1 << width) - 1) << low
        if any(slot.meets(low, low + width - 1) for slot in slots):
            continue
        if not any(_within(static, mask) for static in statics):
            yield low


def _within(categories: CategorySet, mask: int) -> bool:
    """Whether a pair drawn from the range could lie within the set, or hold it."""
    inside = CategorySet(categories.mask & mask)
    return len(inside) >= 2 or (len(inside) == 1 and inside == categories)


def _outside(usage: DomainUse, slot_of: t.Mapping[str, Slot]) -> t.Iterator[Pending]:
    for use in usage.uses:
        slot = slot_of.get(use.host)
        for guest in use.guests:
            pair = guest.running
            if slot is None or pair is None or guest.static or not guest.active or guest.defined is not None:
                continue
            if any(not slot.low <= category <= slot.high for category in pair):
                why = f"it runs on {use.host} with {pair}, outside of the host's range {slot}, until its power cycle"
                yield Pending(guest.subject, "power_cycle", Reason("pair_outside_range", why))


def _other_width(slot: Slot, width: int) -> str:
    return (
        f"it keeps its range {slot}, {slot.high - slot.low + 1} categories, though range_width is {width}; to change "
        "it, release the hosts of the domain, then reserve"
    )


def _outgrown(domain: str, width: int, hosts: int, left: t.Sequence[str]) -> str:
    narrower = _CATEGORIES // hosts
    advice = "use the strategy static, which has no such bound"
    if narrower >= MIN_CATEGORIES and narrower < width:
        pairs = DaemonRange(0, narrower - 1).pairs
        advice += f", or release the hosts of the domain and give it range_width {narrower}: {capacity(narrower)} hosts"
        advice += f", each with {pairs} pairs and so guests"
    return (
        f"domain {domain} has {hosts} hosts, and {capacity(width)} ranges of {width} categories fit into "
        f"c0.c{MAX_CATEGORY}, less where static labels lie: {some(left, 5)} get none; {advice}"
    )


def rebuild(usage: DomainUse, slots: t.Sequence[Slot]) -> LedgerPlan:
    """Add the ranges that daemons draw from already, if of the domain's width and without overlap."""
    width = usage.domain.range_width
    plan = LedgerPlan()
    assigned = list(slots)
    hosts = {slot.host for slot in slots}
    for use in sorted(usage.uses, key=lambda item: item.host):
        drawn = use.range
        if use.host in hosts or drawn is None or drawn.categories != width or drawn.low % width:
            continue
        if any(slot.meets(drawn.low, drawn.high) for slot in assigned):
            why = f"its range {drawn} overlaps that of another host; reserve gives it its own"
            plan.refuse(use.host, "range_overlaps", why)
            continue
        assigned.append(Slot(usage.domain.name, use.host, drawn.low, drawn.high))
        plan.changes.append(
            LedgerChange("rebuild", use.host, "", str(drawn), host=use.host, range=(drawn.low, drawn.high))
        )
    return plan
