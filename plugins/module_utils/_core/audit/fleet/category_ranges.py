# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Category ranges of libvirt's daemons, compared with one another and with the guests that draw from them.

A range that libvirt cannot read, or reads only in part, is reported by the rule about the daemon's label (LIB-007)
and not judged here.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...allocate.label_code import Code
from ...errors import LabelError
from ...facts.guests import draws_categories, qemu_guests
from ...libvirt.category_range import DaemonRange, libvirt_range
from ...selinux.context import MAX_CATEGORY, CategorySet, read_context
from ...snapshot.model import Snapshot
from ..finding import FleetHit
from .host_groups import HostGroups
from .labelled import Party
from .reach_now import in_order, listed

#: With fewer pairs than so many times the guests, libvirt's search for a free one takes long.
_ROOM = 2
_MAX_SHOWN = 200
_DYNAMIC = Code().dynamic


@dataclass(frozen=True)
class RangeUse:
    """A daemon's range and its use by guests."""

    drawn: DaemonRange
    #: Guests that run with a pair out of the range.
    inside: int = 0
    #: Guests for which libvirt draws, those that are off included.
    dynamic: int = 0
    #: Guests that run with a pair that the daemon would not draw now.
    outside: tuple[Party, ...] = ()

    @property
    def full(self) -> bool:
        """Whether the range is all categories: it does not separate hosts."""
        return (self.drawn.low, self.drawn.high) == (0, MAX_CATEGORY)


def use(snapshot: Snapshot, guests: t.Iterable[Party]) -> RangeUse | None:
    """The host's range and its use; None where it is unknown, or reported as a fault of the daemon's label."""
    daemon = snapshot.libvirt.daemon
    context = read_context(daemon.context) if daemon else None
    if daemon is None or daemon.context is None or context is None:
        return None
    try:
        drawn = libvirt_range(daemon.context)
    except LabelError:
        return None
    mask = _mask(drawn)
    if context.categories.mask & ~mask:
        return None
    dynamic = [guest for guest in guests if guest.drawn]
    outside = tuple(guest for guest in dynamic if guest.level.categories.mask & ~mask)
    asking = sum(1 for guest in qemu_guests(snapshot) if draws_categories(guest))
    return RangeUse(drawn, len(dynamic) - len(outside), asking, outside)


def _mask(drawn: DaemonRange) -> int:
    return CategorySet.of(range(max(drawn.low, 0), min(drawn.high, MAX_CATEGORY) + 1)).mask


def too_narrow(ranges: t.Mapping[str, RangeUse]) -> t.Iterator[FleetHit]:
    """Ranges with too few pairs for the host's guests."""
    for host, host_use in sorted(ranges.items()):
        drawn = host_use.drawn
        if drawn.pairs < max(_ROOM * host_use.inside, host_use.dynamic):
            counts = {"running_dynamic": host_use.inside, "dynamic": host_use.dynamic}
            evidence = {"range": str(drawn), "pairs": drawn.pairs, **counts}
            severity = "critical" if host_use.inside >= drawn.pairs else None
            yield FleetHit(str(drawn), "range", evidence, severity=severity, host=host)


def outside_range(ranges: t.Mapping[str, RangeUse]) -> t.Iterator[FleetHit]:
    """Hosts with guests that run outside of the range."""
    for host, host_use in sorted(ranges.items()):
        if host_use.outside:
            evidence = {"range": str(host_use.drawn), **listed("guests", in_order(host_use.outside))}
            yield FleetHit(str(host_use.drawn), "range", evidence, host=host)


def overlapping(
    ranges: t.Mapping[str, RangeUse], statics: t.Iterable[Party], host_groups: HostGroups
) -> t.Iterator[FleetHit]:
    """Ranges that overlap inside a label domain: one hit for each run of them."""
    labels: dict[str, list[int]] = {}
    for party in statics:
        labels.setdefault(party.host, []).append(party.level.categories.mask)
    for _domain, hosts in sorted(host_groups.members().items()):
        drawn_ranges = {host: ranges[host].drawn for host in hosts if host in ranges}
        for run in filter(None, (_by_mistake(run, labels) for run in _runs(drawn_ranges))):
            shown = {host: str(run[host]) for host in sorted(run)[:_MAX_SHOWN]}
            low, high = min(drawn.low for drawn in run.values()), max(drawn.high for drawn in run.values())
            evidence = {"ranges": shown, "hosts": sorted(run)}
            subject = f"c{low}.c{high}"
            key = "\0".join(f"{host} {run[host]}" for host in sorted(run))
            yield FleetHit(subject, key, evidence)


def _runs(ranges: t.Mapping[str, DaemonRange]) -> list[dict[str, DaemonRange]]:
    """Hosts whose ranges overlap, each directly or by way of others; two hosts at least."""
    runs: list[dict[str, DaemonRange]] = []
    end = -1
    for host, drawn in sorted(ranges.items(), key=lambda item: (item[1].low, item[1].high, item[0])):
        if drawn.low > end:
            runs.append({})
        runs[-1][host] = drawn
        end = max(end, drawn.high)
    return [run for run in runs if len(run) > 1]


def _by_mistake(run: dict[str, DaemonRange], labels: t.Mapping[str, t.Sequence[int]]) -> dict[str, DaemonRange]:
    """Hosts whose ranges overlap by mistake.

    One range for all hosts is no mistake where it is all categories, which is the default, or the band that the ledger
    leaves to dynamic guests, nor on hosts whose own static labels lie outside of it.
    """
    ranges = {(drawn.low, drawn.high) for drawn in run.values()}
    if len(ranges) > 1:
        return run
    if ranges <= {(0, MAX_CATEGORY), (_DYNAMIC.first, _DYNAMIC.last)}:
        return {}
    mask = _mask(next(iter(run.values())))
    without = {host: drawn for host, drawn in run.items() if all(label & mask for label in labels.get(host, ()))}
    return without if len(without) > 1 else {}
