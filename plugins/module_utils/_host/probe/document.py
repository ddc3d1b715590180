# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot as plain JSON: whatever a host's names hold, the text that leaves is valid and bounded.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import binascii
import json
import typing as t
import zlib
from collections import Counter

from ..._core.errors import SchemaError
from ..._core.snapshot.document import MAX_TEXT, encode
from ..._core.snapshot.model import Snapshot
from ..._core.utf8 import clean_text

_CUT = "…(cut)"
#: 10,000 guests need about 20 MB.
MAX_BYTES = 256 * 1024 * 1024
_ATOMS = frozenset((int, float, bool, type(None)))


def document(snapshot: Snapshot) -> dict[str, t.Any]:
    """The snapshot's JSON form."""
    return t.cast("dict[str, t.Any]", _plain(snapshot))


def pack(whole: dict[str, t.Any]) -> str:
    """A document as one text: Ansible visits every value of a result, which costs more than reading the host."""
    content = json.dumps(whole, separators=(",", ":")).encode("ascii")
    return binascii.b2a_base64(zlib.compress(content, 1), newline=False).decode("ascii")


def unpack(text: t.Any) -> t.Any:
    """The document of a packed text, which is untrusted: raises SchemaError for anything else, and above MAX_BYTES."""
    if not isinstance(text, str):
        raise SchemaError("not a snapshot: the answer holds none")
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(binascii.a2b_base64(text), MAX_BYTES)
        if unpacker.unconsumed_tail:
            raise SchemaError(f"not a snapshot: larger than {MAX_BYTES} bytes")
        return json.loads(content)
    except (ValueError, zlib.error, RecursionError) as error:
        raise SchemaError(f"not a snapshot: {str(error)[:200]}") from error


def summary(snapshot: Snapshot) -> dict[str, t.Any]:
    """Counts and coverage, which a task shows."""
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
    }


def _plain(value: t.Any) -> t.Any:
    """As snapshot.document.encode, with clean texts, in one pass: a host with many guests has 10,000 values."""
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
    """Text that UTF-8 can hold, of bounded length."""
    plain = clean_text(value)
    return plain if len(plain) <= MAX_TEXT else plain[: MAX_TEXT - len(_CUT)] + _CUT
