# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules share: programs run from the root folder, and warnings that are of one result."""

from __future__ import annotations

import json
import os
import sys
import typing as t
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.svirt.fleet.plugins.module_utils._module import Call, runner, settle

from tests.unit.support.module_args import patch_module_args


def test_programs_run_from_the_root_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def run_command(args: list[str], *, cwd: str | None = None, **_more: Any) -> tuple[int, str, str]:
        return 0, f"{' '.join(args)} in {cwd or os.getcwd()}", ""

    module: Any = SimpleNamespace(run_command=run_command)
    assert runner(module)(["grub-mkconfig"]) == (0, "grub-mkconfig in /", "")


def test_a_result_has_its_own_warnings_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    internal = sys.modules.get("ansible.module_utils._internal")
    if internal is not None:  # as on a host: where there is a controller's code, warnings are displayed at once
        monkeypatch.setattr(internal, "is_controller", False)

    def result(*warnings: str) -> dict[str, Any]:
        def run(call: Call) -> dict[str, Any]:
            call.warnings.extend(warnings)
            return {"changed": False}

        with patch_module_args({}), pytest.raises(SystemExit):
            settle(t.cast(t.Any, AnsibleModule)({}), run)
        content: dict[str, Any] = json.loads(capsys.readouterr().out)
        return content

    assert len(result("the first", "the second")["warnings"]) == 2
    assert "warnings" not in result()
