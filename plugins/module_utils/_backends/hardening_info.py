# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Body of module hardening_info: the modules that change hosts, in check mode, in one process.

Most of a module's cost is its start: the connection to the host, Python, and the imports. Here it is paid once.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import importlib
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .._core.errors import PlanError, SvirtError
from .._host.base.journal import Journals
from .._module import Call
from . import (
    category_range,
    guard_hook,
    guest_network_filter,
    guest_power_cycle,
    guest_seclabel,
    image_label,
    libvirt_restart,
    libvirt_security,
    selinux_state,
)

Work = t.Callable[[Call, Journals], dict[str, t.Any]]

MODULES: dict[str, tuple[dict[str, dict[str, t.Any]], Work]] = {
    "category_range": (category_range.ARGUMENTS, category_range.run),
    "guard_hook": (guard_hook.ARGUMENTS, guard_hook.run),
    "guest_network_filter": (guest_network_filter.ARGUMENTS, guest_network_filter.run),
    "guest_power_cycle": (guest_power_cycle.ARGUMENTS, guest_power_cycle.run),
    "guest_seclabel": (guest_seclabel.ARGUMENTS, guest_seclabel.run),
    "image_label": (image_label.ARGUMENTS, image_label.run),
    "libvirt_restart": (libvirt_restart.ARGUMENTS, libvirt_restart.run),
    "libvirt_security": (libvirt_security.ARGUMENTS, libvirt_security.run),
    "selinux_state": (selinux_state.ARGUMENTS, selinux_state.run),
}
ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "steps": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "module": {"type": "str", "required": True, "choices": sorted(MODULES)},
            "arguments": {"type": "dict", "default": {}},
        },
    },
}


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Run the modules in check mode until one has something to do: later ones would then see another host.

    Raises PlanError for arguments that a module would not accept, before any of them runs.
    """
    steps = [(step["module"], _arguments(step)) for step in call.params["steps"]]
    with contextlib.suppress(ImportError):
        importlib.import_module("libvirt")  # once for all modules; each asks libvirt in a child of this process
    look: dict[str, t.Any] = {"changed": False, "needed": False, "why": "", "pending": [], "refused": []}
    for name, arguments in steps:
        try:
            result = _check(call, journals, name, arguments)
        except SvirtError as error:
            return {**look, "needed": True, "why": f"{name}: {error}"}
        look["pending"] += result.get("pending", [])
        look["refused"] += result["refused"]
        why = _why(result, bool(arguments.get("strict")))
        if why:
            return {**look, "needed": True, "why": f"{name}: {why}"}
    return look


def _arguments(step: dict[str, t.Any]) -> dict[str, t.Any]:
    checked = ArgumentSpecValidator(MODULES[step["module"]][0]).validate(step["arguments"])  # type: ignore[no-untyped-call]
    if checked.error_messages:
        raise PlanError(f"{step['module']}: {'; '.join(checked.error_messages)}", "bad_arguments")
    return t.cast("dict[str, t.Any]", checked.validated_parameters)


def _check(call: Call, journals: Journals, name: str, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    check = Call(arguments, True, False, call.run_command, call.find, call.root)
    result = MODULES[name][1](check, journals)
    call.warnings += check.warnings
    return result


def _why(result: dict[str, t.Any], strict: bool) -> str:
    """Why the module has to run; empty when it would do nothing."""
    if result["changed"]:
        return "; ".join(f"{line['action']} {line['subject']}" for line in result["plan"][:10])
    if strict and result["refused"]:
        return "something was refused, which is to fail"
    return "a reboot is pending" if result.get("reboot_needed") else ""
