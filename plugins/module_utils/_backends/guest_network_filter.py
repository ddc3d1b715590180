# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network filters of guests.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._core.errors import PlanError
from .._core.harden import network_filter
from .._core.harden.guest_definition import GuestPlan
from .._host.base.journal import Journals
from .._host.change import guest_definitions as definitions
from .._module import Call

_CHOICE: dict[str, dict[str, t.Any]] = {"filter": {"type": "str"}, "parameters": {"type": "dict"}}
ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "filter": {"type": "str", "default": "clean-traffic"},
    "parameters": {"type": "dict", "default": {}},
    "ip_learning": {"type": "str", "choices": list(network_filter.LEARNINGS), "default": "any"},
    "guests": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "guest": {"type": "str", "required": True},
            **_CHOICE,
            "interfaces": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"mac": {"type": "str", "required": True}, **_CHOICE},
            },
        },
    },
    "exclude": {"type": "list", "elements": "str", "default": []},
    "live": {"type": "bool", "default": True},
    "foreseen_policy": {"type": "bool", "default": False},
    "strict": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Read the definitions, plan, act unless in check mode. Raises SvirtError."""
    params = call.params
    if params["timeout"] < 1:
        raise PlanError(f"timeout is {params['timeout']}; give at least 1 second", "bad_timeout")
    request = network_filter.FilterRequest(
        filter=params["filter"],
        parameters=network_filter.parameters_of(params["parameters"]),
        choices=tuple(network_filter.choices_of(params["guests"])),
        exclude=frozenset(network_filter.excluded(params["exclude"])),
        learning=params["ip_learning"],
        live=params["live"],
    )
    facts = definitions.facts(call.root)
    if not facts.installed:
        if request.choices:
            text = f"there is no libvirt daemon for QEMU here, and so no guest {request.choices[0].guest!r}"
            raise PlanError(text, "no_libvirt")
        return GuestPlan().document(call.diff)
    if call.check_mode and params["foreseen_policy"]:
        facts = replace(facts, deaf="")

    def work(session: definitions.Session) -> dict[str, t.Any]:
        result = network_filter.plan(definitions.survey(session, facts), request)
        if result.changes and not call.check_mode:
            with journals.open("guest_network_filter") as journal:
                result.not_made += definitions.apply(session, result.changes, journal)
        return result.document(call.diff)

    return t.cast("dict[str, t.Any]", definitions.within(float(params["timeout"]), work))
