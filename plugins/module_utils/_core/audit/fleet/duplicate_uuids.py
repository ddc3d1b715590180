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
from .labelled import Party
from .reach_now import in_order, listed


def duplicates(parties: t.Sequence[Party]) -> dict[str, list[Party]]:
    """Guests with one uuid on several hosts that are not one guest in a migration, by uuid."""
    if len({party.identity for party in parties}) == len(parties):
        return {}
    by_uuid: dict[str, list[Party]] = defaultdict(list)
    for party in parties:
        if party.uuid:
            by_uuid[party.uuid].append(party)
    return {uuid: members for uuid, members in by_uuid.items() if len(members) > 1 and not _is_one_guest(members)}


def _is_one_guest(members: t.Sequence[Party]) -> bool:
    hosts = {party.host for party in members if party.running}
    return len({party.host for party in members}) == 1 or (
        len(hosts) < 2 and len({party.disks for party in members}) == 1
    )


def with_distinct_identities(parties: t.Iterable[Party], uuids: t.Mapping[str, t.Sequence[Party]]) -> list[Party]:
    """The parties; guests with one uuid that are not one guest get different identities.

    Guests with the same disks, at most one of which is not paused, stay one guest.
    """
    names: dict[int, str] = {}
    for uuid, members in uuids.items():
        by_disks: dict[frozenset[str], list[Party]] = defaultdict(list)
        for party in members:
            by_disks[party.disks].append(party)
        for alike in by_disks.values():
            first = min(party.host for party in alike)
            one_guest = _is_one_guest(alike)
            names.update((id(party), f"{uuid} on {first if one_guest else party.host}") for party in alike)
    return [replace(party, identity=names[id(party)]) if id(party) in names else party for party in parties]


def hits(duplicated: t.Iterable[t.Sequence[Party]]) -> t.Iterator[FleetHit]:
    """One hit for all guests that the same hosts have in common."""
    by_hosts: dict[tuple[str, ...], list[Party]] = defaultdict(list)
    for members in duplicated:
        by_hosts[tuple(sorted({party.host for party in members}))].extend(members)
    for hosts, members in sorted(by_hosts.items()):
        names = sorted({party.uuid for party in members})
        subject = f"guest {members[0].name}" if len(names) == 1 else f"{len(names)} guests on {' and '.join(hosts[:4])}"
        evidence = {**listed("guests", in_order(members)), "hosts": list(hosts)}
        yield FleetHit(subject, "\0".join([*hosts, *names]), evidence)
