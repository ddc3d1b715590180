# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot of a host.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from .._core.errors import PlanError
from .._host.probe.document import document, pack, summary
from .._host.probe.probe import Options, Probe, Tools
from .._module import Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "timeout": {"type": "int", "default": 30},
    "orphan_search": {"type": "list", "elements": "path", "default": []},
    "dest": {"type": "path"},
}


def run(call: Call) -> dict[str, t.Any]:
    """Read the host and return its snapshot. Raises SvirtError."""
    params = call.params
    if params["timeout"] < 1:
        raise PlanError(f"timeout is {params['timeout']}; give at least 1 second", "timeout_too_short")
    options = Options(float(params["timeout"]), tuple(params["orphan_search"]))
    snapshot = Probe(call.root, options, Tools(run_command=call.run_command)).take()
    whole = document(snapshot)
    # With dest, the action plugin takes the snapshot out of the result: see pack.
    result = {"packed": pack(whole)} if params["dest"] else {"snapshot": whole, "summary": summary(snapshot)}
    return {"changed": False, **result}
