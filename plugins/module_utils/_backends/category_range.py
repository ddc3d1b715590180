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
from .._core.harden.category_range import PRESENT, REPAIRED, STATES, RangeFacts, RangePlan, RangeWish
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
    wanted = category_range.wish(params["state"], params["low"], params["high"])
    if params["timeout"] < 1:
        raise PlanError(f"timeout is {params['timeout']}; give at least 1 second", "bad_timeout")
    if not is_installed(call.root):
        if wanted.state == PRESENT:
            text = "no libvirt daemon for QEMU is installed on this host, so it has no range to set"
            raise PlanError(text, "no_libvirt")
        return _document(call, RangeFacts(None, False), RangePlan(None))
    actor = CategoryRange(call.root, Tools(run_command=call.run_command), float(params["timeout"]))
    for last in (False,) * (_TRIES - 1) + (True,):
        seen, planned = _plan(actor, wanted)
        if planned.text == seen.ours or call.check_mode:
            break
        try:
            with journals.open("category_range") as journal:
                actor.write(seen, planned.text, planned.context, journal)
            break
        except HostWriteError as error:
            if last or error.code != CHANGED_MEANWHILE:  # else planned again from what somebody else saved
                raise
    call.warnings += planned.warnings
    return _document(call, seen, planned)


def _plan(actor: CategoryRange, wanted: RangeWish) -> tuple[RangeFacts, RangePlan]:
    seen = actor.look(guests=wanted.state == PRESENT)
    planned = category_range.plan(seen, wanted)
    if wanted.state == REPAIRED and (planned.text != seen.ours or planned.refused):
        # Listing guests is slow; do it only when a repair is needed.
        seen = actor.look(guests=True)
        planned = category_range.plan(seen, wanted)
    if planned.context is not None and planned.text != seen.ours:
        objection = actor.objection(seen, planned.context)
        planned = RangePlan(seen.ours, refused=objection) if objection else planned
    return seen, planned


def _document(call: Call, seen: RangeFacts, planned: RangePlan) -> dict[str, t.Any]:
    needed = category_range.restart_needed(seen, planned)
    before, after = _state(seen), _state(replace(seen, ours=planned.text))
    steps = [_step(seen, before, after)] if planned.text != seen.ours else []
    subject = f"range of {seen.daemon or 'libvirt'}"
    result = Result(
        before,
        after,
        plan=steps,
        pending=[_pending(seen, after)] if needed else [],
        refused=[Refusal(subject, planned.refused)] if planned.refused else [],
        extra={"context": planned.context, "restart_needed": needed},
    )
    if call.diff:
        header = {"before_header": seen.path, "after_header": seen.path}
        result.extra["diff"] = [{**header, "before": seen.ours or "", "after": planned.text or ""}] if steps else []
    return result.as_dict()


def _state(seen: RangeFacts) -> dict[str, t.Any]:
    settings = seen.settings(seen.ours) if seen.daemon else []
    return {
        "daemon": seen.daemon,
        "drop_in": seen.path if seen.ours is not None else None,
        "range": category_range.drawn_from(settings[-1].value if settings else seen.given),
        "running": category_range.drawn_from(seen.context) if seen.awake else None,
    }


def _step(seen: RangeFacts, before: dict[str, t.Any], after: dict[str, t.Any]) -> Step:
    action = "remove" if after["drop_in"] is None else "set" if before["drop_in"] else "add"
    return Step(action, seen.path, before["range"], after["range"])


def _pending(seen: RangeFacts, after: dict[str, t.Any]) -> Pending:
    text = f"{seen.daemon} draws from {after['running']} until it is restarted, then from {after['range']}"
    return Pending(seen.unit, "daemon_restart", Reason("daemon_restart", text))
