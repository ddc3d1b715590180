# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access queries to the loaded policy.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from .._core.errors import FailedError
from .._core.selinux.policy_access import parse_checks, report
from .._host.base.loaded_policy import OFF, LoadedPolicy
from .._module import Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "checks": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "source": {"type": "str", "required": True},
            "target": {"type": "str", "required": True},
            "class": {"type": "str", "default": "file"},
            "permissions": {"type": "list", "elements": "str", "default": ["read", "write"]},
            "expect": {"type": "str", "choices": ["allowed", "denied"]},
        },
    },
    "fail_on_violation": {"type": "bool", "default": False},
}


def run(call: Call) -> dict[str, t.Any]:
    """Ask the policy and return its answers. Raises SvirtError."""
    checks = parse_checks(call.params["checks"])
    policy = LoadedPolicy(call.root)
    result = report(policy.verdicts(checks), policy.enforcing)
    counts = result["summary"]
    if call.params["fail_on_violation"] and counts["violations"] + counts["unanswered"]:
        first = (result["violations"] or [item for item in result["unknown"] if item["expect"]])[0]
        why = (
            f"{counts['violations']} expectations are not met and {counts['unanswered']} could not be checked; "
            f"first: {first['source']} on {first['target']} ({first['class']}), expected {first['expect']}: "
            f"{first['why']}"
        )
        raise FailedError(why, result)
    if not policy.loaded:
        result["msg"] = OFF.text
    return {"changed": False, **result}
