# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart the daemon unless the gate refuses.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from .._core.errors import FailedError, PlanError
from .._core.harden.daemon_restart import ForeseenRestart, RestartFacts, expect, planned, refusals, state
from .._core.result import Reason, Result
from .._host.base.journal import Journals
from .._host.change.daemon_restart import RestartActor, RestartOutcome
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


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Look, restart unless the gate refuses or in check mode, look again. Raises SvirtError."""
    params = call.params
    if params["timeout"] < 1:
        raise PlanError(f"timeout is {params['timeout']}; give at least 1 second", code="timeout_too_small")
    tools = Tools(run_command=call.run_command)
    actor = RestartActor(call.root, tools, float(params["timeout"]), params["context"])
    look = actor.look()
    if call.check_mode:
        expect(look, _foreseen(params))
    result = planned(look, params["only_if_needed"])
    if call.diff:
        headers = {"before_header": "daemon", "after_header": "daemon"}
        shown = [{**headers, "before": "running\n", "after": "restarted\n"}]
        result.extra["diff"] = shown if result.changed else []
    if result.refused and params["strict"]:
        listed = "; ".join(f"{entry.subject}: {entry.reason}" for entry in refusals(look))
        raise FailedError(f"libvirt's daemon must not be restarted now: {listed}", result.as_dict())
    if result.changed and not call.check_mode:
        result.after = _apply(actor, look, result, journals)
    return result.as_dict()


def _foreseen(params: dict[str, t.Any]) -> ForeseenRestart:
    waiting = [item for item in params["foreseen_pending"] if item.get("needs") == DAEMON_RESTART]
    return ForeseenRestart(
        reasons=tuple(Reason("foreseen", f"{item.get('subject')}: {item.get('why')}") for item in waiting),
        settings=params["foreseen_settings"],
        policy=params["foreseen_policy"],
    )


def _apply(actor: RestartActor, look: RestartFacts, result: Result, journals: Journals) -> dict[str, t.Any]:
    with journals.open("libvirt_restart") as journal:
        if look.libvirt.daemon is None or look.libvirt.daemon.pid is None:
            actor.reload()
            return state(look)
        outcome = actor.restart(look, journal)
    if outcome.problems:
        values = result.as_dict()
        for planned_only in ("after", "selinux_driver", "diff"):
            values.pop(planned_only, None)
        raise FailedError(_message(outcome), {**values, **_failure(outcome)})
    return state(actor.look())


def _failure(outcome: RestartOutcome) -> dict[str, t.Any]:
    return {
        "problems": [reason.text for reason in outcome.problems],
        "restored": outcome.restored,
        "problems_after_rollback": [reason.text for reason in outcome.again],
    }


def _message(outcome: RestartOutcome) -> str:
    message = f"the restart of libvirt's daemon failed: {'; '.join(map(str, outcome.problems))}. "
    if not outcome.restored:
        return f"{message}No change since its last start is in the journal, so nothing was restored. " + "; ".join(
            outcome.kept
        )
    message += f"{', '.join(outcome.restored)} restored and the daemon restarted once more: "
    return message + ("; ".join([*map(str, outcome.again), *outcome.kept]) or "the daemon and all guests are back")
