# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores snapshots in the database, or in a run of it. The module of the same name has the documentation."""

from __future__ import annotations

import json
import time
import typing as t
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from ..module_utils._core import words
from ..module_utils._core.audit.run import KINDS, HostReading
from ..module_utils._core.errors import StoreError
from ..module_utils._core.snapshot.document import encode
from ..module_utils._core.snapshot.model import Snapshot
from ..plugin_utils import _run_identity, _run_readings, _runs, _snapshots
from ..plugin_utils._action import Arguments, ControllerAction
from ..plugin_utils._store import DEFAULT_URL, Store, Stored, Transaction, packed

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "store": {"type": "str", "default": DEFAULT_URL},
    "snapshots": {"type": "path", "required": True},
    "hosts": {"type": "list", "elements": "str", "required": True},
    **_run_identity.ARGUMENTS,
    "run_kind": {"type": "str", "choices": list(KINDS)},
    "max_age": {"type": "int", "default": 3600},
}
#: Snapshots in memory at a time, and in one transaction.
_AT_A_TIME = 200


class ActionModule(ControllerAction):
    """Stores the snapshots of the folder."""

    ARGUMENTS = ARGUMENTS

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        if arguments["run_kind"]:
            return _collect(arguments, _run_identity.inventory_of(arguments, self.variables))
        return _store(arguments, bool(self._task.check_mode))


def _collect(arguments: t.Mapping[str, t.Any], inventory: str) -> dict[str, t.Any]:
    """Add the hosts to the common run of all jobs. Check mode does so too: the next step needs them."""
    store, now = Store(arguments["store"]), time.time()
    kind, version, given = arguments["run_kind"], _run_identity.version(), arguments["run"]
    read: Counter[bool] = Counter()
    twice: list[str] = []
    try:
        run = store.run(
            lambda each: _runs.joined(each, kind, inventory, now, version, given, now - arguments["max_age"])
        ).id
        hosts = iter(sorted(set(arguments["hosts"])))
        while batch := list(islice(hosts, _AT_A_TIME)):
            readings, contents = _run_readings.of_folder(arguments["snapshots"], batch, now)
            before = _added(store, run, readings, contents, sum(read.values()))
            twice += [reading.host for reading in before]
            read.update(reading.digest is not None for reading in readings)
    finally:
        store.close()
    warnings = [*store.warnings, *_of_twice(run, twice)]
    message = f"{store.name}: run {run} of inventory {inventory}: {read[True]} hosts read, {read[False]} not read"
    sizes = {"read": read[True], "unread": read[False], "twice": len(twice)}
    result = {"changed": True, "run": run, "inventory": inventory, "sizes": sizes, "msg": message}
    return {**result, **({"warnings": warnings} if warnings else {})}


def _added(
    store: Store, run: str, readings: list[HostReading], contents: dict[str, bytes], done: int
) -> list[HostReading]:
    try:
        return store.run(lambda transaction: _runs.add(transaction, run, readings, contents))
    except StoreError as error:
        why = f"{error}. {done} hosts of this job were stored in run {run} before: run it again with svirt_run_id={run}"
        raise StoreError(why, error.code) from None


def _of_twice(run: str, hosts: t.Sequence[str]) -> list[str]:
    if not hosts:
        return []
    seen = f"run {run} had {words.some(list(hosts))} from another job"
    return [f"{seen}: a host in two slices, or a job that ran twice; of two snapshots the newer counts"]


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
