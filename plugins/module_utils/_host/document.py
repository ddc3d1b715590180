# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot as plain JSON: whatever a host's names hold, the text that leaves is valid and bounded.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import Counter

from .._core.schema import MAX_TEXT, encode
from .._core.snapshot import Snapshot

_CUT = "…(cut)"
_ATOMS = frozenset((int, float, bool, type(None)))


def document(snapshot: Snapshot) -> dict[str, t.Any]:
    """The snapshot's JSON form."""
    return t.cast("dict[str, t.Any]", _plain(snapshot))


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


def _plain(value: t.Any) -> t.Any:
    """What schema.encode gives, with clean texts, in one pass: a host with many guests has 10,000 values."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() and len(value) <= MAX_TEXT else _text(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        return [_plain(item) for item in value]
    if kind is dict:
        return {_plain(key): _plain(item) for key, item in sorted(value.items())}
    return {name: _plain(item) for name, item in vars(value).items()}


def _text(value: str) -> str:
    """Bytes that are no UTF-8 become \\xNN; nothing else changes but an excess of length."""
    try:
        plain = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        plain = value.encode("utf-8", "backslashreplace").decode()
    return plain if len(plain) <= MAX_TEXT else plain[: MAX_TEXT - len(_CUT)] + _CUT
