# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot loader's files: reads them, and changes them by a plan that the core made.

grub.cfg is made by grub-mkconfig, as update-grub does, but from its output and in one piece: the program itself writes
over the file in place, and a host that stops meanwhile does not boot.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import HostWriteError
from ..._core.harden import boot_entries as boot_edit
from ..._core.harden.boot_entries import BootFiles, BootPlan, Wish
from ..._core.system import boot_entries
from ..base import file_write
from ..base.journal import Entry, Journal
from ..base.root import Root
from ..probe import system

GRUB_D = "/etc/default/grub.d"
KERNEL_CMDLINE = "/etc/kernel/cmdline"
#: The program that makes a grub.cfg, and which.
_MAKERS = (("grub-mkconfig", "/boot/grub/grub.cfg"), ("grub2-mkconfig", "/boot/grub2/grub.cfg"))
_CHECKERS = ("grub-script-check", "grub2-script-check")


class RunCommand(t.Protocol):
    """Runs a program and gives its exit status, output and errors."""

    def __call__(self, args: list[str], *, data: str | None = None) -> tuple[int, str, str]: ...


@dataclass(repr=False, eq=False)
class Tools:
    """What the actors use beside the host's files; tests put their own in."""

    run_command: RunCommand
    #: The path of a program; None when the host has none.
    find: t.Callable[[str], str | None] = lambda name: None
    #: Where a path of the host is.
    at: t.Callable[[str], str] = lambda path: path


@dataclass(repr=False, eq=False)
class Loader:
    """The boot loader of one host, for one run."""

    root: Root
    tools: Tools
    #: A grub.cfg that was made before it was known to be needed.
    _made: str | None = field(default=None, init=False)

    def read(self) -> BootFiles:
        """The files as they are."""
        files = BootFiles()
        problems = files.problems
        for path in (*system.GRUB, *system.efi_configs(self.root, problems)):
            self._take(files.grub_cfgs, path, problems)
        for path in system.GRUBENV:
            self._take(files.grubenvs, path, problems)
        for folder in system.BLS:
            for path in system.listed(self.root, folder, ".conf", problems):
                self._take(files.snippets, path, problems)
        self._take(files.cmdlines, KERNEL_CMDLINE, problems)
        maker = self._maker()
        files.made = maker[1] if maker and maker[1] in files.grub_cfgs else None
        files.defaults = self._defaults(maker[0] if maker else None, problems)
        if not (files.grub_cfgs or files.snippets or problems):
            problems.append("no GRUB configuration and no boot loader entries were found")
        return files

    def plan(self, files: BootFiles, wish: Wish) -> BootPlan:
        """What has to change; the plan of a grub.cfg that would be made just as it is, is a refusal."""
        plan = boot_edit.plan_boot(files, wish)
        settings = {path for path, _text in files.defaults} & set(plan.edits)
        if plan.regenerate is not None and not settings:
            self._made = self._make()
            if self._made == files.grub_cfgs[plan.regenerate]:
                why = "made anew it would be the same; look for the arguments in /etc/grub.d"
                plan.refused.append((plan.regenerate, f"{'; '.join(plan.wrong)}: {why}"))
                plan.regenerate = None
        return plan

    def apply(self, plan: BootPlan, files: BootFiles, wish: Wish, journal: Journal) -> None:
        """Do what the plan says. Raises HostWriteError and JournalError; what was done by then is in the journal."""
        if self._grubby(plan, files, journal):
            done = set(plan.edits)
            # What it left, or did in another way than was asked for, is edited here.
            plan = boot_edit.plan_boot(self.read(), wish)
            plan.edits = {path: edit for path, edit in plan.edits.items() if path in done}
        for path, (_old, fresh) in plan.edits.items():
            file_write.change_file(self.tools.at(path), _bytes(fresh), journal)
        if plan.regenerate is not None:
            text = self._make() if self._made is None else self._made
            if not boot_entries.parse_grub_cfg(text, plan.regenerate):
                raise HostWriteError(f"grub-mkconfig made no boot entry; {plan.regenerate} is as it was")
            if text != files.grub_cfgs[plan.regenerate]:
                file_write.change_file(self.tools.at(plan.regenerate), _bytes(text), journal)

    def _take(self, found: dict[str, str], path: str, problems: list[str]) -> None:
        text = system.read_or_none(self.root, path, problems)
        if text is not None and not self._seen_before(path, found):
            found[path] = text

    def _seen_before(self, path: str, found: dict[str, str]) -> bool:
        """Whether the file is there under another path: /efi and /boot/efi may be one."""
        try:
            own = self.root.stat(path)
            others = [self.root.stat(other) for other in found]
        except OSError:
            return False
        return (own.st_dev, own.st_ino) in [(other.st_dev, other.st_ino) for other in others]

    def _maker(self) -> tuple[str, str] | None:
        for name, path in _MAKERS:
            program = self.tools.find(name)
            if program is not None:
                return program, path
        return None

    def _defaults(self, maker: str | None, problems: list[str]) -> list[tuple[str, str]]:
        """What grub-mkconfig reads, in its order: not every one reads the folder."""
        text = system.read_or_none(self.root, boot_edit.DEFAULTS, problems)
        if maker is None and text is None:
            return []
        found = [(boot_edit.DEFAULTS, text or "")]
        if maker is None or "default/grub.d" not in (system.read_or_none(self.root, maker, []) or ""):
            return found
        for path in system.listed(self.root, GRUB_D, ".cfg", problems):
            more = None if posixpath.basename(path).startswith(".") else system.read_or_none(self.root, path, problems)
            found += [(path, more)] if more is not None else []
        return found

    def _make(self) -> str:
        maker = self._maker()
        if maker is None:
            raise HostWriteError("grub-mkconfig is not there any more; grub.cfg is as it was")
        status, text, err = self.tools.run_command([maker[0]])
        if status:
            raise HostWriteError(
                f"{maker[0]} failed with status {status}: {err.strip()[-500:]}; {maker[1]} is as it was"
            )
        checker = next(filter(None, map(self.tools.find, _CHECKERS)), None)
        if checker is not None:
            status, out, err = self.tools.run_command([checker], data=text)
            if status:
                told = (err or out).strip()[-500:]
                raise HostWriteError(f"{maker[0]} made what {checker} refuses: {told}; {maker[1]} is as it was")
        return text

    def _grubby(self, plan: BootPlan, files: BootFiles, journal: Journal) -> bool:
        """Let grubby change the snippets, where it is there; gives whether it ran."""
        program = self.tools.find("grubby")
        gone, new = boot_edit.words_for_grubby(files, plan)
        if program is None or not (gone or new):
            return False
        touched = [*files.snippets, *files.grubenvs, *files.cmdlines, *(path for path, _text in files.defaults)]
        paths = sorted({self.tools.at(path) for path in touched})
        journal.record(Entry(file_write.KIND, path, file_write.state_of(path).document()) for path in paths)
        args = [program, "--update-kernel=ALL"]
        args += [f"--remove-args={' '.join(gone)}"] if gone else []
        args += [f"--args={' '.join(new)}"] if new else []
        status, out, err = self.tools.run_command(args)
        if status:
            raise HostWriteError(f"grubby failed with status {status}: {(err or out).strip()[-500:]}")
        return True


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
