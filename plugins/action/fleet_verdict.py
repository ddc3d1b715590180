# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fails the run unless the fleet passed and no step refused anything. Documented in the module of the same name."""

from __future__ import annotations

import typing as t

from ..module_utils._core.audit.finding import PASS
from ..module_utils._core.errors import PlanError
from ..plugin_utils._action import Arguments, ControllerAction, negative
from ..plugin_utils._refusals import Refusals


class ActionModule(ControllerAction):
    """Looks at the result of the analysis, and at those of the steps before it."""

    ARGUMENTS: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "judged": {"type": "dict"},
        "results": {"type": "list", "elements": "dict", "default": []},
        "host_results": {"type": "list", "elements": "str", "default": []},
    }

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        judged, results, names = arguments["judged"], arguments["results"], arguments["host_results"]
        if judged is None and not results:
            raise PlanError("there is nothing to look at: give judged, or results of steps", "nothing_given")
        verdict, message = (None, "") if judged is None else _judged(judged)
        refusals = Refusals.of(results) + self._of_hosts(names)
        lines = [line for line in (message, refusals.message()) if line]
        result = {
            "changed": False,
            "verdict": verdict,
            "refused": refusals.total,
            "msg": "\n".join(lines) or "no step refused anything",
        }
        if verdict not in (None, PASS) or refusals.total:
            raise negative(result)
        return result

    def _of_hosts(self, names: t.Sequence[str]) -> Refusals:
        """Refusals in variables of all hosts of the play."""
        hostvars = self.variables.get("hostvars") or {}
        refusals = Refusals()
        for host in self.variables.get("ansible_play_hosts_all") or ():
            variables = hostvars.get(host) or {}
            given = (variables.get(name) for name in names)
            refusals += Refusals.of((value for value in given if value is not None), host)
        return refusals


def _judged(judged: t.Mapping[str, t.Any]) -> tuple[str, str]:
    verdict, message = judged.get("verdict"), judged.get("msg")
    if not isinstance(verdict, str) or not isinstance(message, str) or judged.get("asked"):
        raise PlanError("judged is no final result of fleet_analysis: run the whole audit")
    return verdict, message
