# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the watch's program on the controller, and has the module install it. The module has the documentation."""

from __future__ import annotations

import binascii
import typing as t
import zlib

from ansible.plugins.action import ActionBase

from ..plugin_utils import _archive
from ..plugin_utils._action import failure


class ActionModule(ActionBase):
    """Adds the program and the host's name in the inventory to the module's arguments."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.pop("content", None) is not None:
            raise failure("content is for this action plugin alone, which builds it from the collection; leave it out")
        variables = task_vars or {}
        if arguments.get("state", "present") == "present":
            packed = zlib.compress(_archive.program(), 9)
            arguments["content"] = binascii.b2a_base64(packed, newline=False).decode("ascii")
            arguments.setdefault("host", str(variables["inventory_hostname"]))
        result.update(
            self._execute_module(module_name="svirt.fleet.watch_timer", module_args=arguments, task_vars=variables)
        )
        return result
