# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Body of category_range: the category range that libvirt's daemon draws from.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._core.errors import HostWriteError, PlanError
from .._core.harden import category_range
from .._core.harden.category_range import PRESENT, REPAIRED, STATES, RangeFacts, RangePlan, RangeRequest
from .._core.result import Pending, Reason, Refusal, Result, Step
from .._host.base.daemons import is_installed
from .._host.base.file_write import CHANGED_MEANWHILE
from .._host.base.journal import Journals
from .._host.change.category_range import CategoryRange
from .._host.probe.probe import Tools
from .._module import Call

#: How often the drop-in is planned and written again when somebody else saves it meanwhile.
_TRIES = 3

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "state": {"type": "str", "choices": list(STATES), "default": PRESENT},
    "low": {"type": "int"},
    "high": {"type": "int"},
    "strict": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Read the host, plan, write unless in check mode. Raises SvirtError."""
    params = call.params
    request = category_range.requested(params["state"], params["low"], params["high"])
    if params["timeout"] < 1:
        raise PlanError(f"timeout is {params['timeout']}; give at least 1 second", "bad_timeout")
    if not is_installed(call.root):
        if request.state == PRESENT:
            text = "no libvirt daemon for QEMU is installed on this host, so it has no range to set"
            raise PlanError(text, "no_libvirt")
        return _document(call, RangeFacts(None, False), RangePlan(None))
    actor = CategoryRange(call.root, Tools(run_command=call.run_command), float(params["timeout"]))
    for last in (False,) * (_TRIES - 1) + (True,):
        facts, planned = _plan(actor, request)
        if planned.text == facts.drop_in or call.check_mode:
            break
        try:
            with journals.open("category_range") as journal:
                actor.write(facts, planned.text, planned.context, journal)
            break
        except HostWriteError as error:
            if last or error.code != CHANGED_MEANWHILE:  # else planned again from what somebody else saved
                raise
    call.warnings += planned.warnings
    return _document(call, facts, planned)


def _plan(actor: CategoryRange, request: RangeRequest) -> tuple[RangeFacts, RangePlan]:
    facts = actor.look(guests=request.state == PRESENT)
    planned = category_range.plan(facts, request)
    if request.state == REPAIRED and (planned.text != facts.drop_in or planned.refused):
        # Listing guests is slow; do it only when a repair is needed.
        facts = actor.look(guests=True)
        planned = category_range.plan(facts, request)
    if planned.context is not None and planned.text != facts.drop_in:
        objection = actor.objection(facts, planned.context)
        planned = RangePlan(facts.drop_in, refused=objection) if objection else planned
    return facts, planned


def _document(call: Call, facts: RangeFacts, planned: RangePlan) -> dict[str, t.Any]:
    needed = category_range.restart_needed(facts, planned)
    before, after = _state(facts), _state(replace(facts, drop_in=planned.text))
    steps = [_step(facts, before, after)] if planned.text != facts.drop_in else []
    subject = f"range of {facts.daemon or 'libvirt'}"
    result = Result(
        before,
        after,
        plan=steps,
        pending=[_pending(facts, after)] if needed else [],
        refused=[Refusal(subject, planned.refused)] if planned.refused else [],
        extra={"context": planned.context, "restart_needed": needed},
    )
    if call.diff:
        header = {"before_header": facts.path, "after_header": facts.path}
        result.extra["diff"] = [{**header, "before": facts.drop_in or "", "after": planned.text or ""}] if steps else []
    return result.as_dict()


def _state(facts: RangeFacts) -> dict[str, t.Any]:
    settings = facts.settings(facts.drop_in) if facts.daemon else []
    return {
        "daemon": facts.daemon,
        "drop_in": facts.path if facts.drop_in is not None else None,
        "range": category_range.drawn_from(settings[-1].value if settings else facts.default_context),
        "running": category_range.drawn_from(facts.context) if facts.awake else None,
    }


def _step(facts: RangeFacts, before: dict[str, t.Any], after: dict[str, t.Any]) -> Step:
    action = "remove" if after["drop_in"] is None else "set" if before["drop_in"] else "add"
    return Step(action, facts.path, before["range"], after["range"])


def _pending(facts: RangeFacts, after: dict[str, t.Any]) -> Pending:
    text = f"{facts.daemon} draws from {after['running']} until it is restarted, then from {after['range']}"
    return Pending(facts.unit, "daemon_restart", Reason("daemon_restart", text))
