# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots out of the store, for a job that does not see the folder that the probe wrote into.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json

from ..module_utils._core.errors import SchemaError, StoreError
from ..module_utils._core.schema import decode_snapshot
from ..module_utils._core.snapshot import Snapshot
from ._snapshots import Unread
from ._store import Transaction, unpacked


def read(transaction: Transaction, host: str, oldest: float) -> Snapshot | Unread:
    """What the store knows of a host. A snapshot that came before ``oldest``, or is damaged, makes it unread."""
    stored = transaction.snapshot(host)
    if stored is None:
        return Unread(host, "the store has no snapshot of it: run the probe for it, then fleet_store")
    if stored.received_at < oldest:
        late = f"{oldest - stored.received_at:.0f} s"
        return Unread(host, f"its snapshot in the store is {late} older than max_age allows; probe the host again")
    try:
        return decode_snapshot(json.loads(unpacked(stored.content)))
    except (SchemaError, StoreError, ValueError, RecursionError) as error:
        return Unread(host, f"its snapshot in the store is damaged: {str(error)[:200]}; store a new one")
