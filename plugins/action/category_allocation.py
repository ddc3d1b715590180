# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations of the label ledger, on the controller. The module of the same name has the documentation."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

from ..module_utils._core.allocate.label_domains import STATIC, STRATEGIES, parse_domains
from ..module_utils._core.allocate.labels_in_use import HostUse, label_use
from ..module_utils._core.allocate.operations import FleetRead, OperationResult
from ..module_utils._core.allocate.static_labels import LabelRequest
from ..module_utils._core.audit.run import ALLOCATE, ALLOCATION, NEWEST, OPEN
from ..module_utils._core.audit.text import visible_text
from ..module_utils._core.errors import PlanError, StoreError
from ..module_utils._core.facts.storage import HostStorage, host_storage
from ..module_utils._core.facts.storage_statements import parse_storage
from ..module_utils._core.snapshot.model import Snapshot
from ..plugin_utils import _ledger, _run_identity, _run_readings, _runs, _snapshots
from ..plugin_utils import _tenants as tenants
from ..plugin_utils._action import Arguments, ControllerAction, write
from ..plugin_utils._store import DEFAULT_URL, Store, Transaction

OPERATIONS = ("reserve", "publish", "observe", "release", "repair")
ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "store": {"type": "str", "default": DEFAULT_URL},
    "operation": {"type": "str", "choices": list(OPERATIONS), "default": "reserve"},
    "snapshots": {"type": "path"},
    **_run_identity.ARGUMENTS,
    "hosts": {"type": "list", "elements": "str", "default": []},
    "domains": {"type": "list", "elements": "dict", "default": []},
    "storage": {"type": "list", "elements": "dict", "default": []},
    "strategy": {"type": "str", "choices": list(STRATEGIES), "default": STATIC},
    **tenants.ARGUMENTS,
    "guests": {"type": "list", "elements": "str", "default": []},
    "quarantine_days": {"type": "int", "default": 30},
    "allow_unread": {"type": "bool", "default": False},
    "confirm_clock": {"type": "bool", "default": False},
    "repair": {"type": "bool", "default": False},
    "max_age": {"type": "int", "default": 3600},
    "dest": {"type": "path"},
}
#: Most steps, refusals and waits that are returned; the ledger has them all.
MAX_SHOWN = 1000


class ActionModule(ControllerAction):
    """Runs one operation on the store, with the snapshots of the folder or of the store."""

    ARGUMENTS = ARGUMENTS

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        _check(arguments)
        now, check = time.time(), bool(self._task.check_mode)
        run = _run(arguments, self.variables, now)
        operation = _operate({**arguments, "run": run}, now, check)
        result = {**_returned(operation), "run": run}
        if run and arguments["operation"] == "reserve" and not check:
            _leave_orders(arguments["store"], run, operation.hosts, now)
        if self._task.diff:
            result["diff"] = _diff(arguments["store"], operation)
        if arguments["dest"]:
            result.update(_written(Path(arguments["dest"]).absolute(), operation.hosts))
        return result


def _check(arguments: t.Mapping[str, t.Any]) -> None:
    """Refuse combinations of options that make no sense."""
    operation = arguments["operation"]
    if operation in ("reserve", "observe", "repair"):
        if not arguments["hosts"]:
            why = f"operation {operation} needs hosts: the names in the inventory of all hosts of the fleet"
            raise PlanError(why, "hosts_missing")
    elif arguments["dest"]:
        raise PlanError(f"operation {operation} gives no orders for hosts; leave dest out", "dest_unused")
    if operation == "release" and not arguments["guests"] and not arguments["hosts"]:
        raise PlanError("operation release needs guests or hosts: those that are gone for good", "release_of_nothing")
    if arguments["repair"] and operation != "repair":
        raise PlanError(f"repair is for operation repair, not {operation}; leave it out", "repair_unused")
    if arguments["quarantine_days"] < 0:
        why = f"quarantine_days is {arguments['quarantine_days']}; give 0 or more"
        raise PlanError(why, "quarantine_days_negative")


def _run(arguments: t.Mapping[str, t.Any], variables: t.Mapping[str, t.Any], now: float) -> str:
    """Id of the run with the snapshots; empty: they are not those of a run. Raises StoreError."""
    if not arguments["run"] or arguments["snapshots"]:
        return ""
    inventory = _run_identity.inventory_of(arguments, variables)
    named = "" if arguments["run"] == NEWEST else arguments["run"]
    store = Store(arguments["store"])
    try:
        store.demand()
        return _run_readings.to_read(store, named, inventory, now - arguments["max_age"]).id
    finally:
        store.close()


def _leave_orders(url: str, run: str, hosts: dict[str, t.Any], now: float) -> None:
    """Leave the orders in the run, for jobs that apply them; no job adds a host to the run any more."""

    def work(transaction: Transaction) -> None:
        known = _runs.find(transaction, run)
        _runs.put_orders(transaction, run, ALLOCATION, hosts)
        if known.kind == ALLOCATE and known.state == OPEN:
            _runs.close(transaction, run, now)

    store = Store(url)
    try:
        store.run(work)
    except StoreError as error:
        raise StoreError(
            f"{error}. The ledger has the labels, but run {run} has no orders: run again", error.code
        ) from None
    finally:
        store.close()


def _operate(arguments: t.Mapping[str, t.Any], now: float, check: bool) -> OperationResult:
    hosts, guests, days = arguments["hosts"], arguments["guests"], float(arguments["quarantine_days"])
    operation = arguments["operation"]
    request = LabelRequest(
        tenants.tenants(arguments), arguments["default_tenant"], frozenset(guests), arguments["allow_unread"]
    )
    store = Store(arguments["store"])
    try:
        if operation == "publish":
            return _ledger.publish(store, set(hosts), set(guests), now, check)
        if operation == "release":
            return _ledger.release(store, set(hosts), set(guests), days, now, check, arguments["confirm_clock"])
        fleet = _fleet(arguments, store, now)
        if operation == "observe":
            return _ledger.observe(store, fleet, days, now, check, arguments["confirm_clock"])
        if operation == "repair":
            return _ledger.repair(store, fleet, request, now, arguments["repair"], check)
        return _ledger.reserve(store, fleet, request, now, check)
    finally:
        store.close()


def _readings(
    arguments: t.Mapping[str, t.Any], store: Store, hosts: t.Sequence[str], oldest: float
) -> Iterator[tuple[str, Snapshot | _snapshots.Unread]]:
    """The snapshots of the folder; without one, those of the run; without both, the latest of the store."""
    if arguments["snapshots"]:
        for host in hosts:
            yield host, _snapshots.read(arguments["snapshots"], host, oldest)
        return
    if arguments["run"]:
        yield from _run_readings.readings(store, arguments["run"], hosts, oldest)
        return
    with store.look() as transaction:
        for host in hosts:
            yield host, _snapshots.read_stored(transaction, host, oldest)


def _fleet(arguments: t.Mapping[str, t.Any], store: Store, now: float) -> FleetRead:
    """Labels in use and storage of all hosts. Snapshots are read one by one and not kept."""
    named = parse_domains(arguments["domains"], arguments["strategy"])
    statements = parse_storage(arguments["storage"])
    hosts = sorted({*arguments["hosts"], *(host for domain in named for host in domain.hosts)})
    uses: list[HostUse] = []
    storage: list[HostStorage] = []
    unread: dict[str, str] = {}
    for host, reading in _readings(arguments, store, hosts, now - arguments["max_age"]):
        if isinstance(reading, Snapshot):
            uses.append(label_use(host, reading))
            storage.append(host_storage(host, reading))
        else:
            unread[host] = reading.why
    return FleetRead(hosts, uses, storage, unread, named, arguments["strategy"], statements)


def _returned(operation: OperationResult) -> dict[str, t.Any]:
    """Return values of the task."""
    sizes = {
        "plan": len(operation.changes),
        "refused": len(operation.refused),
        "pending": len(operation.pending),
    }
    return {
        **operation.shown(MAX_SHOWN).as_dict(),
        "sizes": sizes,
        "domains": operation.domains,
        "hosts": operation.hosts,
        "unknown": operation.unknown,
        "unread": operation.unread,
        **({"warnings": operation.warnings} if operation.warnings else {}),
        "msg": f"{sizes['plan']} steps, {sizes['refused']} refused, {sizes['pending']} pending",
    }


def _diff(url: str, operation: OperationResult) -> dict[str, str]:
    name = Store(url).name
    changes = operation.changes[:MAX_SHOWN]
    lines = [(visible_text(change.subject).replace("\n", "\\n"), change.old, change.new) for change in changes]
    return {
        "before_header": f"{name} (before)",
        "after_header": f"{name} (after)",
        "before": "".join(f"{subject}: {old}\n" for subject, old, _new in lines if old),
        "after": "".join(f"{subject}: {new}\n" for subject, _old, new in lines if new),
    }


def _written(path: Path, hosts: dict[str, t.Any]) -> dict[str, t.Any]:
    problem = write("dest", path, hosts)
    if problem:
        return {"failed": True, "msg": f"{problem}. The ledger has the labels: run again"}
    return {"dest": str(path)}
