# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs and removes the guard on a host, so that libvirt never sees a part of it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import math
import os
import typing as t
from dataclasses import dataclass, field

from ...._core.errors import HostWriteError
from ...._core.harden import guard as plan
from ...._core.harden.guard import (
    ASKING,
    LOG_SOCKET,
    PROC,
    PYTHON,
    RUN,
    SCRIPT,
    SHELL,
    STATUS,
    TIMEOUT,
    GuardFacts,
    GuardFile,
    GuardStep,
    GuardView,
)
from ...._core.libvirt.hooks import Hook, is_unseen, objections
from ...._core.result import Reason
from ...._core.selinux.context import type_of
from ...._core.selinux.shipped_types import SHIPPED_GUEST_TYPES
from ...._core.snapshot.model import Daemon
from ...._core.system.own_files import LINK, PROGRAM, SETTINGS
from ...._core.words import some
from ...base import file_write
from ...base.journal import Journal
from ...base.loaded_policy import FS, LoadedPolicy
from ...base.root import Root, label_of
from ...probe import daemon, processes, selinux
from .. import folders_and_links, hooks

_FOLDERS = (
    *(os.path.dirname(SCRIPT), os.path.dirname(SETTINGS), os.path.dirname(PROGRAM)),
    *(os.path.dirname(os.path.dirname(LINK)), os.path.dirname(LINK)),
)
_DAEMON_PROGRAMS = ("/usr/sbin/virtqemud", "/usr/sbin/libvirtd")
#: Paths whose label counts, and that the guard does not install.
_HOST_PATHS = (SHELL, TIMEOUT, PYTHON, STATUS, RUN, PROC, ASKING, LOG_SOCKET)

#: Last line of a self-test without a fault.
_OK = "svirt-guard: ok"
#: Exit statuses of ``timeout`` when its time is up: by SIGTERM, by SIGKILL, and with ``timeout`` itself killed.
_TIMED_OUT = (124, 137, -9)
_TRIES = 3

#: Ansible's run_command.
RunCommand = t.Callable[..., tuple[int, str, str]]


@dataclass(repr=False, eq=False)
class Guard:
    """The guard on one host. ``root`` shows kernel, processes and programs; files are real files below ``top``."""

    root: Root
    run_command: RunCommand
    top: str = ""
    _policy: LoadedPolicy = field(init=False)

    def __post_init__(self) -> None:
        self._policy = LoadedPolicy(self.root)

    def look(self) -> GuardFacts:
        """The guard's files as they are. Raises HostWriteError."""
        files = {path: self._file(path) for path in plan.ORDER}
        missing = tuple(path for path in _FOLDERS if not os.path.isdir(self.top + path))
        link, occupied = folders_and_links.link_of(self.top + LINK)
        return GuardFacts(files, missing, link, occupied, self._policy.loaded, self.root.line(f"{FS}/mls") != "0")

    def refusal(self) -> Reason | None:
        """Why the host gets no guard; None when it may have one."""
        if not self._policy.loaded:
            text = "SELinux is off, so there are no labels to keep apart; turn it on first (selinux_state)"
            return Reason("selinux_off", text)
        running = self._daemon()
        unread = daemon.host_files_unread(running)
        return Reason("host_files_unread", unread) if unread else daemon.setup_doubt(self.root, running)

    def test(self, script: bytes) -> None:
        """Run the script's self-test with the host's Python, before anything is written. Raises HostWriteError."""
        if not os.path.exists(PYTHON) or not os.path.exists(TIMEOUT):
            text = f"the guard needs {PYTHON} and {TIMEOUT}; install python3 and coreutils"
            raise HostWriteError(text, "program_missing")
        self._run([PYTHON, "-ISB", "-", "--self-test"], script)

    def objections(self, facts: GuardFacts) -> list[Reason]:
        """Why libvirt's daemon could not run the guard, by the loaded policy; empty where none is loaded."""
        if not self._policy.loaded:
            return []
        domain = self._domain()
        if domain is None:
            text = "the domain of libvirt's daemon is not known: it does not run, and no program of it was found"
            return [Reason("daemon_domain_unknown", text)]
        labels: dict[str, str | None] = {path: self._label(path) for path in _HOST_PATHS}
        for path in plan.ORDER:
            old, new = facts.files[path].label, plan.label_for(path, facts)
            labels[path] = old if old and new and type_of(old) == type_of(new) else new
        # A link gets its type from its folder, and that from the one above, as far down as there are any.
        folder = LINK
        while not os.path.lexists(self.top + folder):
            folder = os.path.dirname(folder)
        labels[LINK] = self._label(folder, follow=False)
        return objections(self._policy.verdicts(plan.questions(domain, labels)))

    def view(self) -> GuardView:
        """What the guard may read and log on this host, by the loaded policy."""
        domain = self._domain() if self._policy.loaded else None
        if domain is None:
            return GuardView()
        labels: dict[str, str | None] = {path: self._label(path) for path in _HOST_PATHS}
        types = dict.fromkeys((*selinux.read(self.root).facts.guest_types, *SHIPPED_GUEST_TYPES))
        guests = {name: self._policy.label(name, "s0:c1,c2") for name in types}
        known = {name: label for name, label in guests.items() if not self._policy.lacks(label)}
        return plan.view_of(
            {name: self._policy.verdicts(plan.reading_questions(domain, label)) for name, label in known.items()},
            {type_of(domain) or domain: self._policy.verdicts(plan.reading_questions(domain, domain))},
            self._policy.verdicts(plan.asking_questions(domain, labels)),
            self._policy.verdicts(plan.log_questions(domain, labels)),
        )

    def install(self, steps: t.Sequence[GuardStep], journal: Journal) -> None:
        """Make the changes; the link that libvirt sees comes last, once the rest works. Raises HostWriteError."""
        changed: list[tuple[GuardStep, file_write.FileState]] = []
        try:
            for step in steps:
                if step.action == "folder":
                    folders_and_links.make_folder(self.top + step.path, journal)
                elif step.action == "file":
                    changed.append((step, self._put(step, journal)))
            if changed:
                self._run([self.top + PROGRAM, "--self-test"], None)
        except HostWriteError as error:
            kept = [path for step, before in reversed(changed) if (path := self._not_taken_back(step, before))]
            if kept:
                text = f"{error}; {some(kept)} could not be put back, see the journal"
                raise HostWriteError(text, error.code) from error
            raise
        for step in steps:
            if step.action == "link":
                folders_and_links.make_link(self.top + LINK, PROGRAM, journal)

    def _not_taken_back(self, step: GuardStep, before: file_write.FileState) -> str:
        """Undo the change of a file; gives its path where that failed or somebody else changed it meanwhile."""
        try:
            file_write.take_back(os.path.realpath(self.top + step.path), before, step.content)
        except HostWriteError:
            return step.path
        return ""

    def remove(self, steps: t.Sequence[GuardStep], journal: Journal) -> None:
        """Make the changes. Raises HostWriteError."""
        for step in steps:
            path = self.top + step.path
            if step.action == "unlink":
                folders_and_links.remove_link(path, step.before, journal)
            else:
                file_write.change_file(path, None, journal)

    def pending(self, now: bool) -> Reason | None:
        """Why the running daemon does not call the guard yet; None when it does. ``now``: the link is new.

        The daemon looks for hooks at its start or reload: without any hook for QEMU then, it calls none later.
        """
        running = self._daemon()
        if running is None or running.pid is None:
            return None  # it looks at its next start
        there = [hook for hook in hooks.installed(Root(), self.top) if hook.path != LINK or not now]
        there += [Hook(LINK, math.inf)] if now else []
        if not is_unseen(LINK, there, daemon.started_at(self.root, running)):
            return None
        text = f"{running.name} looks for hooks when it starts, and it started before the guard was there"
        return Reason("daemon_restart", text)

    def _daemon(self) -> Daemon | None:
        return daemon.find(self.root, processes.read(self.root, ()).daemons).daemon

    def _domain(self) -> str | None:
        """The label of the daemon, or the label that it would start with."""
        running = self._daemon()
        if running is not None and running.context:
            return running.context
        for program in _DAEMON_PROGRAMS:
            label, init = self._label(program), self.root.line("/proc/1/attr/current")
            given = self._policy.created(init.rstrip("\0"), label, "process") if label and init else None
            if given:
                return given
        return None

    def _label(self, path: str, follow: bool = True) -> str | None:
        try:
            if path in (*_HOST_PATHS, *_DAEMON_PROGRAMS):
                return label_of(self.root.getxattr(path, file_write.LABEL, follow))
            return label_of(Root().getxattr(self.top + path, file_write.LABEL, follow))
        except OSError:
            return None

    def _file(self, path: str) -> GuardFile:
        state = file_write.state_of(self.top + path)
        return GuardFile(
            state.content, state.mode, (state.uid, state.gid), label_of(state.xattrs.get(file_write.LABEL))
        )

    def _put(self, step: GuardStep, journal: Journal) -> file_write.FileState:
        """Write the file with its owner, mode and label; gives its former state."""
        path = os.path.realpath(self.top + step.path)
        before = file_write.state_of(path)
        xattrs = {name: value for name, value in before.xattrs.items() if name != file_write.LABEL}
        if step.label:
            xattrs[file_write.LABEL] = step.label.encode() + b"\0"
        after = file_write.FileState(step.content, plan.MODES[step.path], 0, 0, xattrs)
        if not file_write.record_and_put(path, before, after, journal):
            text = f"{path} was changed by somebody else just now; it is as they left it, run this again"
            raise HostWriteError(text, file_write.CHANGED_MEANWHILE)
        return before

    def _run(self, command: list[str], stdin: bytes | None) -> None:
        """Run a self-test. A test that printed success has passed, however long its end took."""
        for last in (False,) * (_TRIES - 1) + (True,):
            status, out, error = self.run_command(command, data=stdin, binary_data=True)
            if status == 0 or (status in _TIMED_OUT and _OK in out.splitlines()):
                return
            output = (error or out).strip()[-500:]
            if status not in _TIMED_OUT:
                text = f"{' '.join(command)} ended with status {status}: {output}; no guard was put in place"
                raise HostWriteError(text, "self_test_failed")
            if last:
                text = (
                    f"{' '.join(command)} did not end within {plan.TEST_LIMIT} s, {_TRIES} times in a row "
                    f"(status {status}); it said: {output or 'nothing'}; no guard was put in place"
                )
                raise HostWriteError(text, "self_test_timed_out")
