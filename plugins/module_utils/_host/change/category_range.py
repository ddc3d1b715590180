# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads, writes and removes the drop-in with the category range of libvirt's daemon, and has systemd read it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from dataclasses import dataclass

from ..._core.errors import HostReadError, HostWriteError
from ..._core.harden import category_range as plan
from ..._core.harden.category_range import RangeFacts
from ..._core.result import Reason
from ..._core.selinux.policy_access import Check
from ..._core.snapshot.model import Snapshot
from ..._core.system.unit_files import UnitFile, folders, is_drop_in, units
from ..base import file_write
from ..base.daemons import SOCKETS
from ..base.journal import Journal
from ..base.loaded_policy import FS, LoadedPolicy
from ..base.root import Root, reason
from ..probe import daemon, processes, selinux
from ..probe.probe import Options, Probe, Tools
from . import folders_and_links
from .daemon_restart import systemctl

_MAX_UNIT = 256 * 1024
#: The kernel's error for a label that its policy does not know.
_UNKNOWN_LABEL = errno.EINVAL
_SHOWN = ("SELinuxContext", "DropInPaths")
#: systemctl prints this in place of a value that it cannot print.
_UNPRINTABLE = "[unprintable]"


@dataclass(repr=False, eq=False)
class CategoryRange:
    """The range of the daemon of a host. ``root`` shows the host; the drop-in is a real file below ``top``."""

    root: Root
    tools: Tools
    timeout: float = 120.0
    top: str = ""

    def look(self, guests: bool) -> RangeFacts:
        """The daemon, its unit's files and, where they are asked for, its guests. Raises SvirtError."""
        snapshot = self._snapshot() if guests else None
        facts = snapshot.selinux if snapshot is not None else selinux.read(self.root).facts
        if snapshot is not None:
            running = snapshot.libvirt.daemon
        else:
            daemons = processes.read(self.root, ()).daemons
            running = daemon.find(self.root, daemons, container_types=facts.container_types).daemon
        policy = LoadedPolicy(self.root)
        if running is None or running.name not in SOCKETS:
            return RangeFacts(None, policy.loaded)
        drawing, unknown = plan.drawing_guests(snapshot) if snapshot else (None, "not asked")
        init = (self.root.line("/proc/1/attr/current") or "").rstrip("\0") or None
        default_context = daemon.given_label(self.root, policy, running.name)
        own = RangeFacts(
            daemon=running.name,
            selinux=policy.loaded,
            mls=self.root.line(f"{FS}/mls") != "0",
            awake=running.pid is not None,
            context=running.context,
            default_context=default_context,
            types=selinux.daemon_types(policy, default_context, facts),
            init=init,
            guests=drawing,
            unknown=unknown,
        )
        drop_in, objection = self._drop_in(own.path)
        objection = objection or daemon.host_files_unread(running) or str(daemon.setup_doubt(self.root, running) or "")
        files = tuple(self._files(own.unit, own.path))
        return RangeFacts(**{**vars(own), "files": files, "drop_in": drop_in, "taken": objection})

    def objection(self, facts: RangeFacts, context: str) -> Reason | None:
        """Why systemd could not start the daemon with this label, by the loaded policy; None when it can."""
        try:
            self.root.transact(f"{FS}/context", context.encode() + b"\0")
        except OSError as error:
            if error.errno == _UNKNOWN_LABEL:
                return Reason("invalid_label", f"the loaded policy has no label {context}")
            text = f"whether the loaded policy has a label {context} is not known: {reason(error)}"
            return Reason("policy_unreadable", text)
        if facts.init is None:
            text = "the label of systemd could not be read, so whether it may start the daemon is not known"
            return Reason("policy_unreadable", text)
        verdict = LoadedPolicy(self.root).verdict(Check(facts.init, context, "process", ("transition",)))
        if verdict.status == "allowed" or verdict.permissive:
            return None
        why = verdict.problem or f"the loaded policy denies {facts.init} the transition"
        return Reason("transition_denied", f"systemd could not start {facts.daemon} as {context}: {why}")

    def write(self, facts: RangeFacts, text: str | None, context: str | None, journal: Journal) -> None:
        """Put the drop-in there, or take it away (None), and have systemd read it.

        Raises HostWriteError and JournalError; the drop-in is then as it was.
        """
        path = self.top + facts.path
        if self._drop_in(facts.path) != (facts.drop_in, ""):
            raise HostWriteError(f"{path} was changed by someone else just now; run this again", "changed_meanwhile")
        if text is not None:
            folders_and_links.make_folder(os.path.dirname(path), journal)
        content = None if text is None else text.encode()
        basis = file_write.FileState(
            None if facts.drop_in is None else facts.drop_in.encode("utf-8", "surrogateescape")
        )
        before = file_write.change_file(path, content, journal, basis=basis)
        try:
            systemctl(self.tools.run_command, self.timeout, "daemon-reload")
            self._check(facts, context)
        except HostWriteError as error:
            file_write.take_back(os.path.realpath(path), before, content)
            with contextlib.suppress(HostWriteError):
                systemctl(self.tools.run_command, self.timeout, "daemon-reload")
            raise HostWriteError(f"{error}; {path} is as it was", error.code) from error

    def _check(self, facts: RangeFacts, context: str | None) -> None:
        """Ask systemd for the label and drop-ins of the unit. Raises HostWriteError."""
        if context is None:
            return
        shown = systemctl(self.tools.run_command, self.timeout, "show", "-p", ",".join(_SHOWN), facts.unit)
        properties = dict(line.partition("=")[::2] for line in shown.split("\n"))
        paths, value = properties.get("DropInPaths"), properties.get("SELinuxContext", "")
        if paths is not None and facts.path not in paths.split():
            text = f"systemd does not read {facts.path}; it reads {paths or 'no drop-in'} of {facts.unit}"
            raise HostWriteError(text, "drop_in_not_read")
        if value not in ("", _UNPRINTABLE) and value != context:
            text = f"systemd starts {facts.unit} as {value} all the same, not as {context}"
            raise HostWriteError(text, "drop_in_without_effect")

    def _snapshot(self) -> Snapshot:
        return Probe(self.root, Options(timeout=self.timeout, files=False), self.tools).take()

    def _drop_in(self, path: str) -> tuple[str | None, str]:
        """The drop-in's text, and why it must not be written; bytes that are no UTF-8 become surrogates."""
        try:
            facts = os.lstat(self.top + path)
        except (FileNotFoundError, NotADirectoryError):
            return None, ""
        except OSError as error:
            raise HostReadError(f"{path} cannot be looked at: {reason(error)}") from error
        if not stat.S_ISREG(facts.st_mode):
            kind = "a link" if stat.S_ISLNK(facts.st_mode) else "no plain file"
            return None, f"{path} is {kind}, which this collection did not create; check who needs it and move it away"
        content = file_write.state_of(self.top + path).content or b""
        return content.decode("utf-8", "surrogateescape"), ""

    def _files(self, unit: str, drop_in: str) -> list[UnitFile]:
        """All files that systemd may read for the unit, but the drop-in. Raises HostReadError."""
        files = [file for path in units(unit) if (file := self._file(path)) is not None]
        for folder in folders(unit):
            try:
                names = [name for name in self.root.names(folder) if is_drop_in(name)]
            except OSError as error:
                raise HostReadError(f"{folder} cannot be read: {reason(error)}") from error
            paths = [posixpath.join(folder, name) for name in names]
            files += [file for path in paths if path != drop_in and (file := self._file(path)) is not None]
        return files

    def _file(self, path: str) -> UnitFile | None:
        try:
            if not stat.S_ISREG(self.root.stat(path).st_mode):
                return UnitFile(path, "")  # a link to /dev/null
            return UnitFile(path, self.root.read_text(path, _MAX_UNIT))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise HostReadError(f"{path} cannot be read: {reason(error)}") from error
