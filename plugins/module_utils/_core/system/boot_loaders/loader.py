# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a boot loader is to this collection: the files it reads, the entries in them, and the edits they need.

A further boot loader is a file beside this one with a subclass, its import in ``kinds``, and its ``entry_files`` in
``files``, which alone of this folder is sent to a host whose entries are only listed.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from ...errors import PlanError
from ...result import Reason, Refusal
from ...snapshot.model import BootEntry
from ..kernel_arguments import BootRequest
from .files import BootFiles

#: Edits settings that a shell reads one after the other: (path, text) -> new texts by path. Raises PlanError.
SettingsEditor = t.Callable[[t.Sequence[tuple[str, str]], BootRequest], dict[str, str]]
#: Subject of refusals that belong to no file.
SUBJECT = "boot entries"


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
    """One kind of boot loader. Paths are patterns, see ``files.matches``."""

    #: Files with boot entries, or with variables that entries use; ``files.ENTRY_FILES`` has them too.
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
        self, files: BootFiles, request: BootRequest, entries: t.Sequence[BootEntry], edit_settings: SettingsEditor
    ) -> BootPlan:
        """What has to change. ``entries`` are those of all loaders, with ``own`` decided."""

    def predicted(self, text: str, request: BootRequest) -> str:  # noqa: ARG002
        """The text of a file that is made anew, as far as the entries of other files depend on it."""
        return text

    def makes_entries(self, text: str, make: BootMake) -> bool:
        """Whether a text that was made anew holds a boot entry. Loaders without a BootMake need not say."""
        return bool(self.entries(BootFiles({make.path: text})))


def faults_of(entries: t.Iterable[BootEntry], request: BootRequest) -> dict[str, list[str]]:
    """Faults of this host's boot entries: path -> ``title: faults`` of each entry."""
    faults: dict[str, list[str]] = {}
    for entry in entries:
        wrong = entry_faults(entry, request)
        if wrong:
            faults.setdefault(entry.source, []).append(f"{entry.title}: {' '.join(wrong)}"[:300])
    return faults


def entry_faults(entry: BootEntry, request: BootRequest) -> list[str]:
    """Faults of any arguments that an entry may have; none for entries of other systems."""
    if not entry.own:
        return []
    return list(
        dict.fromkeys(fault for text in (entry.arguments, *entry.alternatives) for fault in request.faults(text))
    )
