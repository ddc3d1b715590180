# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot loaders of one host: their files read, and changed by a plan.

A file that a program makes, such as grub.cfg, is written from the program's output in one piece: the program itself
writes over the file in place, and a host that stops meanwhile does not boot.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import HostReadError, HostWriteError
from ..._core.harden import boot_entries
from ..._core.system.boot_loaders.files import BootFiles, BootProgram
from ..._core.system.boot_loaders.kinds import KINDS, NONE_FOUND
from ..._core.system.boot_loaders.loader import BootMake, BootPlan
from ..._core.system.kernel_arguments import BootRequest
from ..base import file_write
from ..base.journal import Entry, Journal
from ..base.root import Root
from ..base.tools import HostTools
from ..probe import boot

#: os-prober looks at every disk, and a disk that does not answer holds it up.
_MAKE_SECONDS = 1800
_CHECK_SECONDS = 300


@dataclass(repr=False, eq=False)
class BootLoaders:
    """All boot loaders of one host, for one run."""

    root: Root
    tools: HostTools
    #: Output of programs that ran for the plan: path -> text.
    _texts: dict[str, str] = field(default_factory=dict, init=False)

    def read(self) -> BootFiles:
        """The files that hold entries, those that entries are made from, and the programs that make them."""
        files = boot.read_files(self.root)
        if not (files.texts or files.problems):
            files.problems.append(NONE_FOUND)
        for pattern in _distinct(kind.setting_files for kind in KINDS):
            boot.take(self.root, files, pattern)
        for name in _distinct(kind.programs for kind in KINDS):
            path = self.tools.find(name)
            if path is not None:
                files.programs[name] = BootProgram(path, _script(self.root, path))
        return files

    def plan(self, files: BootFiles, request: BootRequest) -> BootPlan:
        """What has to change. A file that would be made just as it is, is refused."""
        plan = boot_entries.plan_boot(files, request)
        for make in plan.makes:
            if not make.settings & set(plan.edits):
                text = self._texts[make.path] = self._output(files, make)
                if text == files.texts[make.path]:
                    plan = boot_entries.without_effect(plan, make)
        return plan

    def apply(self, plan: BootPlan, files: BootFiles, request: BootRequest, journal: Journal) -> None:
        """Carry the plan out. Raises HostWriteError and JournalError; changes up to then are in the journal."""
        if plan.commands:
            planned = set(plan.edits)
            self._run_commands(plan, journal)
            # What the commands left, or did in another way than was asked for, is edited here.
            makes = plan.makes
            plan = boot_entries.plan_boot(self.read(), request)
            plan.edits = {path: edit for path, edit in plan.edits.items() if path in planned}
            plan.makes = makes
        for path, (old, fresh) in plan.edits.items():
            basis = file_write.FileState(_bytes(old))
            file_write.change_file(self.tools.at(path), _bytes(fresh), journal, basis=basis)
        for make in plan.makes:
            text = self._texts.get(make.path)
            if text is None:
                text = self._output(files, make)
            if not any(kind.makes_entries(text, make) for kind in KINDS if make.program in kind.programs):
                raise HostWriteError(
                    f"{make.program} made no boot entry; {make.path} is as it was", "make_without_entries"
                )
            if text != files.texts[make.path]:
                basis = file_write.FileState(_bytes(files.texts[make.path]))
                file_write.change_file(self.tools.at(make.path), _bytes(text), journal, basis=basis)

    def _output(self, files: BootFiles, make: BootMake) -> str:
        """The text that the program makes, checked."""
        program = files.programs[make.program].path
        status, text, err = self.tools.run_reader([program], _MAKE_SECONDS)
        if status:
            raise HostWriteError(
                f"{program} failed with status {status}: {err.strip()[-500:]}; {make.path} is as it was", "make_failed"
            )
        if make.checker is not None:
            checker = files.programs[make.checker].path
            status, out, err = self.tools.run_reader([checker], _CHECK_SECONDS, data=text)
            if status:
                errors = (err or out).strip()[-500:]
                raise HostWriteError(
                    f"{checker} refuses the output of {program}: {errors}; {make.path} is as it was", "make_refused"
                )
        return text

    def _run_commands(self, plan: BootPlan, journal: Journal) -> None:
        for command in plan.commands:
            paths = sorted({os.path.realpath(self.tools.at(path)) for path in command.touches})
            journal.record(_entry(path) for path in paths)
            status, out, err = self.tools.run_command(list(command.args))
            # What the command set, so that a rollback sees whether the files are still as it left them.
            journal.record(_entry(path, after=True) for path in paths)
            if status:
                raise HostWriteError(
                    f"{command.args[0]} failed with status {status}: {(err or out).strip()[-500:]}", "command_failed"
                )


def _distinct(groups: t.Iterable[t.Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


def _script(root: Root, path: str) -> str:
    """The text of a program that is a script; empty for others."""
    try:
        return root.read_text(path) if root.peek(path, 2) == b"#!" else ""
    except (OSError, HostReadError):
        return ""


def _entry(path: str, after: bool = False) -> Entry:
    state = file_write.state_of(path)
    return Entry(file_write.KIND, path, state.document(), state.mark() if after else None)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
