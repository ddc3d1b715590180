# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and tenants of the ledger, on the controller. The module of the same name has the documentation."""

from __future__ import annotations

import typing as t

from ..module_utils._core.allocate.ledger import Row
from ..plugin_utils import _ledger
from ..plugin_utils._action import Arguments, ControllerAction
from ..plugin_utils._store import DEFAULT_URL, Store

ARGUMENTS: dict[str, dict[str, t.Any]] = {"store": {"type": "str", "default": DEFAULT_URL}}


class ActionModule(ControllerAction):
    """Reads the ledger."""

    ARGUMENTS = ARGUMENTS

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        store = Store(arguments["store"])
        try:
            ledger = _ledger.listing(store)
        finally:
            store.close()
        return {
            "changed": False,
            "counts": ledger.before,
            "labels": [_label(row) for row in ledger.labels],
            "tenants": ledger.tenants,
            **({"warnings": ledger.warnings} if ledger.warnings else {}),
            "msg": f"{len(ledger.labels)} labels of {len(ledger.tenants)} tenants",
        }


def _label(row: Row) -> dict[str, t.Any]:
    names = ("domain", "uuid", "name", "host", "tenant", "level", "state", "until")
    return {name: getattr(row, name) for name in names}
