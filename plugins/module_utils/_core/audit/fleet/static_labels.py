# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static labels that are not what they should be: copied from documentation, or not what the ledger gave.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict

from ...allocate.ledger import Row
from ...errors import LabelError
from ...selinux.context import CategorySet, parse_level
from ..finding import FleetHit
from .labelled import Party
from .reach_now import LevelHolders, in_order, listed

#: Examples in the documentation of libvirt and of distributions.
EXAMPLES = frozenset(CategorySet.of(pair) for pair in ((392, 662), (87, 520), (100, 200)))

_MAX_SHOWN = 200
#: States of rows whose label a guest should have.
_GIVEN = ("published", "observed")


def examples(
    statics: t.Iterable[Party], reported: t.Mapping[str, t.Sequence[t.Sequence[Party]]]
) -> t.Iterator[FleetHit]:
    """One hit per example, unless one finding about reach names all its guests."""
    for key, group in sorted(LevelHolders(party for party in statics if party.level.categories in EXAMPLES).items()):
        places = {(party.uuid, party.host) for party in group}
        if any(places <= {(party.uuid, party.host) for party in members} for members in reported.get(key, ())):
            continue
        members = in_order(group)
        evidence = {"level": key, **listed("guests", members), "hosts": sorted({party.host for party in members})}
        names = sorted({party.uuid for party in members})
        yield FleetHit(key, "\0".join([key, *names]), evidence)


def is_example(key: str) -> bool:
    """Whether a level is one of the examples."""
    try:
        return parse_level(key).categories in EXAMPLES
    except LabelError:
        return False


def drift(
    ledger: t.Sequence[Row], statics: t.Iterable[Party], running: t.Collection[str], whole: bool
) -> t.Iterator[FleetHit]:
    """Differences between ledger and fleet, by kind. An empty ledger is not in use.

    ``running`` are uuids of guests that run; ``whole``: all hosts were read, so a guest that was not seen is gone.
    """
    if not ledger:
        return
    rows = {row.uuid: row for row in ledger if row.state != "released"}
    owner = {_canonical(row.level): row for row in rows.values()}
    kinds: dict[str, list[dict[str, t.Any]]] = defaultdict(list)
    seen: set[str] = set(running)
    #: Levels by uuid and host: the report of one host decides nothing about another.
    holding: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for party in in_order(statics):
        seen.add(party.uuid)
        holding[party.uuid][party.host].add(party.key)
        row, holder = rows.get(party.uuid), owner.get(party.key)
        if holder is not None and holder.uuid != party.uuid:
            kinds["taken"].append({**party.evidence(), "given_to": holder.name or holder.uuid})
        elif row is None:
            kinds["unknown"].append(party.evidence())
    for row in sorted(rows.values(), key=lambda row: (row.host, row.name, row.uuid)):
        levels_by_host = holding[row.uuid].values()
        without = [levels for levels in levels_by_host if _canonical(row.level) not in levels]
        if row.state in _GIVEN and row.uuid in seen and (without or not levels_by_host):
            kinds["other"].append(_row(row, sorted(set().union(*without))))
        elif row.state == "observed" and row.uuid not in seen and whole:
            kinds["gone"].append(_row(row, []))
    for kind, entries in sorted(kinds.items()):
        yield _drift(kind, entries)


#: Subject of each kind of drift, and its severity where that differs from the rule's.
_KINDS = {
    "gone": ("guests of the ledger that no host has", "low"),
    "other": ("guests without the label that the ledger gave them", None),
    "taken": ("guests with a label that the ledger gave to others", "high"),
    "unknown": ("static labels that the ledger does not know", None),
}


def _drift(kind: str, entries: list[dict[str, t.Any]]) -> FleetHit:
    subject, severity = _KINDS[kind]
    evidence: dict[str, t.Any] = {
        "guests": entries[:_MAX_SHOWN],
        "hosts": sorted({entry["host"] for entry in entries if entry["host"]}),
    }
    if len(entries) > _MAX_SHOWN:
        evidence["guests_in_all"] = len(entries)
    names = sorted({f"{entry['uuid']} {entry['level']}" for entry in entries})
    return FleetHit(subject, "\0".join([kind, *names]), evidence, severity=severity)


def _row(row: Row, levels: list[str]) -> dict[str, t.Any]:
    entry = {"guest": row.name, "host": row.host, "level": row.level, "uuid": row.uuid, "state": row.state}
    return {**entry, "found": levels} if levels else entry


def _canonical(level: str) -> str:
    try:
        return str(parse_level(level))
    except LabelError:
        return level
