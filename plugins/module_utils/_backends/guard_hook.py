# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Body of guard_hook: installs or removes the guard.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from .._core.errors import HostWriteError, PlanError
from .._core.harden import guard as guard_plan
from .._core.harden.guard import GuardFacts, GuardOptions, GuardStep, GuardView
from .._core.result import Pending, Refusal, Result
from .._core.system.own_files import LINK
from .._host.base.file_write import CHANGED_MEANWHILE
from .._host.base.journal import Journals
from .._host.change.own_programs.guard import Guard
from .._module import Call

#: How often the guard is planned and installed again when somebody else saves one of its files meanwhile.
_TRIES = 3

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "content": {"type": "str"},
    "collision": {"type": "str", "choices": ["refuse", "allow"], "default": "refuse"},
    "errors": {"type": "str", "choices": ["allow", "refuse"], "default": "allow"},
    "time_limit": {"type": "int", "default": 5},
    "foreseen_policy": {"type": "bool", "default": False},
    "log": {"type": "str", "choices": ["refusals", "all"], "default": "refusals"},
}


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Read the host, plan, test, install or remove unless in check mode. Raises SvirtError."""
    guard = Guard(call.root, call.run_command)
    install = call.params["state"] == "present"
    refusal = guard.refusal() if install else None
    view = guard.view() if install and not refusal else GuardView()
    for last in (False,) * (_TRIES - 1) + (True,):
        facts = guard.look()
        steps = [] if refusal else _plan(call, guard, facts, view)
        if not steps or call.check_mode:
            break
        try:
            with journals.open("guard_hook") as journal:
                (guard.install if install else guard.remove)(steps, journal)
            break
        except HostWriteError as error:
            if last or error.code != CHANGED_MEANWHILE:  # else planned again from what somebody else saved
                raise
    after = guard_plan.applied(facts, steps)
    waits = guard.pending(now=facts.link != after.link) if after.link else None
    result = Result(
        guard_plan.summary(facts),
        guard_plan.summary(after),
        plan=[step.step for step in steps],
        pending=[Pending(LINK, "daemon_restart", waits)] if waits else [],
        refused=[Refusal(LINK, refusal)] if refusal else [],
        extra={"limits": [Refusal(LINK, limit).as_dict() for limit in view.limits]},
    )
    if steps:
        call.warnings += [f"guard: {limit}" for limit in view.limits]
    if call.diff:
        result.extra["diff"] = guard_plan.diff(facts, after)
    return result.as_dict()


def _plan(call: Call, guard: Guard, facts: GuardFacts, view: GuardView) -> list[GuardStep]:
    """The changes, once they are known to work. Raises PlanError and HostWriteError."""
    params = call.params
    if params["state"] == "absent":
        return guard_plan.remove(facts)
    keys = ("collision", "errors", "time_limit", "log")
    chosen = {key: params[key] for key in keys}
    options = GuardOptions(params["content"], **chosen, readable=view.readable, ask=view.ask)
    steps = guard_plan.install(options, facts)
    foreseen = call.check_mode and params["foreseen_policy"]
    objections = [] if foreseen else guard.objections(facts)
    if objections:
        state = "is in place, so take it away (state=absent)" if facts.link else "was not put in place"
        text = f"libvirt's daemon could not run the guard, which {state}: {'; '.join(map(str, objections))}"
        raise PlanError(text, "daemon_may_not_run_it")
    if any(step.path == guard_plan.SCRIPT for step in steps):
        guard.test(params["content"].encode())
    return steps
