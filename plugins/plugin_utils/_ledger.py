# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL of the label ledger. Each operation is one transaction: read all tables, compute, write.

What is computed is in module_utils/_core/allocate/operations.py. A check computes the same and writes nothing.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t

from ..module_utils._core.allocate import operations
from ..module_utils._core.allocate.labels_in_use import HostUse, recalled, stored
from ..module_utils._core.allocate.ledger import NO_RANK, Row
from ..module_utils._core.allocate.operations import FleetRead, LedgerState, LedgerUpdate, Operation, OperationResult
from ..module_utils._core.allocate.ranges import Slot
from ..module_utils._core.allocate.static_labels import LabelWishes
from ..module_utils._core.errors import LabelError, StoreError
from ._store import Store, Transaction, packed, unpacked

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
_INSERT_EVENT = (
    "INSERT INTO svirt_events (at, domain, subject, action, old, new) VALUES (:at, :domain, :subject, :action, :old, "
    ":new)"
)


def reserve(store: Store, fleet: FleetRead, wishes: LabelWishes, now: float, check: bool = False) -> OperationResult:
    """Assign labels and ranges. Creates a missing store."""
    return _run(store, now, check, lambda state: operations.reserve(state, fleet, wishes))


def observe(store: Store, fleet: FleetRead, days: float, now: float, check: bool = False) -> OperationResult:
    """Update rows from the snapshots. A quarantine lasts ``days``."""
    store.demand()
    return _run(store, now, check, lambda state: operations.observe(state, fleet, days, now))


def publish(
    store: Store, hosts: t.Collection[str], guests: t.Collection[str], now: float, check: bool = False
) -> OperationResult:
    """Mark labels as handed out: of these guests (empty: all) on these hosts (empty: all)."""
    store.demand()
    return _run(store, now, check, lambda state: operations.publish(state, hosts, guests))


def release(
    store: Store, hosts: t.Collection[str], guests: t.Collection[str], days: float, now: float, check: bool = False
) -> OperationResult:
    """Give up the labels and ranges of guests and hosts that are gone for good. A quarantine lasts ``days``."""
    store.demand()
    return _run(store, now, check, lambda state: operations.release(state, hosts, guests, days, now))


def listing(store: Store) -> OperationResult:
    """List all rows and tenants."""
    store.demand()
    return _run(store, 0.0, True, operations.listing)


def repair(
    store: Store, fleet: FleetRead, wishes: LabelWishes, now: float, settle: bool = False, check: bool = False
) -> OperationResult:
    """Compare ledger and fleet. With ``settle``, write rows for unknown labels; creates a missing store."""
    if not settle:
        store.demand()
    return _run(store, now, check or not settle, lambda state: operations.repair(state, fleet, wishes, settle))


def ledger_rows(url: str) -> list[Row]:
    """The labels that guests of the ledger have or that rest in quarantine. Raises StoreError."""
    store = Store(url)
    store.demand()
    try:
        with store.look() as transaction:
            return operations.unreleased(_rows(transaction))
    finally:
        store.close()


def _run(store: Store, now: float, check: bool, operate: t.Callable[[LedgerState], Operation]) -> OperationResult:
    with store.look() if check else store.write() as transaction:
        operation = operate(_state(transaction))
        if not check:
            _write(transaction, operation.update, now)
        return operation.result


def _state(transaction: Transaction) -> LedgerState:
    slots = transaction.rows("SELECT domain, host, low, high FROM svirt_ranges")
    tenants = transaction.rows("SELECT domain, name, number FROM svirt_tenants")
    return LedgerState(
        _rows(transaction),
        [Slot(domain, host, low, high) for domain, host, low, high in slots],
        {(domain, name): number for domain, name, number in tenants},
        dict(transaction.rows("SELECT name, code FROM svirt_domains")),
        dict(transaction.rows("SELECT host, domain FROM svirt_hosts")),
        lambda host: _recall(transaction, host),
    )


def _rows(transaction: Transaction) -> list[Row]:
    return [
        Row(domain, uuid, name, host, tenant, NO_RANK if rank is None else rank, level, state, until)
        for domain, uuid, name, host, tenant, rank, level, state, until in transaction.rows(_SELECT_ROWS)
    ]


def _recall(transaction: Transaction, host: str) -> HostUse:
    content = transaction.rows("SELECT sets FROM svirt_hosts WHERE host = :host", host=host)[0][0]
    try:
        return recalled(host, json.loads(unpacked(bytes(content))))
    except (ValueError, AttributeError, KeyError, LabelError) as error:
        raise StoreError(f"the store's memory of host {host} is damaged ({error}); restore a backup") from error


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


def _packed(use: HostUse) -> bytes:
    return packed(json.dumps(stored(use), separators=(",", ":")).encode())
