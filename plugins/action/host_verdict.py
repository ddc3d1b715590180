# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fails a host where a step refused something. The documentation is with the module of the same name."""

from __future__ import annotations

import typing as t

from ..plugin_utils._action import Arguments, ControllerAction, negative
from ..plugin_utils._refusals import Refusals


class ActionModule(ControllerAction):
    """Looks at the results of a host's steps."""

    BYPASS_HOST_LOOP = False
    ARGUMENTS: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "results": {"type": "list", "elements": "dict", "required": True}
    }

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        refusals = Refusals.of(arguments["results"])
        message = refusals.message()
        result = {"changed": False, "refused": refusals.total, "msg": message or "no step refused anything"}
        if message:
            raise negative(result)
        return result
