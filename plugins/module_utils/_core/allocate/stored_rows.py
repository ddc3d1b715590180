# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of the ledger's tables as values. A damaged row is refused and named: no label may be mistaken for another.

SQLite hardly checks types, and no database checks meaning: level and rank must be the same label of the domain's code,
and the code must be readable.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import math
import typing as t

from ..errors import CodeError, LabelError, StoreError
from ..selinux.context import MAX_CATEGORY, parse_level
from .label_code import Code
from .labels_in_use import HostUse, from_stored
from .ledger import NO_RANK, QUARANTINED, RELEASED, STATES, Row
from .ranges import Slot
from .static_labels import level_of

Values = t.Sequence[t.Any]


def codes(rows: t.Iterable[Values]) -> dict[str, str]:
    """Label codes of domains, as JSON, from (name, code)."""
    return {_text("svirt_domains", "name", name, name): _code(name, code) for name, code in rows}


def tenants(rows: t.Iterable[Values]) -> dict[tuple[str, str], int]:
    """Numbers of tenants from (domain, name, number)."""
    numbers: dict[tuple[str, str], int] = {}
    for domain, name, number in rows:
        key = f"({domain}, {name})"
        where = ("svirt_tenants", key)
        _text(*where, domain, name)
        if not _is_count(number):
            raise damaged(*where, f"its number is {number!r}")
        numbers[domain, name] = number
    return numbers


def labels(rows: t.Iterable[Values], of_domains: t.Mapping[str, str]) -> list[Row]:
    """Rows of labels from (domain, uuid, name, host, tenant, rank, level, state, until)."""
    known: dict[str, Code] = {}
    return [_label(values, of_domains, known) for values in rows]


def slots(rows: t.Iterable[Values]) -> list[Slot]:
    """Ranges of hosts from (domain, host, low, high)."""
    result = []
    for domain, host, low, high in rows:
        where = ("svirt_ranges", f"({domain}, {host})")
        _text(*where, domain, host)
        if not (_is_count(low) and _is_count(high) and low < high <= MAX_CATEGORY):
            raise damaged(*where, f"its range is {low!r} to {high!r}")
        result.append(Slot(domain, host, low, high))
    for slot, other in _overlapping(result):
        why = f"its range {slot} overlaps {other} of {other.host}"
        raise damaged("svirt_ranges", f"({slot.domain}, {slot.host})", why)
    return result


def domains_of_hosts(rows: t.Iterable[Values]) -> dict[str, str]:
    """Domains of hosts from (host, domain)."""
    domains: dict[str, str] = {}
    for host, domain in rows:
        _text("svirt_hosts", str(host), host, domain)
        domains[host] = domain
    return domains


def memory(host: str, content: bytes) -> HostUse:
    """Labels in use on a host, from the JSON that ``stored`` gave."""
    try:
        return from_stored(host, json.loads(content))
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError, LabelError) as error:
        raise damaged("svirt_hosts", host, f"its sets cannot be read ({error})") from None


def latest(rows: t.Sequence[Values]) -> float | None:
    """Latest time of all writers from (latest); None: there is none."""
    if not rows:
        return None
    value = rows[0][0]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or value in _INFINITE:
        raise damaged("svirt_clock", "1", f"its time is {value!r}")
    return float(value)


def damaged(table: str, row: str, why: str) -> StoreError:
    """The error for a row that cannot be what was written."""
    shown = str(row).encode("utf-8", "backslashreplace").decode()[:200]
    return StoreError(
        f"table {table}, row {shown} is damaged: {why}; restore a backup of the store, or move it away and rebuild the "
        "ledger with operation repair and repair: true. Nothing was written",
        "row_damaged",
    )


_INFINITE = (float("inf"), float("-inf"))


def _label(values: Values, of_domains: t.Mapping[str, str], known: dict[str, Code]) -> Row:
    domain, uuid, name, host, tenant, rank, level, state, until = values
    where = ("svirt_labels", f"({domain}, {uuid})")
    _text(*where, domain, uuid, name, host, tenant, level, state)
    if state not in STATES:
        raise damaged(*where, f"its state is {state!r}")
    if until is not None and (isinstance(until, bool) or not isinstance(until, (int, float))):
        raise damaged(*where, f"the end of its quarantine is {until!r}")
    if (state == QUARANTINED) != (until is not None):
        raise damaged(*where, f"its state is {state}, the end of its quarantine {until!r}")
    if (state == RELEASED) != (rank is None):
        raise damaged(*where, f"its state is {state}, its rank {rank!r}")
    if domain not in of_domains:
        raise damaged(*where, "svirt_domains does not have its domain")
    try:
        parse_level(level)
        if rank is not None and not _names(rank, level, _parsed(domain, of_domains, known)):
            raise damaged(*where, f"its level is {level}, which is not that of its rank {rank!r}")
    except LabelError as error:
        raise damaged(*where, f"its level cannot be read ({error})") from None
    return Row(domain, uuid, name, host, tenant, NO_RANK if rank is None else rank, level, state, until)


def _names(rank: t.Any, level: str, code: Code) -> bool:
    if not _is_count(rank) or rank >= code.tenants * code.guests:
        return False
    return level_of(code.label(*code.unrank(rank))) == level


def _parsed(domain: str, of_domains: t.Mapping[str, str], known: dict[str, Code]) -> Code:
    if domain not in known:
        known[domain] = Code.from_dict(json.loads(of_domains[domain]))
    return known[domain]


def _code(domain: str, text: t.Any) -> str:
    _text("svirt_domains", domain, text)
    try:
        Code.from_dict(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError, CodeError) as error:
        raise damaged("svirt_domains", domain, f"its code cannot be read ({error})") from None
    return str(text)


def _text(table: str, row: str, *texts: t.Any) -> str:
    for text in texts:
        if not isinstance(text, str):
            raise damaged(table, row, f"it has {text!r} in place of a text")
        if not text.isascii() and text != text.encode("utf-8", "replace").decode():
            raise damaged(table, row, f"its text {text[:80]!r} is no Unicode")
    return str(texts[-1])


def _is_count(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _overlapping(ranges: t.Iterable[Slot]) -> t.Iterator[tuple[Slot, Slot]]:
    before: Slot | None = None
    for slot in sorted(ranges, key=lambda slot: (slot.domain, slot.low)):
        if before is not None and before.domain == slot.domain and before.meets(slot.low, slot.high):
            yield slot, before
        before = slot
