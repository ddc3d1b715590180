# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""States of a row: reserved, published, observed, quarantined, released, and the transitions between them.

A label is published when it was handed out to be written, or is seen in a definition; observed when the guest has it
and no other. The label of a guest that is on none of its domain's hosts goes to quarantine, because backups carry
labels. Only a read of all those hosts shows that a guest is gone: an unread host keeps its labels.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..selinux.context import parse_level
from ..words import some
from .clock import LedgerTime
from .labels_in_use import GuestUse
from .ledger import HELD, NO_RANK, OBSERVED, PUBLISHED, QUARANTINED, RELEASED, RESERVED, LedgerChange, LedgerPlan, Row


@dataclass(frozen=True)
class Observations:
    """Guests of the fleet by the snapshots."""

    #: Places of guests by uuid, the one where it runs first.
    guests: t.Mapping[str, t.Sequence[GuestUse]]
    #: Hosts whose guests were all read.
    read: t.Collection[str]
    #: Hosts of each domain.
    hosts: t.Mapping[str, t.Collection[str]] = field(default_factory=dict)
    #: Domain of each host.
    domain_of: t.Mapping[str, str] = field(default_factory=dict)


def publish(rows: t.Iterable[Row], uuids: t.Container[str] | None, hosts: t.Container[str] | None) -> LedgerPlan:
    """Mark reserved labels as handed out: of these guests (None: all) on these hosts (None: all)."""
    plan = LedgerPlan()
    for row in rows:
        chosen = (uuids is None or row.uuid in uuids or row.name in uuids) and (hosts is None or row.host in hosts)
        if row.state == RESERVED and chosen:
            plan.changes.append(_change("publish", row, PUBLISHED))
    return plan


def observe(rows: t.Iterable[Row], observed: Observations, quarantine: float, time: LedgerTime) -> LedgerPlan:
    """Update rows from the snapshots. A quarantine lasts so many seconds."""
    plan = LedgerPlan()
    _report_clock(plan, time)
    rows = list(rows)
    homes = {(row.uuid, row.domain) for row in rows if row.state in HELD}
    for row in rows:
        if row.state in HELD:
            _observe_held(row, observed, homes, quarantine, time, plan)
        elif row.state == QUARANTINED:
            _observe_quarantined(row, observed, time, plan)
    return plan


def release(
    rows: t.Iterable[Row], uuids: t.Collection[str], hosts: t.Collection[str], quarantine: float, time: LedgerTime
) -> LedgerPlan:
    """Quarantine the labels of these guests and of guests last seen on these hosts; end quarantines that are over."""
    plan = LedgerPlan()
    _report_clock(plan, time)
    for row in () if time.ahead is not None else rows:
        if row.state in HELD and (row.uuid in uuids or row.name in uuids or row.host in hosts):
            plan.changes.append(_to_quarantine(row, quarantine, time) if quarantine > 0 else _released(row))
        elif _is_over(row, time):
            plan.changes.append(_released(row))
    return plan


def _report_clock(plan: LedgerPlan, time: LedgerTime) -> None:
    for reason in filter(None, (time.ahead, time.behind)):
        plan.refuse("clock of this controller", reason.code, reason.text)


def seen_state(row: Row, places: t.Sequence[GuestUse]) -> str:
    """The state that the guest's definitions and processes show for the row's label."""
    own = parse_level(row.level).categories
    defined = [place for place in places if place.defined is not None and place.defined.categories == own]
    if len(defined) < len(places) or not all(place.relabels for place in defined):
        return RESERVED
    other_labels = {categories for place in places for categories in (*place.held, *place.files)} - {own}
    runs = all(place.running == own for place in places if place.active)
    # Old labels of its files count as long as they are seen. Those of a tenant's shared files lie within the label.
    foreign = any(not own.dominates(categories) for categories in other_labels)
    return OBSERVED if runs and not foreign else PUBLISHED


def _observe_held(
    row: Row,
    observed: Observations,
    homes: t.Collection[tuple[str, str]],
    quarantine: float,
    time: LedgerTime,
    plan: LedgerPlan,
) -> None:
    domain = row.domain if row.domain in observed.hosts else observed.domain_of.get(row.host, "")
    hosts = observed.hosts.get(domain, ())
    if not hosts:
        why = f"it was last seen on {row.host}, which is no host of a domain here; if that is gone, name it in release"
        plan.refuse(row.subject, "host_of_no_domain", why)
        return
    places = [place for place in observed.guests.get(row.uuid, ()) if place.host in hosts]
    if not places:
        unread = sorted(host for host in hosts if host not in observed.read)
        if unread:
            why = f"not seen, but {some(unread)} could not be read, so it keeps its label"
            plan.wait(row.subject, "host_read", "hosts_unread", why)
        elif time.ahead is None:
            plan.changes.append(_to_quarantine(row, quarantine, time))
        return
    if domain != row.domain and (row.uuid, domain) in homes:
        # The domain has another name now, and the guest another label there.
        moved = not any(_holds(place, row) for place in places) and all(host in observed.read for host in hosts)
        if moved and time.ahead is None:
            plan.changes.append(_to_quarantine(row, quarantine, time))
        return
    _observe_places(row, places, plan)


def _observe_places(row: Row, places: t.Sequence[GuestUse], plan: LedgerPlan) -> None:
    state = seen_state(row, places)
    after = replace(row, host=places[0].host, name=places[0].name)
    if row.state != RESERVED and state == RESERVED:
        why = (
            f"its label in the ledger is {row.level}, but its definition on {places[0].host} has another, or no "
            "relabelling; reserve gives the order to write it"
        )
        plan.refuse(row.subject, "definition_differs", why)
        state = row.state
    elif _later(state, row.state):
        after = replace(after, state=state)
    if after.state != row.state:
        plan.changes.append(LedgerChange("observe", row.subject, row.state, after.state, after, row))
    elif after != row:
        plan.changes.append(LedgerChange("locate", row.subject, row.host, after.host, after, row))


def _observe_quarantined(row: Row, observed: Observations, time: LedgerTime, plan: LedgerPlan) -> None:
    """Release a label whose quarantine is over, unless its guest is seen with it: then reserve revives it."""
    if any(_holds(place, row) for place in observed.guests.get(row.uuid, ())):
        why = f"its label {row.level} is in quarantine, but the guest is seen with it; reserve gives it back"
        plan.wait(row.subject, "reserve", "quarantined_label_seen", why)
    elif _is_over(row, time):
        plan.changes.append(_released(row))


def _later(state: str, than: str) -> bool:
    return HELD.index(state) > HELD.index(than)


def _holds(place: GuestUse, row: Row) -> bool:
    own = parse_level(row.level).categories
    return own in place.held or own in place.files


def _change(action: str, row: Row, state: str, until: float | None = None) -> LedgerChange:
    return LedgerChange(action, row.subject, row.state, state, replace(row, state=state, until=until), row)


def _is_over(row: Row, time: LedgerTime) -> bool:
    quarantined = row.state == QUARANTINED and row.until is not None and time.ahead is None
    return quarantined and row.until is not None and row.until <= time.now


def _to_quarantine(row: Row, quarantine: float, time: LedgerTime) -> LedgerChange:
    return _change("quarantine", row, QUARANTINED, time.start + quarantine)


def _released(row: Row) -> LedgerChange:
    gone = replace(row, state=RELEASED, until=None, rank=NO_RANK)
    return LedgerChange("release", row.subject, row.state, RELEASED, gone, row)
