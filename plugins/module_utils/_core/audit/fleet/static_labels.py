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
from .labelled import Placed
from .reach_now import Held, in_order, listed

#: Examples in the documentation of libvirt and of distributions.
EXAMPLES = frozenset(CategorySet.of(pair) for pair in ((392, 662), (87, 520), (100, 200)))

_MAX_SHOWN = 200
#: Rows that a guest should have in the fleet.
_GIVEN = ("published", "observed")


def copied(
    statics: t.Iterable[Placed], reported: t.Mapping[str, t.Sequence[t.Sequence[Placed]]]
) -> t.Iterator[FleetHit]:
    """One hit per example, unless one finding about reach names all its guests."""
    for key, group in sorted(Held(one for one in statics if one.level.categories in EXAMPLES).items()):
        places = {(one.uuid, one.host) for one in group}
        if any(places <= {(one.uuid, one.host) for one in members} for members in reported.get(key, ())):
            continue
        members = in_order(group)
        evidence = {"level": key, **listed("guests", members), "hosts": sorted({one.host for one in members})}
        names = sorted({one.uuid for one in members})
        yield FleetHit(key, "\0".join([key, *names]), evidence)


def is_example(key: str) -> bool:
    """Whether a level is one of the examples."""
    try:
        return parse_level(key).categories in EXAMPLES
    except LabelError:
        return False


def drift(
    ledger: t.Sequence[Row], statics: t.Iterable[Placed], running: t.Collection[str], whole: bool
) -> t.Iterator[FleetHit]:
    """What ledger and fleet say differently, by kind. An empty ledger is one that is not used.

    ``running`` are uuids of guests that run; ``whole``: all hosts were read, so who is not seen is gone.
    """
    if not ledger:
        return
    rows = {row.uuid: row for row in ledger if row.state != "released"}
    owner = {_canonical(row.level): row for row in rows.values()}
    kinds: dict[str, list[dict[str, t.Any]]] = defaultdict(list)
    seen: set[str] = set(running)
    #: Levels by uuid and host: what one host reports settles nothing about another.
    holding: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in in_order(statics):
        seen.add(one.uuid)
        holding[one.uuid][one.host].add(one.key)
        row, other = rows.get(one.uuid), owner.get(one.key)
        if other is not None and other.uuid != one.uuid:
            kinds["taken"].append({**one.told(), "given_to": other.name or other.uuid})
        elif row is None:
            kinds["unknown"].append(one.told())
    for row in sorted(rows.values(), key=lambda row: (row.host, row.name, row.uuid)):
        held = holding[row.uuid].values()
        without = [levels for levels in held if _canonical(row.level) not in levels]
        if row.state in _GIVEN and row.uuid in seen and (without or not held):
            kinds["other"].append(_row(row, sorted(set().union(*without))))
        elif row.state == "observed" and row.uuid not in seen and whole:
            kinds["gone"].append(_row(row, []))
    for kind, entries in sorted(kinds.items()):
        yield _drift(kind, entries)


#: What each kind of drift is called, and how bad it is where it is not as bad as the rule says.
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


def _row(row: Row, found: list[str]) -> dict[str, t.Any]:
    told = {"guest": row.name, "host": row.host, "level": row.level, "uuid": row.uuid, "state": row.state}
    return {**told, "found": found} if found else told


def _canonical(level: str) -> str:
    try:
        return str(parse_level(level))
    except LabelError:
        return level
