# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of a fleet as one JSON object (schema ``svirt.fleet/history/1``), its verdict, and its terminal lines.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass

from ...words import and_more
from ..finding import FAIL, PASS, UNKNOWN
from ..text import escape
from .intervals import Doubt, HostHistory, Interval
from .overlaps import EQUAL, FleetPast, PastReach, Period

SCHEMA = "svirt.fleet/history/1"
#: Lines of each kind that a terminal shows.
MAX_LINES = 20
_WORDS = {
    "same_host": "on one host",
    "shared": "by shared storage",
    "open": "if they share storage",
    "unread": "if they share storage",
}


@dataclass(frozen=True)
class UnreadHost:
    """A host without a history, and why."""

    host: str
    why: str


@dataclass(frozen=True)
class PastScope:
    """What a history is about."""

    #: From when on it is asked for; None: as far back as the logs go.
    since: float | None
    now: float
    unread: tuple[UnreadHost, ...] = ()


def document(histories: t.Sequence[HostHistory], past: FleetPast, scope: PastScope) -> dict[str, t.Any]:
    """The whole history. Lists are in a fixed order."""
    doubts = [*past.doubts, *(doubt for history in histories for doubt in history.doubts)]
    doubts = [doubt for doubt in doubts if scope.since is None or doubt.until >= scope.since]
    pairs = [pair for pair in past.pairs if scope.since is None or _last(pair) >= scope.since]
    late = [history.host for history in histories if scope.since is not None and history.since > scope.since]
    hosts = [_host(history, late) for history in sorted(histories, key=lambda item: item.host)]
    hosts += [{"name": item.host, "why": item.why} for item in scope.unread]
    uncertain = [*doubts, *late, *scope.unread, *(history for history in histories if history.more_doubts)]
    return {
        "schema": SCHEMA,
        "generated_at": when(scope.now),
        "since": when(scope.since) if scope.since is not None else None,
        "covered_since": when(max(history.since for history in histories)) if histories else None,
        "verdict": _verdict(pairs, bool(uncertain) or not histories),
        "hosts": sorted(hosts, key=lambda item: str(item["name"])),
        "collisions": [_pair(pair) for pair in pairs],
        "doubts": [_doubt(doubt) for doubt in sorted(doubts, key=_doubt_order)],
        "guests": [
            _interval(item)
            for history in histories
            for item in history.intervals
            if scope.since is None or item.possible.last.at >= scope.since
        ],
        "without_storage": past.without_storage,
    }


def _verdict(pairs: t.Sequence[PastReach], uncertain: bool) -> str:
    """Fail before unknown before pass."""
    if any(pair.is_sure for pair in pairs):
        return FAIL
    return UNKNOWN if pairs or uncertain else PASS


def _last(pair: PastReach) -> float:
    return max(period.until for period in pair.periods)


def _doubt_order(doubt: Doubt) -> tuple[str, float, str, str]:
    return doubt.host, doubt.since, doubt.reason.code, doubt.uuid


def _host(history: HostHistory, late: t.Collection[str]) -> dict[str, t.Any]:
    why = "its log begins later than the time that was asked for" if history.host in late else ""
    return {
        "name": history.host,
        "since": when(history.since),
        "until": when(history.until),
        "intervals": len(history.intervals),
        "doubts": len(history.doubts) + history.more_doubts,
        "why": why,
    }


def _pair(pair: PastReach) -> dict[str, t.Any]:
    return {
        "status": "sure" if pair.is_sure else "possible",
        "class": pair.reach,
        "relation": pair.relation,
        "guests": [_party(pair.first), _party(pair.second)],
        "storage": pair.storage,
        "evidence": pair.evidence,
        "periods": [_period(period) for period in pair.periods],
        "more_periods": pair.more_periods,
    }


def _party(item: Interval) -> dict[str, str]:
    return {"host": item.host, "uuid": item.uuid, "name": item.name, "label": item.label}


def _period(period: Period) -> dict[str, t.Any]:
    return {"from": when(period.since), "to": when(period.until), "sure": period.sure}


def _doubt(doubt: Doubt) -> dict[str, str]:
    return {
        "host": doubt.host,
        "from": when(doubt.since),
        "to": when(doubt.until),
        "code": doubt.reason.code,
        "why": doubt.reason.text,
        "uuid": doubt.uuid,
        "name": doubt.name,
    }


def _interval(item: Interval) -> dict[str, t.Any]:
    return {
        **_party(item),
        "source": item.source,
        "from": when(item.possible.first.at),
        "to": when(item.possible.last.at),
        "sure": [when(item.sure.first.at), when(item.sure.last.at)] if item.sure is not None else None,
        "start": item.start,
        "end": item.end,
    }


def lines(history: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """What a terminal shows of the document: escaped, for names are their tenants'."""
    pairs = history["collisions"]
    for pair in pairs[:MAX_LINES]:
        first, second = (f"{escape(guest['name'] or guest['uuid'])} on {guest['host']}" for guest in pair["guests"])
        verb = "shared a label with" if pair["relation"] == EQUAL else "reached"
        verb = verb if pair["status"] == "sure" else f"may have {verb}"
        level = escape(pair["guests"][1]["label"]).split(":", 3)[-1]
        period = pair["periods"][0]
        more = and_more(len(pair["periods"]) - 1 + pair["more_periods"])
        where = _WORDS[pair["storage"]]
        yield f"{pair['class']} {first} {verb} {second} ({level}), {where}, {period['from']} to {period['to']}{more}"
    if len(pairs) > MAX_LINES:
        yield f"and {len(pairs) - MAX_LINES} more pairs"
    for host in history["hosts"]:
        if host["why"]:
            yield f"{host['name']}: unknown: {escape(host['why'])}"
    for doubt in history["doubts"][:MAX_LINES]:
        guest = f" {escape(doubt['name'] or doubt['uuid'])}" if doubt["uuid"] else ""
        yield f"{doubt['host']}{guest}: unknown from {doubt['from']} to {doubt['to']}: {escape(doubt['why'])}"
    if len(history["doubts"]) > MAX_LINES:
        yield f"and {len(history['doubts']) - MAX_LINES} more times that are unknown"


def when(at: float) -> str:
    """A time, UTC; one that no calendar has becomes the nearest that it has."""
    bounded = min(max(at, 0.0), 253402300799.0)
    return datetime.datetime.fromtimestamp(bounded, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
