# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests stopped and started.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._core.errors import PlanError
from .._core.harden import power_cycle
from .._core.harden.power_cycle import Foreseen, PowerCyclePlan
from .._host.base.journal import Journals
from .._host.change import guest_definitions as definitions
from .._host.change import hooks
from .._host.change import power_cycle as guest_power
from .._module import Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "guests": {"type": "list", "elements": "str", "required": True},
    "method": {"type": "str", "choices": ["shutdown", "destroy"], "default": "shutdown"},
    "force": {"type": "bool", "default": False},
    "shutdown_timeout": {"type": "int", "default": 120},
    "foreseen_seclabels": {"type": "list", "elements": "dict", "default": []},
    "foreseen_filters": {"type": "list", "elements": "dict", "default": []},
    "foreseen_driver": {"type": "bool", "default": False},
    "foreseen_context": {"type": "str"},
    "foreseen_guard": {"type": "dict", "default": {}},
    "strict": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Read the definitions, plan, act unless in check mode. Raises SvirtError."""
    params = call.params
    for name in ("timeout", "shutdown_timeout"):
        if params[name] < 1:
            raise PlanError(f"{name} is {params[name]}; give at least 1 second", "bad_timeout")
    facts = definitions.facts(call.root) if params["guests"] else None
    if facts is None or not facts.installed:
        return {**PowerCyclePlan().document(call.diff), "absent": list(params["guests"])}
    host, foreseen = facts, None
    if call.check_mode:
        foreseen = Foreseen(params["foreseen_seclabels"], params["foreseen_filters"], params["foreseen_guard"])
    guarded = foreseen.guarded if foreseen and foreseen.guard else hooks.guarded(call.root)
    method = guest_power.CycleMethod(params["method"], params["force"], float(params["shutdown_timeout"]))

    def work(session: definitions.Session) -> dict[str, t.Any]:
        survey = definitions.with_jobs(session, definitions.survey(session, host), params["guests"])
        if call.check_mode and params["foreseen_driver"]:
            survey = definitions.with_driver(survey, host)
        if call.check_mode and params["foreseen_context"]:
            survey = replace(survey, daemon=params["foreseen_context"])
        if foreseen:
            survey = power_cycle.expect(survey, foreseen)
        result = power_cycle.plan(survey, params["guests"], guarded, method.sure)
        if result.cycles and not call.check_mode:
            with journals.open("guest_power_cycle"):  # for its lock: no other run changes these guests meanwhile
                outcome = guest_power.cycle(session, survey, result.cycles, method)
            power_cycle.settle(result, outcome.left, outcome.failed, outcome.labels)
        return {**result.document(call.diff), "absent": power_cycle.absent(survey, params["guests"])}

    # Counted for each guest's stop and start; a stop may take its own time.
    return t.cast("dict[str, t.Any]", definitions.within(params["timeout"] + method.timeout, work))
