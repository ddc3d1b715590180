# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the probe on the host and makes the snapshot of its answer. The module has the documentation."""

from __future__ import annotations

import os
import time
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase

from ..module_utils._core.errors import SchemaError
from ..plugin_utils import _failure, _snapshots
from ..plugin_utils._action import failure, negative
from ..plugin_utils._probe_answer import read_answer, summary

_UNFINISHED = "the probe did not finish"


class ActionModule(ActionBase):
    """Probe. With ``dest``, the snapshot is validated and written to a file on the controller."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        arguments = dict(self._task.args)
        dest = arguments.get("dest")
        if self._task.async_val:
            raise failure("async does not go with svirt_info: nobody would make the snapshot of what the host sends")
        if dest is None:
            result: dict[str, t.Any] = super().run(tmp, task_vars)
            result.update(_shown(self._probe(arguments, variables)))
            return result
        keeper = _Keeper(_folder(dest), str(variables["inventory_hostname"]))
        keeper.unread(_UNFINISHED)  # first, so that an earlier snapshot is never taken for a new one
        try:
            super().run(tmp, task_vars)
            kept = keeper.keep(self._probe(arguments, variables))
        except BaseException as error:  # unreachable, become, interrupted: Ansible reports it, and so does the file
            keeper.unread(_failure.explained(str(error) or type(error).__name__))
            raise
        if kept.get("failed"):
            raise negative(kept)  # the host failed, not this plugin: no origin in our source is shown
        return kept

    def _probe(self, arguments: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
        return t.cast(
            "dict[str, t.Any]",
            self._execute_module(
                module_name="svirt.fleet.svirt_info",
                module_args=arguments,
                task_vars=variables,
            ),
        )


class _Keeper:
    """File of one host's snapshot."""

    def __init__(self, folder: Path, host: str) -> None:
        self._folder = folder
        self._host = host

    def unread(self, why: str) -> Path:
        """Record that the host could not be read."""
        try:
            return _snapshots.write_unread(self._folder, self._host, why, time.time())
        except OSError as error:
            raise failure(f"dest {self._folder} cannot be written: {error}") from error

    def keep(self, answer: dict[str, t.Any]) -> dict[str, t.Any]:
        """Write the snapshot in a module's result. Returns the task's result."""
        if answer.get("failed"):
            why = _failure.cause(answer)
            return {**answer, "msg": why, "snapshot_path": str(self.unread(why))}
        try:
            document, snapshot = read_answer(answer.get("packed"))
        except SchemaError as error:
            why = _lie(error)
            return {"failed": True, "msg": why, "snapshot_path": str(self.unread(why))}
        try:
            path = _snapshots.write_snapshot(self._folder, self._host, document)
        except OSError as error:
            raise failure(f"dest {self._folder} cannot be written: {error}") from error
        # The summary is computed here: only validated data of the host is returned.
        kept: dict[str, t.Any] = {key: answer[key] for key in ("warnings", "deprecations") if key in answer}
        return {"changed": False, "summary": summary(snapshot), "snapshot_path": str(path), **kept}


def _shown(answer: dict[str, t.Any]) -> dict[str, t.Any]:
    """The task's result from a module's: with the snapshot and its summary in place of what the host sent."""
    if answer.get("failed"):
        return answer
    rest = {key: value for key, value in answer.items() if key != "packed"}
    try:
        document, snapshot = read_answer(answer.get("packed"))
    except SchemaError as error:
        return {**rest, "failed": True, "msg": _lie(error)}
    return {**rest, "snapshot": document, "summary": summary(snapshot)}


def _lie(error: SchemaError) -> str:
    return f"the host's answer is not a snapshot: {error}"


def _folder(dest: t.Any) -> Path:
    if not isinstance(dest, str) or not dest:
        raise failure(f"dest is {dest!r}; give the path of a folder on the controller")
    return Path(os.path.expandvars(dest)).expanduser().absolute()
