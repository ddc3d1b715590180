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
from .._core.harden.guest_definition import Plan
from .._core.harden.power_cycle import Foreseen
from .._host.base.journal import Journal
from .._host.base.root import Root
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


def run(call: Call) -> dict[str, t.Any]:
    """Read the definitions, plan, act unless in check mode. Raises SvirtError."""
    params = call.params
    for name in ("timeout", "shutdown_timeout"):
        if params[name] < 1:
            raise PlanError(f"{name} is {params[name]}; give at least 1 second")
    known = definitions.facts(Root()) if params["guests"] else None
    if known is None or not known.installed:
        return {**Plan().result(call.diff), "absent": list(params["guests"])}
    host, foreseen = known, None
    if call.check_mode:
        foreseen = Foreseen(params["foreseen_seclabels"], params["foreseen_filters"], params["foreseen_guard"])
    guarded = foreseen.guarded if foreseen and foreseen.guard else hooks.guarded(Root())
    way = guest_power.Way(params["method"], params["force"], float(params["shutdown_timeout"]))

    def work(session: definitions.Session) -> dict[str, t.Any]:
        survey = definitions.survey(session, host)
        if call.check_mode and params["foreseen_driver"]:
            survey = definitions.with_driver(survey, host)
        if call.check_mode and params["foreseen_context"]:
            survey = replace(survey, daemon=params["foreseen_context"])
        if foreseen:
            survey = power_cycle.expect(survey, foreseen)
        cycles, made = power_cycle.plan(survey, params["guests"], guarded, way.sure)
        absent = {"absent": power_cycle.absent(survey, params["guests"])}
        if not cycles or call.check_mode:
            return {**made.result(call.diff), **absent}
        with Journal("guest_power_cycle"):  # for its lock: no other run changes these guests meanwhile
            outcome = guest_power.cycle(session, survey, cycles, way)
        told = power_cycle.done(cycles, made, outcome.refused, outcome.failed, outcome.labels, call.diff)
        return {**told, **absent}

    patience = params["timeout"] + len(params["guests"]) * way.timeout
    return t.cast("dict[str, t.Any]", definitions.within(patience, work))
