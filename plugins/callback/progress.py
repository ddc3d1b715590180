# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of tasks that take long, on the terminal."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: notification
short_description: Progress of tasks of this collection that take long
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - While a task of this collection is at work on its hosts, prints how many hosts are done and which have been at work
    longest, at intervals that grow to a minute. A task that ends before the first one prints nothing.
  - Prints plain lines, on a terminal and in a log alike, and changes no other output.
options:
  after:
    description: Seconds from the beginning of a task to its first line.
    type: float
    default: 10.0
    env:
      - name: SVIRT_PROGRESS_AFTER
    ini:
      - section: callback_svirt_progress
        key: after
requirements:
  - It must be enabled, by C(callbacks_enabled=svirt.fleet.progress) in section C([defaults]) of C(ansible.cfg), or by
    E(ANSIBLE_CALLBACKS_ENABLED).
"""

import threading
import time
import typing as t

from ansible.plugins.callback import CallbackBase

from ..plugin_utils._progress import TaskProgress

_OURS = "svirt.fleet."


class CallbackModule(CallbackBase):
    """Prints from a thread of its own, for Ansible calls no callback while it waits for hosts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "svirt.fleet.progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._hosts = 0
        self._task: TaskProgress | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        self._end()
        self._hosts = len(play.get_variable_manager().get_vars(play=play).get("ansible_play_hosts", ()))

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:  # noqa: ARG002 - Ansible's signature
        self._end()
        action = str(task.action)
        if not action.startswith(_OURS):
            return
        after = t.cast("t.Any", self).get_option("after")
        self._task = TaskProgress(action.removeprefix(_OURS), self._hosts, time.monotonic(), after)
        self._ended = threading.Event()
        threading.Thread(target=self._watch, args=(self._task, self._ended), daemon=True).start()

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:  # noqa: ARG002 - Ansible's signature
        with self._lock:
            if self._task:
                self._task.started(host.get_name(), time.monotonic())

    def _done(self, result: t.Any) -> None:
        host = getattr(result, "host", None) or result._host  # ansible-core below 2.19 has _host only
        with self._lock:
            if self._task:
                self._task.ended(host.get_name())

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._done(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:  # noqa: ARG002 - as above
        self._done(result)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._done(result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._done(result)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:  # noqa: ARG002 - Ansible's signature
        self._end()

    def _end(self) -> None:
        self._ended.set()
        self._task = None

    def _watch(self, task: TaskProgress, ended: threading.Event) -> None:
        while not ended.wait(task.wait()):
            with self._lock:
                line = task.line(time.monotonic())
            if line and not ended.is_set():
                self._display.display(line)
