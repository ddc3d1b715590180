# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes each task's result as a line of JSON into the file that SVIRT_RECORD names.

For Molecule's own steps SVIRT_RECORDS names a folder instead: each run of converge.yml gets a new file there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record
type: notification
short_description: Results of tasks as lines of JSON
description: Used by the tests of this collection only.
"""


class CallbackModule(CallbackBase):
    """One line a result."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    path: Path | None = None

    def v2_playbook_on_start(self, playbook: Any) -> None:
        if name := os.environ.get("SVIRT_RECORD"):
            self.path = Path(name)
        elif Path(playbook._file_name).name == "converge.yml":
            folder = Path(os.environ["SVIRT_RECORDS"])
            folder.mkdir(parents=True, exist_ok=True)
            self.path = folder / f"{len(list(folder.iterdir())):02}.jsonl"
            self.path.touch()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write(result, failed=False)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._write(result, failed=not ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write(result, failed=True)

    def _write(self, result: Any, *, failed: bool) -> None:
        if self.path is None:
            return
        line = {
            "host": result.host.get_name(),
            "task": result.task.get_name(),
            "action": result.task.action,
            "changed": bool(result.result.get("changed")),
            "failed": failed,
            "result": dict(result.result),
        }
        with self.path.open("a", encoding="utf-8") as record:
            record.write(json.dumps(line, default=str) + "\n")
