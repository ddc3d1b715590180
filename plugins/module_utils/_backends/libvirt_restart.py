# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon restarted, unless the gate refuses.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from .._core.errors import FailedError, PlanError
from .._core.harden.daemon_restart import Foreseen, Look, expect, has_selinux, reasons, refusals, running
from .._host.base.journal import Journal
from .._host.base.root import Root
from .._host.change.daemon_restart import Actor, Outcome
from .._host.probe.probe import Tools
from .._module import Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "only_if_needed": {"type": "bool", "default": True},
    "context": {"type": "str"},
    "foreseen_pending": {"type": "list", "elements": "dict", "default": []},
    "foreseen_settings": {"type": "dict", "default": {}},
    "foreseen_policy": {"type": "bool", "default": False},
    "strict": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}
DAEMON_RESTART = "daemon_restart"


def run(call: Call) -> dict[str, t.Any]:
    """Look, restart unless the gate refuses or in check mode, look again. Raises SvirtError."""
    params = call.params
    if params["timeout"] < 1:
        raise PlanError(f"timeout is {params['timeout']}; give at least 1 second")
    actor = Actor(Root(), Tools(run_command=call.run_command), float(params["timeout"]), params["context"])
    look = actor.look()
    if call.check_mode:
        expect(look, _foreseen(params))
    result = _result(look, params["only_if_needed"])
    if result["refused"] and params["strict"]:
        raise FailedError(f"libvirt's daemon must not be restarted now: {_listed(look)}", result)
    if result["changed"] and not call.check_mode:
        result["after"] = _apply(actor, look, result)
    if call.diff:
        headers = {"before_header": "daemon", "after_header": "daemon"}
        shown = [{**headers, "before": _line("running"), "after": _line("restarted")}]
        result["diff"] = shown if result["changed"] else []
    return result


def _foreseen(params: dict[str, t.Any]) -> Foreseen:
    waiting = [item for item in params["foreseen_pending"] if item.get("needs") == DAEMON_RESTART]
    return Foreseen(
        reasons=tuple(f"{item.get('subject')}: {item.get('why')}" for item in waiting),
        settings=params["foreseen_settings"],
        policy=params["foreseen_policy"],
    )


def _result(look: Look, only_if_needed: bool) -> dict[str, t.Any]:
    """What would be done. A daemon that sleeps only has systemd read its files again, where they changed."""
    daemon, unit = look.libvirt.daemon, look.unit
    asleep = daemon is None or daemon.pid is None
    needed = reasons(look)
    wanted = not asleep and bool(needed or not only_if_needed)
    gate = [{"subject": subject, "why": why} for subject, why in refusals(look)]
    name = unit.name if unit else "daemon"
    plan = []
    if wanted and not gate:
        plan = [{"action": "restart", "subject": name, "from": "running", "to": "restarted"}]
    elif asleep and unit is not None and unit.stale:
        plan = [{"action": "reload_units", "subject": name, "from": "stale", "to": "read again"}]
    refused = wanted and bool(gate)
    why = "; ".join(needed) or "a restart was asked for"
    state = _state(look)
    return {
        "changed": bool(plan),
        "before": state,
        "after": state,
        "needed": needed,
        "gate": gate,
        "plan": plan,
        "refused": gate if refused else [],
        "selinux_driver": has_selinux(look, any(line["action"] == "restart" for line in plan)),
        "pending": [{"subject": name, "needs": DAEMON_RESTART, "why": why}] if refused else [],
    }


def _apply(actor: Actor, look: Look, result: dict[str, t.Any]) -> dict[str, t.Any]:
    with Journal("libvirt_restart") as journal:
        if look.libvirt.daemon is None or look.libvirt.daemon.pid is None:
            actor.reload()
            return _state(look)
        outcome = actor.restart(look, journal)
    if outcome.problems:
        del result["after"], result["selinux_driver"]  # they were foreseen
        told = {"problems": outcome.problems, "restored": outcome.restored, "problems_after_rollback": outcome.again}
        raise FailedError(_told(outcome), {**result, **told})
    return _state(actor.look())


def _told(outcome: Outcome) -> str:
    message = f"the restart of libvirt's daemon went wrong: {'; '.join(outcome.problems)}. "
    if not outcome.restored:
        return (
            f"{message}Nothing in the journal was changed since its last start, so nothing was put back. "
            + "; ".join(outcome.kept)
        )
    message += f"{', '.join(outcome.restored)} put back and restarted once more: "
    return message + ("; ".join([*outcome.again, *outcome.kept]) or "the daemon and all guests are there again")


def _listed(look: Look) -> str:
    return "; ".join(f"{subject}: {why}" for subject, why in refusals(look))


def _state(look: Look) -> dict[str, t.Any]:
    daemon = look.libvirt.daemon
    return {
        "daemon": daemon.name if daemon else None,
        "pid": daemon.pid if daemon else None,
        "context": daemon.context if daemon else None,
        "guests": len(running(look.snapshot)),
    }


def _line(text: str) -> str:
    return f"{text}\n"
