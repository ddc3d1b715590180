# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshots of a run in the store, for steps that contact no host; and the run that a step works on.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import time
import typing as t
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

from ..module_utils._core.audit.run import OPEN, HostReading
from ..module_utils._core.errors import SchemaError, StoreError
from ..module_utils._core.snapshot.document import decode_snapshot
from ..module_utils._core.snapshot.model import Snapshot
from . import _runs, _snapshots
from ._snapshots import AHEAD, Unread
from ._store import DEFAULT_URL, Store, Transaction

#: Hosts whose snapshots are in memory at a time.
_AT_A_TIME = 50

Reading = Snapshot | Unread


def store_of(url: str | None) -> Store:
    """The store of the URL, or the default one. It must exist: a step before this one filled it."""
    store = Store(url or DEFAULT_URL)
    store.demand()
    return store


def to_judge(store: Store, run: str, kind: str, inventory: str, oldest: float) -> _runs.StoredRun:
    """The run whose hosts are to be judged: by its id, else the newest that jobs collect. Raises StoreError."""

    def work(transaction: Transaction) -> _runs.StoredRun:
        if run:
            return _runs.find(transaction, run)
        found = _runs.newest(transaction, inventory, kind=kind, state=OPEN, oldest=oldest)
        return found or _none(transaction, store, inventory, "an open run")

    return store.run(work, keep=False)


def to_read(store: Store, run: str, inventory: str, oldest: float) -> _runs.StoredRun:
    """The run with the newest snapshots of the inventory, or that of the id. Raises StoreError."""

    def work(transaction: Transaction) -> _runs.StoredRun:
        if run:
            return _runs.find(transaction, run)
        found = _runs.newest(transaction, inventory, oldest=oldest, whole=True)
        return found or _none(transaction, store, inventory, "a run")

    return store.run(work, keep=False)


def with_orders(store: Store, run: str, inventory: str, orders: str) -> _runs.StoredRun:
    """The newest run of the inventory with such orders, or that of the id. Raises StoreError."""

    def work(transaction: Transaction) -> _runs.StoredRun:
        if run:
            return _runs.find(transaction, run)
        found = _runs.newest(transaction, inventory, orders=orders)
        return found or _none(transaction, store, inventory, f"a run with orders ({orders})")

    return store.run(work, keep=False)


def report(store: Store, run: str, inventory: str) -> tuple[str, t.Any]:
    """Id and report of a run: of the id, else the newest one with a report, of the inventory where one is named."""

    def work(transaction: Transaction) -> tuple[str, t.Any]:
        found = _runs.find(transaction, run) if run else _runs.newest(transaction, inventory or None, judged=True)
        found = found or _none(transaction, store, inventory or "of any name", "a run with a report")
        return found.id, _runs.report_of(transaction, found.id)

    return store.run(work, keep=False)


def _none(transaction: Transaction, store: Store, inventory: str, what: str) -> t.NoReturn:
    runs = _runs.newest_runs(transaction, 5)
    listed = ", ".join(f"{run.id} of {run.inventory[:80]!r} ({run.state})" for run in runs) or "none"
    raise StoreError(
        f"store {store.name} has not {what} of inventory {inventory[:200]!r} that is recent enough: run the step "
        "before this one first, with the same svirt_inventory, or name a run with svirt_run_id and raise "
        f"svirt_max_age. The newest runs are: {listed}",
        _runs.NO_RUN,
    )


def readings(store: Store, run: str, hosts: Sequence[str], oldest: float) -> Iterator[tuple[str, Reading]]:
    """Each host with its snapshot in the run. One received before ``oldest`` makes the host unread.

    Reads in short transactions, which keep no writer waiting. Raises StoreError when the run is removed meanwhile.
    """
    names = iter(hosts)
    while batch := tuple(islice(names, _AT_A_TIME)):
        yield from store.run(partial(_read_batch, run=run, hosts=batch, oldest=oldest), keep=False)


def _read_batch(transaction: Transaction, run: str, hosts: Sequence[str], oldest: float) -> list[tuple[str, Reading]]:
    _runs.find(transaction, run)
    return [(host, _read(transaction, run, host, oldest)) for host in hosts]


def _read(transaction: Transaction, run: str, host: str, oldest: float) -> Reading:
    reading = _runs.reading_of(transaction, run, host)
    if reading is None:
        return Unread(
            host,
            f"no job of run {run} has read it: the slice that has the host did not come, or was stopped; collect it "
            "again",
        )
    if reading.digest is None:
        return Unread(host, reading.why)
    if reading.received_at < oldest:
        late = f"{oldest - reading.received_at:.0f} s"
        return Unread(host, f"its snapshot in run {run} is {late} older than max_age allows; collect it again")
    if reading.received_at > time.time() + AHEAD:
        return Unread(host, f"its snapshot in run {run} has a time in the future: a clock was ahead; collect it again")
    return _decoded(transaction, reading)


def _decoded(transaction: Transaction, reading: HostReading) -> Reading:
    try:
        return decode_snapshot(_runs.document_of(transaction, reading))
    except (SchemaError, ValueError, RecursionError) as error:
        return Unread(reading.host, f"its snapshot in the store is damaged: {str(error)[:200]}; collect it again")
    except StoreError as error:
        if error.code != "store_damaged":
            raise
        return Unread(reading.host, f"its snapshot in the store is damaged: {str(error)[:200]}; collect it again")


def of_folder(folder: str, hosts: Sequence[str], now: float) -> tuple[list[HostReading], dict[str, bytes]]:
    """What a job read of these hosts into its folder: the readings, and the snapshots by digest."""
    found: list[HostReading] = []
    contents: dict[str, bytes] = {}
    for host in hosts:
        reading = _snapshots.read(folder, host)
        if isinstance(reading, Unread):
            found.append(HostReading(host, now, why=reading.why or "no reason was given"))
            continue
        content = _runs.content_of(reading)
        contents[content.digest] = content.content
        received = _snapshots.path_of(folder, host).stat().st_mtime
        found.append(HostReading(host, received, reading.taken_at, content.digest))
    return found, contents
