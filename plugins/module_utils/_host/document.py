# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot as plain JSON: whatever a host's names hold, the text that leaves is valid and bounded.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import Counter

from .._core.schema import MAX_ITEMS, MAX_TEXT, encode
from .._core.snapshot import Snapshot
from .coverage import Ledger

_CUT = "…(cut)"


def document(snapshot: Snapshot) -> dict[str, t.Any]:
    """The snapshot's JSON form."""
    return t.cast("dict[str, t.Any]", _clean(encode(snapshot)))


def bound(snapshot: Snapshot, ledger: Ledger) -> None:
    """Keep what the schema takes; what is left out makes its area unknown."""
    for area in ("guests", "processes", "containers", "storage", "orphans"):
        items = getattr(snapshot, area)
        if len(items) > MAX_ITEMS:
            ledger.unknown(area, f"only {MAX_ITEMS} of {len(items)} are kept")
            del items[MAX_ITEMS:]


def summary(snapshot: Snapshot, size: int) -> dict[str, t.Any]:
    """What a task shows of a snapshot: counts and coverage, and the size of the whole in bytes."""
    return {
        "selinux": snapshot.selinux.mode,
        "daemon": snapshot.libvirt.daemon.name if snapshot.libvirt.daemon else None,
        "guests": len(snapshot.guests),
        "running": sum(guest.active for guest in snapshot.guests),
        "resources": sum(len(guest.resources) for guest in snapshot.guests),
        "processes": dict(sorted(Counter(item.role for item in snapshot.processes).items())),
        "containers": len(snapshot.containers),
        "storage": len(snapshot.storage),
        "orphans": len(snapshot.orphans),
        "coverage": encode(snapshot.coverage),
        "bytes": size,
    }


def _clean(value: t.Any) -> t.Any:
    if isinstance(value, str):
        return value if value.isascii() and len(value) <= MAX_TEXT else _text(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value


def _text(value: str) -> str:
    """Bytes that are no UTF-8 become \\xNN; nothing else changes but an excess of length."""
    try:
        plain = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        plain = value.encode("utf-8", "backslashreplace").decode()
    return plain if len(plain) <= MAX_TEXT else plain[: MAX_TEXT - len(_CUT)] + _CUT
