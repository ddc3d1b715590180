# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How labels of the ledger go from state to state: reserved, published, observed, quarantined, released.

A label is published when it was handed to be written, or is seen in a definition; observed when its guest has it and no
other. A guest that is gone from all hosts of its domain puts its label into quarantine, for backups carry labels. It
is gone only when all those hosts were read: a host that does not answer keeps what it holds.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..selinux.context import parse_level
from .labels_in_use import GuestUse
from .ledger import HELD, NO_RANK, OBSERVED, PUBLISHED, QUARANTINED, RELEASED, RESERVED, Change, Note, Plan, Row

DAY = 86400.0


@dataclass(frozen=True)
class Sight:
    """Who was seen where."""

    #: Places of guests by uuid, that where one runs first.
    guests: t.Mapping[str, t.Sequence[GuestUse]]
    #: Hosts whose guests were all read.
    read: t.Collection[str]
    #: Hosts of the domain that a row belongs to, by the name of a domain.
    hosts: t.Mapping[str, t.Collection[str]] = field(default_factory=dict)
    #: Name of a host's domain.
    domain_of: t.Mapping[str, str] = field(default_factory=dict)


def publish(rows: t.Iterable[Row], uuids: t.Container[str] | None, hosts: t.Container[str] | None) -> Plan:
    """What was handed out is written now: reserved labels of these guests (None: all) on these hosts (None: all)."""
    plan = Plan()
    for row in rows:
        chosen = (uuids is None or row.uuid in uuids or row.name in uuids) and (hosts is None or row.host in hosts)
        if row.state == RESERVED and chosen:
            plan.changes.append(_change("publish", row, PUBLISHED))
    return plan


def observe(rows: t.Iterable[Row], sight: Sight, until: float, now: float) -> Plan:
    """What the snapshots say of the rows. ``until`` is when a quarantine that begins now ends."""
    plan = Plan()
    rows = list(rows)
    homes = {(row.uuid, row.domain) for row in rows if row.state in HELD}
    for row in rows:
        if row.state in HELD:
            _look(row, sight, homes, until, plan)
        elif row.state == QUARANTINED:
            _rest(row, sight, now, plan)
    return plan


def release(
    rows: t.Iterable[Row], uuids: t.Collection[str], hosts: t.Collection[str], until: float, now: float
) -> Plan:
    """What people say is gone: these guests, and all that were last seen on these hosts. Quarantine comes first."""
    plan = Plan()
    for row in rows:
        if row.state in HELD and (row.uuid in uuids or row.name in uuids or row.host in hosts):
            plan.changes.append(_to_quarantine(row, until) if until > now else _released(row))
        elif row.state == QUARANTINED and row.until is not None and row.until <= now:
            plan.changes.append(_released(row))
    return plan


def seen_state(row: Row, places: t.Sequence[GuestUse]) -> str:
    """The state that the guest's definitions and processes show for the row's label."""
    own = parse_level(row.level).categories
    written = [place for place in places if place.defined is not None and place.defined.categories == own]
    if len(written) < len(places) or not all(place.relabels for place in written):
        return RESERVED
    others = {categories for place in places for categories in (*place.held, *place.files)} - {own}
    runs = all(place.running == own for place in places if place.active)
    # Old labels of its files count until nobody sees them: tenants share two categories, which lie within the label.
    foreign = any(not own.dominates(categories) for categories in others)
    return OBSERVED if runs and not foreign else PUBLISHED


def _look(row: Row, sight: Sight, homes: t.Collection[tuple[str, str]], until: float, plan: Plan) -> None:
    domain = row.domain if row.domain in sight.hosts else sight.domain_of.get(row.host, "")
    hosts = sight.hosts.get(domain, ())
    if not hosts:
        why = f"it was last seen on {row.host}, which is no host of a domain here; if that is gone, name it in release"
        plan.refused.append(Note(row.subject, why))
        return
    places = [place for place in sight.guests.get(row.uuid, ()) if place.host in hosts]
    if not places:
        unread = sorted(host for host in hosts if host not in sight.read)
        if unread:
            why = f"not seen, but {_some(unread)} could not be read, so it keeps its label"
            plan.pending.append(Note(row.subject, why))
        else:
            plan.changes.append(_to_quarantine(row, until))
        return
    if domain != row.domain and (row.uuid, domain) in homes:
        # The domain has another name now, and the guest another label there.
        if not any(_holds(place, row) for place in places) and all(host in sight.read for host in hosts):
            plan.changes.append(_to_quarantine(row, until))
        return
    _seen(row, places, plan)


def _seen(row: Row, places: t.Sequence[GuestUse], plan: Plan) -> None:
    state = seen_state(row, places)
    after = replace(row, host=places[0].host, name=places[0].name)
    if row.state != RESERVED and state == RESERVED:
        why = (
            f"its label in the ledger is {row.level}, but its definition on {places[0].host} has another, or no "
            "relabelling; reserve gives the order to write it"
        )
        plan.refused.append(Note(row.subject, why))
        state = row.state
    elif _later(state, row.state):
        after = replace(after, state=state)
    if after.state != row.state:
        plan.changes.append(Change("observe", row.subject, row.state, after.state, after, row))
    elif after != row:
        plan.changes.append(Change("locate", row.subject, row.host, after.host, after, row))


def _rest(row: Row, sight: Sight, now: float, plan: Plan) -> None:
    """A label whose quarantine is over goes, unless it is seen on its guest: then reserve takes it out."""
    if any(_holds(place, row) for place in sight.guests.get(row.uuid, ())):
        why = f"its label {row.level} is in quarantine, but the guest is seen with it; reserve gives it back"
        plan.pending.append(Note(row.subject, why))
    elif row.until is not None and row.until <= now:
        plan.changes.append(_released(row))


def _later(state: str, than: str) -> bool:
    return HELD.index(state) > HELD.index(than)


def _holds(place: GuestUse, row: Row) -> bool:
    own = parse_level(row.level).categories
    return own in place.held or own in place.files


def _change(action: str, row: Row, state: str, until: float | None = None) -> Change:
    return Change(action, row.subject, row.state, state, replace(row, state=state, until=until), row)


def _to_quarantine(row: Row, until: float) -> Change:
    return _change("quarantine", row, QUARANTINED, until)


def _released(row: Row) -> Change:
    gone = replace(row, state=RELEASED, until=None, rank=NO_RANK)
    return Change("release", row.subject, row.state, RELEASED, gone, row)


def _some(names: t.Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
