# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the audit log on the host, and stores its records on the controller. The module has the documentation."""

from __future__ import annotations

import os
import time
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase

from ..module_utils._core.audit.history import transfer
from ..module_utils._core.errors import SchemaError
from ..plugin_utils import _failure, _snapshots
from ..plugin_utils._action import failure, negative
from ..plugin_utils._probe_answer import unpack


class ActionModule(ActionBase):
    """Run the module. With ``dest``, its records are validated and written to a file on the controller."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        dest = self._task.args.get("dest")
        if dest is None:
            result: dict[str, t.Any] = super().run(tmp, task_vars)
            result.update(self._read(variables))
            return result
        if not isinstance(dest, str) or not dest:
            raise failure(f"dest is {dest!r}; give the path of a folder on the controller")
        folder, host = Path(os.path.expandvars(dest)).expanduser().absolute(), str(variables["inventory_hostname"])
        self._unread(folder, host, "its audit log was not read to the end")  # first: no earlier file counts as new
        try:
            super().run(tmp, task_vars)
            kept = self._keep(folder, host, self._read(variables))
        except BaseException as error:
            self._unread(folder, host, _failure.explained(str(error) or type(error).__name__))
            raise
        if kept.get("failed"):
            raise negative(kept)
        return kept

    def _read(self, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        name = "svirt.fleet.guest_history_info"
        return t.cast("dict[str, t.Any]", self._execute_module(module_name=name, task_vars=variables))

    def _keep(self, folder: Path, host: str, answer: dict[str, t.Any]) -> dict[str, t.Any]:
        if answer.get("failed"):
            why = _failure.cause(answer)
            self._unread(folder, host, why)
            return {**answer, "msg": why}
        try:
            document = unpack(answer.get("packed"))
            log = transfer.decoded(host, document)
        except SchemaError as error:
            why = f"the host's answer has no records of guests: {error}"
            self._unread(folder, host, why)
            return {"failed": True, "msg": why}
        try:
            path = _snapshots.write_json(_snapshots.path_of(folder, host), document)
        except OSError as error:
            raise failure(f"dest {folder} cannot be written: {error}") from error
        return {"changed": False, "records_path": str(path), "records": len(log.events), "since": log.since}

    def _unread(self, folder: Path, host: str, why: str) -> None:
        try:
            _snapshots.write_unread(folder, host, why, time.time())
        except OSError as error:
            raise failure(f"dest {folder} cannot be written: {error}") from error
