# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes orders for hosts from a run in the store. The module of the same name has the documentation."""

from __future__ import annotations

import typing as t

from ..module_utils._core.audit.run import ALLOCATION, FRESH_LABELS, SHARED_USE
from ..plugin_utils import _run_identity, _run_readings, _runs
from ..plugin_utils._action import Arguments, ControllerAction
from ..plugin_utils._store import DEFAULT_URL, Transaction


class ActionModule(ControllerAction):
    """Reads the orders that an earlier step left."""

    ARGUMENTS: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "store": {"type": "str", "default": DEFAULT_URL},
        "orders": {
            "type": "list",
            "elements": "str",
            "choices": [ALLOCATION, SHARED_USE, FRESH_LABELS],
            "required": True,
        },
        "hosts": {"type": "list", "elements": "str", "required": True},
        **_run_identity.ARGUMENTS,
    }

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        names, hosts = arguments["orders"], sorted(set(arguments["hosts"]))
        inventory = _run_identity.inventory_of(arguments, self.variables)
        store = _run_readings.store_of(arguments["store"])

        def work(transaction: Transaction) -> dict[str, dict[str, t.Any]]:
            return {name: _runs.orders_of(transaction, run, name, hosts) for name in names}

        try:
            run = _run_readings.with_orders(store, arguments["run"], inventory, names[0]).id if names else ""
            orders = store.run(work, keep=False)
        finally:
            store.close()
        counts = ", ".join(f"{name} for {len(orders[name])} hosts" for name in names)
        return {"changed": False, "run": run, "orders": orders, "msg": f"run {run}: {counts or 'nothing'}"}
