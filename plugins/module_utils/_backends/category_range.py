# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The range of categories that libvirt's daemon draws from.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._core.errors import PlanError
from .._core.harden import category_range
from .._core.harden.category_range import PRESENT, REPAIRED, STATES, Plan, Seen
from .._host.base.daemons import is_installed
from .._host.base.journal import Journal
from .._host.base.root import Root
from .._host.change.category_range import CategoryRange
from .._host.probe.probe import Tools
from .._module import Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "state": {"type": "str", "choices": list(STATES), "default": PRESENT},
    "low": {"type": "int"},
    "high": {"type": "int"},
    "strict": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}


def run(call: Call) -> dict[str, t.Any]:
    """Look, plan, write unless in check mode. Raises SvirtError."""
    params = call.params
    wanted = category_range.wish(params["state"], params["low"], params["high"])
    if params["timeout"] < 1:
        raise PlanError(f"timeout is {params['timeout']}; give at least 1 second")
    root = Root()
    if not is_installed(root):
        if wanted.state == PRESENT:
            raise PlanError("no libvirt daemon for QEMU is installed on this host, so it has no range to set")
        return _result(call, Seen(None, False), Plan(None))
    actor = CategoryRange(root, Tools(run_command=call.run_command), float(params["timeout"]))
    seen = actor.look(guests=wanted.state == PRESENT)
    made = category_range.plan(seen, wanted)
    if wanted.state == REPAIRED and (made.text != seen.ours or made.refused):
        # What costs a look at all guests is looked at only where something is wrong.
        seen = actor.look(guests=True)
        made = category_range.plan(seen, wanted)
    if made.context is not None and made.text != seen.ours:
        objection = actor.objection(seen, made.context)
        made = Plan(seen.ours, refused=objection) if objection else made
    if made.text != seen.ours and not call.check_mode:
        with Journal("category_range") as journal:
            actor.write(seen, made.text, made.context, journal)
    call.warnings += made.warnings
    return _result(call, seen, made)


def _result(call: Call, seen: Seen, made: Plan) -> dict[str, t.Any]:
    changed = made.text != seen.ours
    needed = category_range.restart_needed(seen, made)
    before, after = _state(seen), _state(replace(seen, ours=made.text))
    result: dict[str, t.Any] = {
        "changed": changed,
        "before": before,
        "after": after,
        "context": made.context,
        "plan": _lines(seen, before, after) if changed else [],
        "restart_needed": needed,
        "pending": _pending(seen, after) if needed else [],
        "refused": [{"subject": f"range of {seen.daemon or 'libvirt'}", "why": made.refused}] if made.refused else [],
    }
    if call.diff:
        header = {"before_header": seen.path, "after_header": seen.path}
        result["diff"] = [{**header, "before": seen.ours or "", "after": made.text or ""}] if changed else []
    return result


def _state(seen: Seen) -> dict[str, t.Any]:
    settings = seen.settings(seen.ours) if seen.daemon else []
    return {
        "daemon": seen.daemon,
        "drop_in": seen.path if seen.ours is not None else None,
        "range": category_range.drawn_from(settings[-1].value if settings else seen.given),
        "running": category_range.drawn_from(seen.context) if seen.awake else None,
    }


def _lines(seen: Seen, before: dict[str, t.Any], after: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    action = "remove" if after["drop_in"] is None else "set" if before["drop_in"] else "add"
    return [{"action": action, "subject": seen.path, "from": before["range"], "to": after["range"]}]


def _pending(seen: Seen, after: dict[str, t.Any]) -> list[dict[str, str]]:
    why = f"{seen.daemon} draws from {after['running']} until it is restarted, then from {after['range']}"
    return [{"subject": seen.unit, "needs": "daemon_restart", "why": why}]
