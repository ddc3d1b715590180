# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's events as JSON, from the host to the controller (schema ``svirt.fleet/guest_records/1``).

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import math
import typing as t

from ...errors import SchemaError
from ...selinux.context import MAX_TEXT
from ...selinux.virt_audit import KINDS, MAX_EVENTS, MAX_NAME, VirtEvent
from ...snapshot.model import OK, Snapshot
from .intervals import GuestNow, HostLog

SCHEMA = "svirt.fleet/guest_records/1"
_TEXTS = {"uuid": 36, "name": MAX_NAME * 6, "label": MAX_TEXT, "reason": 40}


def encoded(events: t.Iterable[VirtEvent], since: float, until: float, source: str) -> dict[str, t.Any]:
    """The JSON form."""
    return {"schema": SCHEMA, "since": since, "until": until, "source": source, "events": [list(e) for e in events]}


def decoded(host: str, document: t.Any) -> HostLog:
    """The log of a host, which is untrusted. Raises SchemaError with the path of what does not fit."""
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise SchemaError(f"not the records of a host's guests: its schema is not {SCHEMA}", "not_records")
    events = document.get("events")
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        raise SchemaError(f"events: expected a list of at most {MAX_EVENTS}")
    since, until = _time("since", document.get("since")), _time("until", document.get("until"))
    return HostLog(host, [_event(f"events[{index}]", item) for index, item in enumerate(events)], since, until)


def running(snapshot: Snapshot) -> list[GuestNow] | None:
    """Guests that run, by a snapshot; None where it does not know all of them."""
    area = snapshot.coverage.get("guests")
    if area is None or area.status != OK:
        return None
    return [
        GuestNow(guest.uuid, guest.name, guest.pid or 0, guest.context or "")
        for guest in snapshot.guests
        if guest.active
    ]


def _time(where: str, value: t.Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SchemaError(f"{where}: expected seconds since the epoch")
    return float(value)


def _event(where: str, item: t.Any) -> VirtEvent:
    if not isinstance(item, list) or len(item) != len(VirtEvent._fields):
        raise SchemaError(f"{where}: expected a list of {len(VirtEvent._fields)} values")
    values = dict(zip(VirtEvent._fields, item))
    if values["kind"] not in KINDS:
        raise SchemaError(f"{where}.kind: expected one of {', '.join(KINDS)}")
    pid = values["pid"]
    if isinstance(pid, bool) or not isinstance(pid, int):
        raise SchemaError(f"{where}.pid: expected a whole number")
    for name, most in _TEXTS.items():
        if not isinstance(values[name], str) or len(values[name]) > most:
            raise SchemaError(f"{where}.{name}: expected a text of at most {most} characters")
    return VirtEvent(**{**values, "at": _time(f"{where}.at", values["at"])})
