# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option ``tenants`` of modules that assign labels.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..module_utils._core.errors import PlanError

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "tenants": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"match": {"type": "str", "required": True}, "tenant": {"type": "str", "required": True}},
    },
    "default_tenant": {"type": "str", "default": "default"},
}
_MAX_TENANT = 64


def tenants(arguments: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Tenants by name or uuid of a guest. Raises PlanError."""
    by_match: dict[str, str] = {}
    for entry in [*arguments["tenants"], {"match": "", "tenant": arguments["default_tenant"]}]:
        match, tenant = entry["match"], entry["tenant"]
        if not tenant or len(tenant) > _MAX_TENANT or not tenant.isprintable():
            why = f"tenant {tenant[:80]!r}: give a name of 1 to {_MAX_TENANT} characters that can be printed"
            raise PlanError(why, "tenant_name")
        if by_match.setdefault(match, tenant) != tenant:
            why = f"tenants name {match[:80]!r} for {by_match[match]} and for {tenant}; a guest is of one tenant"
            raise PlanError(why, "tenant_ambiguous")
    by_match.pop("")
    return by_match
