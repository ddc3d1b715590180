# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Body of module selinux_state: read, plan, apply, return.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from .._core.errors import PlanError
from .._core.harden.selinux import PolicyModuleRequest, TypeAccess
from .._core.harden.selinux_state import SelinuxRequest, diffs, result_of
from .._host.base.journal import Journals
from .._host.base.tools import HostTools
from .._host.change.selinux import SelinuxHost
from .._module import Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "state": {"type": "str", "choices": ["enforcing", "permissive"], "default": "enforcing"},
    "soak_seconds": {"type": "int", "default": 3600},
    "soak_types": {"type": "list", "elements": "str", "default": []},
    "policy_modules": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "cil": {"type": "str", "required": True},
            "only_on": {"type": "list", "elements": "str", "default": []},
            "if_denied": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "source": {"type": "str", "required": True},
                    "target": {"type": "str", "required": True},
                    "class": {"type": "str", "default": "file"},
                    "permissions": {"type": "list", "elements": "str", "required": True},
                },
            },
        },
    },
    "remove_permissive": {"type": "bool", "default": True},
    "profile": {"type": "str", "choices": ["local", "nfs", "ovirt"]},
    "booleans": {"type": "dict", "default": {}},
    "strict": {"type": "bool", "default": False},
}
_ON = ("true", "yes", "on", "1")
_OFF = ("false", "no", "off", "0")


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Read, plan, apply unless in check mode. Raises SvirtError."""
    host = SelinuxHost(call.root, HostTools(run_command=call.run_command, find=call.find), _request(call))
    after = None
    if not host.plan.empty and not call.check_mode:
        with journals.open("selinux_state") as journal:
            host.apply(journal)
        after = host.again()
    result = result_of(host.request, host.state, host.plan, after, host.soak)
    result.extra["guests_running"] = len(host.guests)
    if call.diff:
        result.extra["diff"] = diffs(host.state, host.plan, result)
    return result.as_dict()


def _request(call: Call) -> SelinuxRequest:
    params = call.params
    if params["soak_seconds"] < 0:
        raise PlanError(f"soak_seconds is {params['soak_seconds']}; give 0 or more", "soak_seconds_invalid")
    return SelinuxRequest(
        state=params["state"],
        soak_seconds=params["soak_seconds"],
        soak_types=tuple(params["soak_types"]),
        remove_permissive=params["remove_permissive"],
        modules=tuple(_wanted(item) for item in params["policy_modules"]),
        profile=params["profile"],
        booleans=dict(_booleans(params["booleans"])),
    )


def _wanted(item: dict[str, t.Any]) -> PolicyModuleRequest:
    accesses = [
        TypeAccess(access["source"], access["target"], access["class"], tuple(access["permissions"]))
        for access in item["if_denied"]
    ]
    return PolicyModuleRequest(item["name"], item["cil"].encode("utf-8"), tuple(item["only_on"]), tuple(accesses))


def _booleans(given: dict[str, t.Any]) -> t.Iterator[tuple[str, bool]]:
    for name, value in given.items():
        text = str(value).lower()
        if text not in (*_ON, *_OFF):
            raise PlanError(f"booleans: {name} is {value!r}; give true or false", "boolean_value_invalid")
        yield str(name), text in _ON
