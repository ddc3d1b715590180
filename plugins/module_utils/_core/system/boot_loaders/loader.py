# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a boot loader is to this collection: the files it reads, the entries in them, and the edits they need.

A further boot loader is a file beside this one with a subclass, and its import in ``kinds``.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from ...errors import PlanError
from ...result import Reason, Refusal
from ...snapshot.model import BootEntry
from ..kernel_arguments import BootWish

#: Bound on the text of one file that is read.
MAX_TEXT = 4 * 1024 * 1024
#: Edits settings that a shell reads one after the other: (path, text) -> new texts by path. Raises PlanError.
SettingsEditor = t.Callable[[t.Sequence[tuple[str, str]], BootWish], dict[str, str]]
#: Subject of refusals that belong to no file.
SUBJECT = "boot entries"


@dataclass(frozen=True)
class BootProgram:
    """A program of the host."""

    path: str
    #: Its text, where it is a script.
    text: str = ""


@dataclass(repr=False, eq=False)
class BootHost:
    """The host that the entries are read on: what tells its own entries from those of other systems."""

    #: Arguments of the running kernel.
    cmdline: str = ""
    machine_id: str | None = None
    #: ID of os-release, then ID_LIKE.
    os_ids: tuple[str, ...] = ()
    #: Device that the root file system is mounted from.
    root_source: str = ""
    #: Whether a ``root=`` names the mounted root file system, by its value; None: not known.
    roots: dict[str, bool | None] = field(default_factory=dict)


@dataclass(repr=False, eq=False)
class BootFiles:
    """The files of all boot loaders, as read from the host."""

    #: path -> text, in the order in which the loaders name them.
    texts: dict[str, str] = field(default_factory=dict)
    #: Programs that the host has, by name.
    programs: dict[str, BootProgram] = field(default_factory=dict)
    #: What could not be read.
    problems: list[str] = field(default_factory=list)
    host: BootHost = field(default_factory=BootHost)
    #: Results that are worked out once, by the loaders.
    memo: dict[str, t.Any] = field(default_factory=dict, init=False)

    def matching(self, patterns: t.Iterable[str]) -> dict[str, str]:
        """path -> text of the files that match, in the order of the patterns."""
        return {path: text for pattern in patterns for path, text in self.texts.items() if matches(path, pattern)}


@dataclass(frozen=True)
class BootMake:
    """A file that a program of the host makes anew from its settings."""

    path: str
    program: str
    #: Program that checks the output; None where the host has none.
    checker: str | None
    #: Files whose edit changes the output.
    settings: frozenset[str]
    #: ``title: faults`` of the entries that are at fault now.
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class BootCommand:
    """A call of a distribution's own tool, tried before files are edited; what it leaves is edited afterwards."""

    args: tuple[str, ...]
    #: Files that it may change.
    touches: tuple[str, ...]


@dataclass(repr=False, eq=False)
class BootPlan:
    """What has to change so that no boot entry is at fault."""

    #: path -> (old text, new text)
    edits: dict[str, tuple[str, str]] = field(default_factory=dict)
    makes: list[BootMake] = field(default_factory=list)
    commands: list[BootCommand] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing is to be changed."""
        return not (self.edits or self.makes)

    def refuse(self, subject: str, code: str, text: str) -> None:
        """Leave a file as it is."""
        self.refused.append(Refusal(subject, Reason(code, text)))

    def edit_all(self, texts: t.Mapping[str, str], edit: t.Callable[[str], str]) -> None:
        """Edit each text; one that cannot be edited safely is refused, and the others are edited all the same."""
        for path, text in texts.items():
            try:
                fresh = edit(text)
            except PlanError as error:
                self.refuse(path, error.code, str(error))
                continue
            if fresh != text:
                self.edits[path] = (text, fresh)

    def add(self, other: BootPlan) -> None:
        """Take over the plan of another loader."""
        self.edits.update(other.edits)
        self.makes += other.makes
        self.commands += other.commands
        self.refused += other.refused


class BootLoader(ABC):
    """One kind of boot loader. Paths are patterns, see ``matches``."""

    #: Files with boot entries, or with variables that entries use.
    entry_files: t.ClassVar[tuple[str, ...]] = ()
    #: Files that entries are made from; read only where entries are to be changed.
    setting_files: t.ClassVar[tuple[str, ...]] = ()
    #: Programs of which it is asked whether the host has them.
    programs: t.ClassVar[tuple[str, ...]] = ()

    def entries(self, files: BootFiles) -> list[BootEntry]:  # noqa: ARG002 - a loader may have none
        """The boot entries. ``own`` is False for tools, and None where the text says that it is another system's."""
        return []

    def doubts(self, files: BootFiles) -> list[str]:  # noqa: ARG002
        """Why the entries that were read may not be all, or not right."""
        return []

    @abstractmethod
    def plan(
        self, files: BootFiles, wish: BootWish, entries: t.Sequence[BootEntry], edit_settings: SettingsEditor
    ) -> BootPlan:
        """What has to change. ``entries`` are those of all loaders, with ``own`` decided."""

    def predicted(self, text: str, wish: BootWish) -> str:  # noqa: ARG002
        """The text of a file that is made anew, as far as the entries of other files depend on it."""
        return text

    def makes_entries(self, text: str, make: BootMake) -> bool:
        """Whether a text that was made anew holds a boot entry. Loaders without a BootMake need not say."""
        return bool(self.entries(BootFiles({make.path: text})))


def matches(path: str, pattern: str) -> bool:
    """Whether a path is meant by a pattern: one ``*`` stands for what may be within one component."""
    before, star, after = pattern.partition("*")
    if not star:
        return path == pattern
    inner = path[len(before) : len(path) - len(after)]
    return path.startswith(before) and path.endswith(after) and inner != "" and "/" not in inner


def faults_of(entries: t.Iterable[BootEntry], wish: BootWish) -> dict[str, list[str]]:
    """Faults of this host's boot entries: path -> ``title: faults`` of each entry."""
    faults: dict[str, list[str]] = {}
    for entry in entries:
        wrong = entry_faults(entry, wish)
        if wrong:
            faults.setdefault(entry.source, []).append(f"{entry.title}: {' '.join(wrong)}"[:300])
    return faults


def entry_faults(entry: BootEntry, wish: BootWish) -> list[str]:
    """Faults of any arguments that an entry may have; none for entries of other systems."""
    if not entry.own:
        return []
    return list(dict.fromkeys(fault for text in (entry.arguments, *entry.alternatives) for fault in wish.faults(text)))
