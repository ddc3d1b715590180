# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of guests on the controller, one file per host, and the ledger's events about guests.

As with snapshots, a record of why there are none is written first: those of an earlier run are never taken for new.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ..module_utils._core.audit.history import transfer
from ..module_utils._core.audit.history.assignments import LabelEvent
from ..module_utils._core.audit.history.intervals import HostLog
from ..module_utils._core.audit.text import visible_text
from ..module_utils._core.errors import SchemaError
from . import _snapshots
from ._snapshots import MAX_BYTES, MAX_WHY, UNREAD_SCHEMA, Unread

_EVENTS = (
    "SELECT at, domain, subject, action, new FROM svirt_events "
    "WHERE action IN ('reserve', 'adopt', 'rebuild', 'revive', 'release') ORDER BY number"
)


def read(folder: str | Path, host: str, oldest: float) -> HostLog | Unread:
    """A host's records. A file that is missing, written before ``oldest`` or invalid makes the host unread."""
    path = _snapshots.path_of(folder, host)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if path.stat().st_mtime < oldest:
            return Unread(host, f"{path} is older than max_age allows; read the host again")
    except FileNotFoundError:
        return Unread(host, f"no records at {path}: the host's audit log was not read")
    except OSError as error:
        return Unread(host, f"{path} cannot be read: {error.strerror or error}")
    try:
        if len(content) > MAX_BYTES:
            raise SchemaError(f"larger than {MAX_BYTES} bytes")
        document = json.loads(content)
        if isinstance(document, dict) and document.get("schema") == UNREAD_SCHEMA:
            return Unread(host, visible_text(str(document.get("why") or "no reason was given")[:MAX_WHY]))
        return transfer.decoded(host, document)
    except (ValueError, SchemaError, RecursionError) as error:
        return Unread(host, f"{path} has no records of guests: {str(error)[:200]}")


def label_events(url: str) -> list[LabelEvent]:
    """The ledger's events about labels of guests. Raises StoreError."""
    from ._store import Store  # SQLAlchemy is not needed without a ledger

    store = Store(url)
    try:
        store.demand()
        rows: list[tuple[t.Any, ...]] = store.run(lambda transaction: transaction.rows(_EVENTS), keep=False)
    finally:
        store.close()
    return [LabelEvent(float(at), *(str(text) for text in texts)) for at, *texts in rows]
