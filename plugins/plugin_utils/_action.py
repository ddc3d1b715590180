# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Base of the action plugins of the controller: arguments, failures, files.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from abc import abstractmethod
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._core.audit.text import visible, visible_text
from ..module_utils._core.errors import SvirtError
from . import _snapshots

Arguments = dict[str, t.Any]
Failure = t.TypeVar("Failure", bound=AnsibleActionFail)


class ControllerAction(ActionBase):
    """Action of the controller alone: contacts no host, and runs once for all hosts of the play."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    #: The argument spec.
    ARGUMENTS: t.ClassVar[dict[str, dict[str, t.Any]]]
    #: The variables of the task.
    variables: t.Mapping[str, t.Any]

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        validated = self.validate_argument_spec(argument_spec=self.ARGUMENTS)  # type: ignore[no-untyped-call]  # untyped in ansible-core
        self.variables = task_vars or {}
        try:
            result.update(visible(self.work(validated[1])))
        except SvirtError as error:
            raise failure(str(error)) from error
        return result

    @abstractmethod
    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        """Return values of the task. Raises SvirtError for failures with a message for the user."""


class NegativeVerdict(AnsibleActionFail):
    """Fails a task because of its answer. Nothing went wrong, so ansible-core shows the message without an origin."""

    @property
    def omit_exception_key(self) -> bool:
        """Leave out the error that ansible-core 2.19 and later show as a crash of the task."""
        return True


def negative(result: dict[str, t.Any]) -> NegativeVerdict:
    """The exception that fails a task with its own result, of which ``msg`` is shown."""
    shown = visible(result)
    verdict = NegativeVerdict(shown["msg"], result=shown)  # type: ignore[no-untyped-call]  # untyped in ansible-core
    return _without_traceback(verdict)


def failure(why: str) -> AnsibleActionFail:
    """Exception that fails a task with a message."""
    return _without_traceback(AnsibleActionFail(visible_text(why)))  # type: ignore[no-untyped-call]  # untyped in ansible-core


def _without_traceback(failed: Failure) -> Failure:
    """ansible-core 2.18 adds a traceback, and shows it as a crash of the task."""
    failed.result.pop("exception", None)
    return failed


def write(option: str, path: Path, document: t.Any, text: str | None = None) -> str:
    """Write the JSON file that an option names, as this text where given. Returns the problem, or an empty string."""
    try:
        if text is None:
            _snapshots.write_json(path, document)
        else:
            _snapshots.write_text(path, text)
    except OSError as error:
        return f"{path} could not be written: {error.strerror or error}; name another place with {option}"
    return ""
