# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Body of module svirt_info: read a host. Its action plugin makes the snapshot of the answer, on the controller.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from .._core.errors import PlanError
from .._host.probe.document import boot_document, document, pack
from .._host.probe.probe import Options, Probe, Tools
from .._module import Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "timeout": {"type": "int", "default": 30},
    "orphan_search": {"type": "list", "elements": "path", "default": []},
    "dest": {"type": "path"},
}


def run(call: Call) -> dict[str, t.Any]:
    """Read the host and return what was read as one text, see ``plugin_utils._probe_answer``. Raises SvirtError."""
    params = call.params
    if params["timeout"] < 1:
        raise PlanError(f"timeout is {params['timeout']}; give at least 1 second", "timeout_too_short")
    options = Options(float(params["timeout"]), tuple(params["orphan_search"]), boot=True)
    probe = Probe(call.root, options, Tools(run_command=call.run_command))
    answer = {"snapshot": document(probe.take())}
    if probe.boot_files is not None:
        answer["boot"] = boot_document(probe.boot_files)
    return {"changed": False, "packed": pack(answer)}
