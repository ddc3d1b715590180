# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The controller sends the watch's program with the task."""

from __future__ import annotations

import binascii
import typing as t
import zlib
from unittest.mock import MagicMock, patch

import pytest
from ansible.errors import AnsibleError
from ansible_collections.svirt.fleet.plugins.action import watch_timer as action
from ansible_collections.svirt.fleet.plugins.plugin_utils import _archive

from tests.unit.support.actions import finished


def act(**arguments: t.Any) -> dict[str, t.Any]:
    task = MagicMock(args=arguments, async_val=0, check_mode=False, diff=False)
    parts = ("connection", "play_context", "loader", "templar", "shared_loader_obj")
    plugin = action.ActionModule(task=task, **{name: MagicMock() for name in parts})
    execute = MagicMock(return_value={"changed": True})
    with patch.object(plugin, "_execute_module", execute):
        finished(lambda: plugin.run(task_vars={"inventory_hostname": "kvm1"}))
    return t.cast("dict[str, t.Any]", execute.call_args.kwargs["module_args"])


def test_the_controller_sends_the_program() -> None:
    sent = act(interval=600)
    assert (sent["interval"], sent["host"]) == (600, "kvm1")
    assert zlib.decompress(binascii.a2b_base64(sent["content"])) == _archive.program()
    assert act(host="other")["host"] == "other"
    assert set(act(state="absent")) == {"state"}


def test_nobody_else_sends_one() -> None:
    with pytest.raises(AnsibleError, match="content"):
        act(content="x")
