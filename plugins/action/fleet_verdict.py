# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fails the run unless the fleet was judged and passed. The documentation is with the module of the same name."""

from __future__ import annotations

import typing as t

from ..module_utils._core.audit.finding import PASS
from ..module_utils._core.errors import PlanError
from ..plugin_utils._action import Arguments, ControllerAction, negative


class ActionModule(ControllerAction):
    """Looks at the result of the analysis."""

    ARGUMENTS: t.ClassVar[dict[str, dict[str, t.Any]]] = {"judged": {"type": "dict", "required": True}}

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        judged = arguments["judged"]
        verdict, message = judged.get("verdict"), judged.get("msg")
        if not isinstance(verdict, str) or not isinstance(message, str) or judged.get("asked"):
            raise PlanError("judged is no final result of fleet_analysis: run the whole audit")
        result = {"changed": False, "verdict": verdict, "msg": message}
        if verdict != PASS:
            raise negative(result)
        return result
