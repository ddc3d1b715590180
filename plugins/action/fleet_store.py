# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores snapshots in the database, on the controller. The module of the same name has the documentation."""

from __future__ import annotations

import json
import time
import typing as t
from collections.abc import Iterator
from itertools import islice

from ..module_utils._core.errors import StoreError
from ..module_utils._core.snapshot.document import encode
from ..module_utils._core.snapshot.model import Snapshot
from ..plugin_utils import _snapshots
from ..plugin_utils._action import Arguments, ControllerAction
from ..plugin_utils._store import DEFAULT_URL, Store, Stored, Transaction, packed

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "store": {"type": "str", "default": DEFAULT_URL},
    "snapshots": {"type": "path", "required": True},
    "hosts": {"type": "list", "elements": "str", "required": True},
}
#: Snapshots in memory at a time, and in one transaction.
_AT_A_TIME = 200


class ActionModule(ControllerAction):
    """Stores the snapshots of the folder."""

    ARGUMENTS = ARGUMENTS

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        return _store(arguments, bool(self._task.check_mode))


def _store(arguments: t.Mapping[str, t.Any], check: bool) -> dict[str, t.Any]:
    store = Store(arguments["store"])
    stored: list[str] = []
    kept: list[str] = []
    unread: dict[str, str] = {}
    try:
        readings = _readings(arguments["snapshots"], sorted(set(arguments["hosts"])), unread)
        while batch := list(islice(readings, _AT_A_TIME)):
            fresh = _store_batch(store, batch, check, len(stored))
            stored += [snapshot.host for snapshot in batch if snapshot.host in fresh]
            kept += [snapshot.host for snapshot in batch if snapshot.host not in fresh]
    finally:
        store.close()
    message = (
        f"{store.name}: {len(stored)} snapshots stored, {len(kept)} there already or newer, {len(unread)} not read"
    )
    warnings = {"warnings": store.warnings} if store.warnings else {}
    return {"changed": bool(stored), "stored": stored, "kept": kept, "unread": unread, "msg": message, **warnings}


def _store_batch(store: Store, batch: t.Sequence[Stored], check: bool, before: int) -> set[str]:
    """Store the snapshots that are newer than the store's, in one transaction. Returns their hosts."""

    def work(transaction: Transaction) -> set[str]:
        # A time in the future, of a clock that was ahead, would win over all snapshots to come.
        latest = time.time() + _snapshots.AHEAD
        received = {host: at for host, at in transaction.received().items() if at <= latest}
        newer = [snapshot for snapshot in batch if snapshot.received_at > received.get(snapshot.host, 0.0)]
        if not check:
            transaction.keep(newer)
        return {snapshot.host for snapshot in newer}

    try:
        return store.run(work, keep=not check)
    except StoreError as error:
        if not before:
            raise
        why = f"{error}. {before} snapshots of earlier transactions of this task were stored; run it again"
        raise StoreError(
            why.replace("Nothing was written", "The last transaction was not written"), error.code
        ) from None


def _readings(folder: str, hosts: t.Sequence[str], unread: dict[str, str]) -> Iterator[Stored]:
    """Valid snapshots of the folder. Reasons for the others are added to ``unread``."""
    for host in hosts:
        reading = _snapshots.read(folder, host)
        if isinstance(reading, Snapshot):
            received = _snapshots.path_of(folder, host).stat().st_mtime
            content = json.dumps(encode(reading), sort_keys=True, separators=(",", ":")).encode()
            yield Stored(host, reading.taken_at, received, packed(content))
        else:
            unread[host] = reading.why
