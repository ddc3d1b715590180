# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One uuid that is active on several hosts.

It is one guest, in a migration, only when all but one side are paused and all have the same disks. A uuid is no
identity: whoever defines a guest chooses it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import replace

from ..finding import FleetHit
from .labelled import Placed
from .reach_now import in_order, listed


def twice(placed: t.Sequence[Placed]) -> dict[str, list[Placed]]:
    """By uuid, guests of several hosts that are not one guest in a migration."""
    if len({one.who for one in placed}) == len(placed):
        return {}
    on: dict[str, list[Placed]] = defaultdict(list)
    for one in placed:
        if one.uuid:
            on[one.uuid].append(one)
    return {uuid: members for uuid, members in on.items() if len(members) > 1 and not _one_guest(members)}


def _one_guest(members: t.Sequence[Placed]) -> bool:
    hosts = {one.host for one in members if one.running}
    return len({one.host for one in members}) == 1 or (len(hosts) < 2 and len({one.disks for one in members}) == 1)


def told_apart(placed: t.Iterable[Placed], uuids: t.Mapping[str, t.Sequence[Placed]]) -> list[Placed]:
    """All of them; guests with one uuid that are not one guest get different identities.

    Those with the same disks of which at most one is not paused stay one guest.
    """
    names: dict[int, str] = {}
    for uuid, members in uuids.items():
        by_disks: dict[frozenset[str], list[Placed]] = defaultdict(list)
        for one in members:
            by_disks[one.disks].append(one)
        for alike in by_disks.values():
            first = min(one.host for one in alike)
            one_guest = _one_guest(alike)
            names.update((id(one), f"{uuid} on {first if one_guest else one.host}") for one in alike)
    return [replace(one, who=names[id(one)]) if id(one) in names else one for one in placed]


def hits(twice_: t.Iterable[t.Sequence[Placed]]) -> t.Iterator[FleetHit]:
    """One hit for all guests that the same hosts have in common."""
    by_hosts: dict[tuple[str, ...], list[Placed]] = defaultdict(list)
    for members in twice_:
        by_hosts[tuple(sorted({one.host for one in members}))].extend(members)
    for hosts, members in sorted(by_hosts.items()):
        names = sorted({one.uuid for one in members})
        subject = f"guest {members[0].name}" if len(names) == 1 else f"{len(names)} guests on {' and '.join(hosts[:4])}"
        evidence = {**listed("guests", in_order(members)), "hosts": list(hosts)}
        yield FleetHit(subject, "\0".join([*hosts, *names]), evidence)
