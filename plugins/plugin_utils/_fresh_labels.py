# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""New labels for guests whose label dominates another: from the ledger, where there is one.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import importlib
import typing as t
from dataclasses import replace
from pathlib import Path

from ..module_utils._core.allocate.label_domains import NONE, STATIC, parse_domains
from ..module_utils._core.allocate.labels_in_use import HostUse, label_use
from ..module_utils._core.allocate.ledger import Row
from ..module_utils._core.allocate.operations import FleetRead, OperationResult
from ..module_utils._core.allocate.static_labels import LabelRequest
from ..module_utils._core.audit.finding import Finding
from ..module_utils._core.facts.storage import HostStorage, host_storage
from ..module_utils._core.facts.storage_statements import parse_storage
from ..module_utils._core.harden import fresh_labels
from ..module_utils._core.snapshot.model import Snapshot
from ._run_identity import DEFAULT_URL
from ._tenants import tenants

#: Most refusals of the ledger that are shown as warnings.
_MAX_WARNINGS = 5
_FILE = "sqlite:///"


class FreshLabels:
    """Content of the file ``fresh_labels``. A ledger reserves the labels before they are handed out."""

    def __init__(self, arguments: t.Mapping[str, t.Any], now: float, check: bool) -> None:
        self._arguments = arguments
        self._url = arguments["store"] or (DEFAULT_URL if arguments["run_kind"] else "")
        self._now = now
        self._check = check
        self._labels: list[fresh_labels.HostLabels] = []
        self._uses: list[HostUse] = []
        self._storage: list[HostStorage] = []
        self._reserved: OperationResult | None = None

    def read(self, host: str, snapshot: Snapshot) -> None:
        """Take what labels need of a host's snapshot."""
        self._labels.append(fresh_labels.labels(host, snapshot))
        if self._url:
            self._uses.append(label_use(host, snapshot))
            self._storage.append(host_storage(host, snapshot))

    def orders(
        self, findings: t.Iterable[Finding], unread: t.Collection[str], ledger: t.Sequence[Row]
    ) -> dict[str, list[dict[str, str]]]:
        """Labels to set, by host. Raises StoreError."""
        allowed = self._arguments["power_cycle"]
        store = _with_ledger(self._url) if self._url and allowed else None
        if store is None:
            return fresh_labels.propose(self._labels, findings, allowed, unread, ledger)
        try:
            return self._from_ledger(store, findings, allowed, unread)
        finally:
            store.close()

    def _from_ledger(
        self, store: t.Any, findings: t.Iterable[Finding], allowed: t.Collection[str], unread: t.Collection[str]
    ) -> dict[str, list[dict[str, str]]]:
        module = importlib.import_module("ansible_collections.svirt.fleet.plugins.plugin_utils._ledger")
        orders: dict[str, list[dict[str, str]]] = {host.host: [] for host in self._labels}
        levels = fresh_labels.levels(module.listing(store).labels)
        guests = {guest.uuid for guest in fresh_labels.movers(self._labels, findings, allowed, unread, levels)}
        if not guests:
            return orders
        arguments = self._arguments
        # Ranges of hosts are no labels of guests: those domains are left alone.
        named = [
            domain if domain.strategy == STATIC else replace(domain, strategy=NONE)
            for domain in parse_domains(arguments["domains"], arguments["strategy"])
        ]
        strategy = STATIC if arguments["strategy"] == STATIC else NONE
        hosts = [host.host for host in self._labels]
        statements = parse_storage(arguments["storage"])
        fleet = FleetRead(hosts, self._uses, self._storage, {}, named, strategy, statements)
        request = LabelRequest(tenants(arguments), arguments["default_tenant"], frozenset(guests))
        self._reserved = module.reserve(store, fleet, request, self._now, self._check)
        for host, assigned in self._reserved.hosts.items():
            orders[host] = [order for order in assigned["guests"] if order["guest"] in guests]
        return orders

    def returned(self) -> dict[str, t.Any]:
        """Return values of the task about reserved labels."""
        if self._reserved is None:
            return {}
        refused = [f"{entry.subject}: {entry.reason.text}" for entry in self._reserved.refused[:_MAX_WARNINGS]]
        steps = [change.step().as_dict() for change in self._reserved.changes]
        return {"changed": bool(steps), "reserved": steps, "warnings": [*self._reserved.warnings, *refused]}


def _with_ledger(url: str) -> t.Any:
    """The store, where it has a ledger; else None. Raises StoreError."""
    module = importlib.import_module("ansible_collections.svirt.fleet.plugins.plugin_utils._store")
    if module.MISSING is not None and url.startswith(_FILE) and not Path(url[len(_FILE) :]).exists():
        return None  # SQLAlchemy is not needed without a ledger
    store = module.Store(url)
    return store if store.has_ledger else None
