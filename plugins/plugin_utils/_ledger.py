# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL of the label ledger. Each operation is one transaction: read all tables, compute, write.

module_utils/_core/allocate/operations.py computes, stored_rows.py checks the rows. A check mode run computes the same
and writes nothing.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t
from contextlib import contextmanager

from ..module_utils._core.allocate import operations, stored_rows
from ..module_utils._core.allocate.labels_in_use import HostUse, stored
from ..module_utils._core.allocate.ledger import NO_RANK, Row
from ..module_utils._core.allocate.operations import FleetRead, LedgerState, LedgerUpdate, Operation, OperationResult
from ..module_utils._core.allocate.static_labels import LabelRequest
from ..module_utils._core.errors import StoreError
from ._store import Store, Transaction, packed, unpacked
from ._store_errors import COMMIT_UNKNOWN

_SELECT_ROWS = "SELECT domain, uuid, name, host, tenant, rank, level, state, until FROM svirt_labels"
_INSERT_ROW = (
    "INSERT INTO svirt_labels (domain, uuid, name, host, tenant, rank, level, state, until) VALUES (:domain, :uuid, "
    ":name, :host, :tenant, :rank, :level, :state, :until) ON CONFLICT (domain, uuid) DO UPDATE SET name = "
    "excluded.name, host = excluded.host, tenant = excluded.tenant, rank = excluded.rank, level = excluded.level, "
    "state = excluded.state, until = excluded.until"
)
_INSERT_DOMAIN = (
    "INSERT INTO svirt_domains (name, code) VALUES (:name, :code) ON CONFLICT (name) DO UPDATE SET code = excluded.code"
)
_INSERT_TENANT = "INSERT INTO svirt_tenants (domain, number, name) VALUES (:domain, :number, :name)"
_INSERT_RANGE = "INSERT INTO svirt_ranges (domain, slot, host, low, high) VALUES (:domain, :low, :host, :low, :high)"
_INSERT_HOST = (
    "INSERT INTO svirt_hosts (host, domain, read_at, sets) VALUES (:host, :domain, :read_at, :sets) "
    "ON CONFLICT (host) DO UPDATE SET domain = excluded.domain, read_at = excluded.read_at, sets = excluded.sets"
)
_INSERT_TIME = (
    "INSERT INTO svirt_clock (id, latest) VALUES (1, :latest) ON CONFLICT (id) DO UPDATE SET latest = excluded.latest"
)
_INSERT_EVENT = (
    "INSERT INTO svirt_events (at, domain, subject, action, old, new) VALUES (:at, :domain, :subject, :action, :old, "
    ":new)"
)


def reserve(store: Store, fleet: FleetRead, request: LabelRequest, now: float, check: bool = False) -> OperationResult:
    """Assign labels and ranges. Creates a missing store."""
    return _run(store, now, check, lambda state: operations.reserve(state, fleet, request))


def observe(
    store: Store, fleet: FleetRead, days: float, now: float, check: bool = False, confirm_clock: bool = False
) -> OperationResult:
    """Update rows from the snapshots. A quarantine lasts ``days``."""
    store.demand()
    return _run(store, now, check, lambda state: operations.observe(state, fleet, days, now, confirm_clock))


def publish(
    store: Store, hosts: t.Collection[str], guests: t.Collection[str], now: float, check: bool = False
) -> OperationResult:
    """Mark labels as handed out: of these guests (empty: all) on these hosts (empty: all)."""
    store.demand()
    return _run(store, now, check, lambda state: operations.publish(state, hosts, guests))


def release(
    store: Store,
    hosts: t.Collection[str],
    guests: t.Collection[str],
    days: float,
    now: float,
    check: bool = False,
    confirm_clock: bool = False,
) -> OperationResult:
    """Give up the labels and ranges of guests and hosts that are gone for good. A quarantine lasts ``days``."""
    store.demand()
    return _run(store, now, check, lambda state: operations.release(state, hosts, guests, days, now, confirm_clock))


def listing(store: Store) -> OperationResult:
    """List all rows and tenants."""
    store.demand()
    return _run(store, 0.0, True, operations.listing)


def repair(
    store: Store, fleet: FleetRead, request: LabelRequest, now: float, settle: bool = False, check: bool = False
) -> OperationResult:
    """Compare ledger and fleet. With ``settle``, write rows for unknown labels; creates a missing store."""
    if not settle:
        store.demand()
    return _run(store, now, check or not settle, lambda state: operations.repair(state, fleet, request, settle))


def ledger_rows(url: str) -> list[Row]:
    """The labels that guests of the ledger have or that rest in quarantine. Raises StoreError."""
    store = Store(url)
    try:
        store.demand()
        with _named(store):
            return store.run(lambda transaction: operations.unreleased(_state(transaction).rows), keep=False)
    finally:
        store.close()


def _run(store: Store, now: float, check: bool, operate: t.Callable[[LedgerState], Operation]) -> OperationResult:
    planned: list[OperationResult] = []

    def work(transaction: Transaction) -> OperationResult:
        state = _state(transaction)
        operation = operations.with_time(state, operate(state), now)
        planned[:] = [operation.result]
        if not check:
            _write(transaction, operation.update, now)
        return operation.result

    try:
        with _named(store):
            result = store.run(work, keep=not check)
    except StoreError as error:
        if error.code == COMMIT_UNKNOWN and planned:
            steps = len(planned[0].changes)
            raise StoreError(
                f"{error}. It had {steps} steps; category_allocation_info shows the ledger", error.code
            ) from None
        raise
    result.warnings += store.warnings
    return result


@contextmanager
def _named(store: Store) -> t.Iterator[None]:
    """Name the store in errors about its rows."""
    try:
        yield
    except StoreError as error:
        if error.code == "row_damaged":
            raise StoreError(f"store {store.file or store.name}, {error}", error.code) from None
        raise


def _state(transaction: Transaction) -> LedgerState:
    codes = stored_rows.codes(transaction.rows("SELECT name, code FROM svirt_domains"))
    hosts = transaction.rows("SELECT host, domain FROM svirt_hosts")
    return LedgerState(
        stored_rows.labels(transaction.rows(_SELECT_ROWS), codes),
        stored_rows.slots(transaction.rows("SELECT domain, host, low, high FROM svirt_ranges")),
        stored_rows.tenants(transaction.rows("SELECT domain, name, number FROM svirt_tenants")),
        codes,
        stored_rows.domains_of_hosts(hosts),
        stored_rows.latest(transaction.rows("SELECT latest FROM svirt_clock")),
        lambda host: _recall(transaction, host),
    )


def _recall(transaction: Transaction, host: str) -> HostUse:
    content = transaction.rows("SELECT sets FROM svirt_hosts WHERE host = :host", host=host)[0][0]
    try:
        data = unpacked(bytes(content))
    except (TypeError, ValueError, StoreError) as error:
        raise stored_rows.damaged("svirt_hosts", host, f"its sets cannot be unpacked ({error})") from None
    return stored_rows.memory(host, data)


def _write(transaction: Transaction, update: LedgerUpdate, now: float) -> None:
    write = transaction.run
    tenants = update.tenants.items()
    hosts = [{"host": host} for host in update.forgotten]
    write(_INSERT_DOMAIN, [{"name": name, "code": code} for name, code in update.codes.items()])
    write(_INSERT_TENANT, [{"domain": domain, "name": name, "number": number} for (domain, name), number in tenants])
    write(
        "DELETE FROM svirt_labels WHERE domain = :domain AND uuid = :uuid",
        [{"domain": row.domain, "uuid": row.uuid} for row in update.moved],
    )
    write(_INSERT_ROW, [{**vars(row), "rank": None if row.rank == NO_RANK else row.rank} for row in update.rows])
    write("DELETE FROM svirt_ranges WHERE host = :host", hosts)
    write("DELETE FROM svirt_hosts WHERE host = :host", hosts)
    write(_INSERT_RANGE, [vars(slot) for slot in update.slots])
    write(
        _INSERT_HOST,
        [
            {"host": memory.use.host, "domain": memory.domain, "read_at": now, "sets": _packed(memory.use)}
            for memory in update.memories
        ],
    )
    write(_INSERT_EVENT, [{"at": now, **vars(event)} for event in update.events])
    if update.latest is not None:
        write(_INSERT_TIME, [{"latest": update.latest}])


def _packed(use: HostUse) -> bytes:
    return packed(json.dumps(stored(use), separators=(",", ":")).encode())
