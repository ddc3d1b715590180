# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules share: programs run from the root folder."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._module import runner


def test_programs_run_from_the_root_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def run_command(args: list[str], *, cwd: str | None = None, **_more: Any) -> tuple[int, str, str]:
        return 0, f"{' '.join(args)} in {cwd or os.getcwd()}", ""

    module: Any = SimpleNamespace(run_command=run_command)
    assert runner(module)(["grub-mkconfig"]) == (0, "grub-mkconfig in /", "")
