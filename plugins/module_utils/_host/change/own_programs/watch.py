# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs and removes the watch on a host: its files, and systemd's timer.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field

from ...._core.errors import HostWriteError
from ...._core.harden.watch import plan
from ...._core.harden.watch.plan import UNIT_KIND, WatchFacts, WatchStep
from ...._core.harden.watch.units import ENABLED_PATH, FOLDER, SERVICE_PATH, TIMER, TIMER_PATH
from ...._core.result import Reason
from ...._core.selinux.policy_access import Check
from ...._core.system.own_files import WATCH_PROGRAM, WATCH_SETTINGS
from ...base import file_write
from ...base.journal import Entry, Journal
from ...base.loaded_policy import LoadedPolicy
from ...base.root import Root, label_of
from ...base.tools import HostTools
from ...probe import selinux
from .. import folders_and_links
from ..daemon_restart import systemctl

_SYSTEMD = "/run/systemd/system"
_TIMEOUT = 60.0
#: Exit status 0 says yes.
_HAS_BINDING = "import sys, libvirt; sys.exit(sys.version_info < (3, 9))"
_IS_NEW = "import sys; sys.exit(sys.version_info < (3, 9))"


@dataclass(repr=False, eq=False)
class WatchActor:
    """The watch on one host. ``root`` shows kernel and programs; files are real files below ``top``."""

    root: Root
    tools: HostTools
    top: str = ""
    _policy: LoadedPolicy = field(init=False)

    def __post_init__(self) -> None:
        self._policy = LoadedPolicy(self.root)

    def python(self, candidates: t.Iterable[str]) -> tuple[str, bool]:
        """A Python of the host, and whether it has libvirt's binding. Raises HostWriteError where there is none."""
        there = [path for path in candidates if self.root.exists(path)]
        for code in (_HAS_BINDING, _IS_NEW):
            for path in there:
                status, _out, _err = self.tools.run_command([path, "-I", "-c", code])
                if status == 0:
                    return path, code == _HAS_BINDING
        raise HostWriteError("the watch needs Python 3.9 or newer on the host; install python3", "program_missing")

    def look(self, directory: str) -> WatchFacts:
        """The watch as it is. Raises HostWriteError."""
        if not self.root.exists(_SYSTEMD):
            raise HostWriteError("the host does not run systemd, which starts the watch", "no_systemd")
        files = {path: file_write.state_of(self.top + path).content for path in plan.ORDER}
        link, taken = folders_and_links.link_of(self.top + ENABLED_PATH)
        folders = (os.path.dirname(WATCH_PROGRAM), os.path.dirname(WATCH_SETTINGS), os.path.dirname(ENABLED_PATH))
        needed = (*folders, directory) if directory else folders
        missing = tuple(path for path in needed if not os.path.isdir(self.top + path))
        status, _out, _err = self.tools.run_command(["systemctl", "is-active", "--quiet", TIMER])
        left = tuple(path for path in plan.left_of(files) if os.path.lexists(self.top + path))
        return WatchFacts(files, missing, link, taken, status == 0, left)

    def domain(self, python: str) -> str | None:
        """The label that systemd's service runs with, by the loaded policy; None: unknown, or SELinux is off.

        With NoNewPrivileges the process stays in systemd's domain unless the policy allows the transition all the same.
        """
        init = (self.root.line("/proc/1/attr/current") or "").rstrip("\0")
        program = self._label(python)
        if not self._policy.loaded or not init or not program:
            return None
        given = self._policy.created(init, program, "process")
        if given is None or given == init:
            return given
        kept = self._policy.verdict(Check(init, given, "process2", ("nnp_transition",)))
        return given if kept.status == "allowed" else init

    def limits(self, domain: str | None, directory: str) -> list[Reason]:
        """What the loaded policy keeps the service from."""
        if domain is None:
            return []
        labels = {path: self._label(path) for path in (plan.QEMU_CONF, plan.SELINUXFS, *plan.JOURNALS, directory)}
        for name in selinux.read(self.root).facts.guest_types:
            label = self._policy.label(name, "s0:c1,c2")
            labels[name] = None if self._policy.lacks(label) else label
        return plan.limits(self._policy.verdicts(plan.questions(domain, labels, directory)))

    def install(self, steps: t.Sequence[WatchStep], python: str, journal: Journal) -> None:
        """Make the changes; the timer starts last, once the program has passed its self-test. Raises HostWriteError."""
        changed: list[tuple[WatchStep, file_write.FileState]] = []
        try:
            for step in steps:
                if step.action == "folder":
                    folders_and_links.make_folder(self.top + step.path, journal)
                elif step.action == "file":
                    path = self.top + step.path
                    changed.append((step, file_write.change_file(path, step.content, journal, mode=0o644)))
            if any(step.path in (WATCH_PROGRAM, WATCH_SETTINGS) for step, _before in changed):
                self._test(python)
        except HostWriteError:
            for step, before in reversed(changed):
                file_write.take_back(os.path.realpath(self.top + step.path), before, step.content)
            raise
        if any(step.path.startswith(FOLDER) for step in steps):
            self._systemctl("daemon-reload")
        for step in steps:
            if step.action == "link":
                folders_and_links.make_link(self.top + ENABLED_PATH, TIMER_PATH, journal)
            elif step.action in ("start", "restart"):
                if step.action == "start":
                    journal.record([Entry(UNIT_KIND, TIMER, {"active": False}, {"active": True})])
                self._systemctl("restart", TIMER)

    def remove(self, steps: t.Sequence[WatchStep], journal: Journal) -> None:
        """Make the changes. Raises HostWriteError."""
        for step in steps:
            if step.action == "stop":
                journal.record([Entry(UNIT_KIND, TIMER, {"active": True}, {"active": False})])
                self._systemctl("stop", TIMER, os.path.basename(SERVICE_PATH))
            elif step.action == "unlink":
                folders_and_links.remove_link(self.top + step.path, step.before, journal)
            else:
                file_write.change_file(self.top + step.path, None, journal)
        if any(step.path.startswith(FOLDER) for step in steps):
            self._systemctl("daemon-reload")

    def _test(self, python: str) -> None:
        command = [python, "-IB", self.top + WATCH_PROGRAM, "--self-test"]
        status, out, err = self.tools.run_command(command)
        if status != 0:
            text = (
                f"{' '.join(command)} ended with status {status}: {(err or out).strip()[-500:]}; nothing was installed"
            )
            raise HostWriteError(text, "self_test_failed")

    def _systemctl(self, *words: str) -> None:
        systemctl(t.cast("t.Any", self.tools.run_command), _TIMEOUT, *words)

    def _label(self, path: str) -> str | None:
        try:
            return label_of(self.root.getxattr(path, file_write.LABEL))
        except OSError:
            return None


def restorers(tools: HostTools) -> dict[str, t.Callable[[Entry], None]]:
    """How a timer is stopped or started again: after its files are back, and before they go."""

    def restore(entry: Entry) -> None:
        run = t.cast("t.Any", tools.run_command)
        systemctl(run, _TIMEOUT, "daemon-reload")
        systemctl(run, _TIMEOUT, "start" if entry.before["active"] else "stop", entry.subject)

    return {UNIT_KIND: restore}
