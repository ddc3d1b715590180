# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels in the definitions of guests.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._core.errors import PlanError
from .._core.harden import seclabel
from .._core.harden.guest_definition import GuestPlan
from .._host.base.journal import Journals
from .._host.change import guest_definitions as definitions
from .._module import Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "guests": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "guest": {"type": "str", "required": True},
            "type": {"type": "str", "choices": list(seclabel.TYPES), "default": "dynamic"},
            "label": {"type": "str"},
        },
    },
    "repair": {"type": "list", "elements": "str", "choices": list(seclabel.REPAIRS), "default": []},
    "foreseen_driver": {"type": "bool", "default": False},
    "foreseen_context": {"type": "str"},
    "strict": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Read the definitions, plan, act unless in check mode. Raises SvirtError."""
    params = call.params
    requests = [seclabel.SeclabelRequest(item["guest"], item["type"], item["label"]) for item in params["guests"]]
    if params["timeout"] < 1:
        raise PlanError(f"timeout is {params['timeout']}; give at least 1 second", "bad_timeout")
    facts = definitions.facts(call.root)
    if not facts.installed:
        if requests:
            text = f"there is no libvirt daemon for QEMU on this host, and so no guest {requests[0].guest!r}"
            raise PlanError(text, "no_libvirt")
        return GuestPlan().document(call.diff)

    def work(session: definitions.Session) -> dict[str, t.Any]:
        survey = definitions.survey(session, facts)
        if call.check_mode and params["foreseen_driver"]:
            survey = definitions.with_driver(survey, facts)
        if call.check_mode and params["foreseen_context"]:
            survey = replace(survey, daemon=params["foreseen_context"])
        result = seclabel.plan(survey, requests, params["repair"])
        if result.changes and not call.check_mode:
            with journals.open("guest_seclabel") as journal:
                result.not_made += definitions.apply(session, result.changes, journal)
        return result.document(call.diff)

    return t.cast("dict[str, t.Any]", definitions.within(float(params["timeout"]), work))
