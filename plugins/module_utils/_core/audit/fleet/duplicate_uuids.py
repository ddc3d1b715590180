# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One uuid that runs on two hosts. In a migration one side is paused; that is one guest.

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
    """By uuid, what runs on several hosts at once."""
    if len({one.who for one in placed}) == len(placed):
        return {}
    on: dict[str, list[Placed]] = defaultdict(list)
    for one in placed:
        if one.running and one.uuid:
            on[one.uuid].append(one)
    return {uuid: members for uuid, members in on.items() if len({one.host for one in members}) > 1}


def told_apart(placed: t.Iterable[Placed], uuids: t.Container[str]) -> list[Placed]:
    """All of them; what runs twice is another one on each host, so that it hides no collision."""
    return [replace(one, who=f"{one.uuid} on {one.host}") if one.uuid in uuids else one for one in placed]


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
