# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Runs an action plugin in this process, as a play would."""

from __future__ import annotations

import typing as t
from types import ModuleType
from unittest.mock import MagicMock

from ansible_collections.svirt.fleet.plugins.plugin_utils._action import NegativeVerdict


def run(plugin: ModuleType, check: bool = False, diff: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
    """The result of one task."""
    task = MagicMock(args=arguments, async_val=0, check_mode=check, diff=diff)
    action = plugin.ActionModule(
        task=task,
        connection=MagicMock(),
        play_context=MagicMock(),
        loader=MagicMock(),
        templar=MagicMock(),
        shared_loader_obj=MagicMock(),
    )
    action._load_name = "svirt.fleet." + plugin.__name__.rpartition(".")[2]  # as the plugin loader does
    return finished(lambda: action.run(task_vars={}))


def finished(task: t.Callable[[], dict[str, t.Any]]) -> dict[str, t.Any]:
    """The result that a play sees, also of a task that its own answer fails."""
    try:
        result = task()
    except NegativeVerdict as verdict:
        return {**t.cast("dict[str, t.Any]", verdict.result), "failed": True}
    return {"failed": False, **result}
