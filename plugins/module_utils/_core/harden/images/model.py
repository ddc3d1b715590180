# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file whose label, owner or mode is to change: as planned, as surveyed, and the change itself.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ...facts.subjects import image_name
from ...result import Pending, Reason, Refusal, Step

# Repairs that the module offers.
IN_USE = "in_use"
AT_REST = "at_rest"
READABLE = "readable"
ORPHANS = "orphans"
STALE_OWNERS = "stale_owners"
REPAIRS = (IN_USE, AT_REST, READABLE, ORPHANS, STALE_OWNERS)
#: A label that the caller named.
REQUESTED = "label"

#: Owner, group and mode of an image at rest that no guest's QEMU may read.
CLOSED = (0, 0, 0o600)
#: Prefix of the attributes in which libvirt remembers a file's owner and label.
REMEMBERED = "trusted.libvirt.security."

#: Identity of a file in a plan: the process in whose /dev it lies, if any, and its path.
ImageKey = tuple[t.Optional[int], str]


@dataclass(frozen=True)
class ImageTarget:
    """A file that is to change, before it is surveyed."""

    path: str
    repair: str
    #: The process in whose own /dev the file lies; None: the host's file.
    pid: int | None = None
    device: str | None = None
    inode: int | None = None
    #: Label in the snapshot; None: any.
    read_label: str | None = None
    #: Give it a label: ``label``, or the policy's own for the path.
    relabel: bool = False
    label: str | None = None
    #: Take owner and mode from guests' QEMU: always, or only when guests may read its label.
    close: bool = False
    close_if_readable: bool = False
    #: Remove what libvirt remembers of it.
    forget: bool = False
    #: Processes of the one guest that may have it open.
    users: frozenset[int] = frozenset()
    #: Why owner and mode stay as they are; None when they may change.
    kept: Reason | None = None

    @property
    def key(self) -> ImageKey:
        """Identity: (pid, path)."""
        return (self.pid, self.path)

    @property
    def subject(self) -> str:
        """The file as a subject."""
        return image_name(self.path)


class FileHolder(t.NamedTuple):
    """A process that has a file open. Number 0 is the kernel."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"process {self.pid} {self.name}" if self.pid else self.name


@dataclass
class SurveyedFile:
    """A file as the survey finds it, just before it changes."""

    error: str = ""
    kind: str | None = None
    device: str | None = None
    inode: int | None = None
    links: int = 1
    label: str | None = None
    uid: int = 0
    gid: int = 0
    mode: int = 0
    #: trusted.libvirt.security.* attributes, without their closing NUL.
    memory: dict[str, str] = field(default_factory=dict)
    #: Label that the policy gives the path.
    default: str | None = None
    holders: list[FileHolder] = field(default_factory=list)
    #: Why its holders are not all known; empty when they are.
    blind: str = ""
    #: Another host may see it: a network or cluster file system.
    remote: bool = False
    #: Files there carry labels of their own.
    labelled: bool = True

    @property
    def owner(self) -> str:
        """Owner, group and mode as text."""
        return owner_text(self.uid, self.gid, self.mode)


@dataclass(frozen=True)
class ImageChange:
    """The change of one file."""

    target: ImageTarget
    file: SurveyedFile
    label: str | None = None
    close: bool = False
    forget: tuple[str, ...] = ()
    shared: bool = False

    def steps(self) -> list[Step]:
        """Its steps in the plan."""
        subject, file = self.target.subject, self.file
        steps: list[Step] = []
        if self.label is not None:
            steps.append(Step("relabel", subject, file.label, self.label))
        if self.close:
            steps.append(Step("close", subject, file.owner, owner_text(*CLOSED)))
        if self.forget:
            memory = {name[len(REMEMBERED) :]: file.memory[name] for name in self.forget}
            steps.append(Step("forget_owner", subject, memory, None))
        return steps

    def states(self) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        """The file before and after, as plain data."""
        file = self.file
        before = {"label": file.label, "owner": file.owner, "remembered": sorted(file.memory)}
        after = {
            "label": file.label if self.label is None else self.label,
            "owner": owner_text(*CLOSED) if self.close else file.owner,
            "remembered": sorted(set(file.memory) - set(self.forget)),
        }
        return before, after


@dataclass
class ImagePlan:
    """Changes of files, and files that are left alone."""

    changes: list[ImageChange] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)


def owner_text(uid: int, gid: int, mode: int) -> str:
    """Owner, group and mode as text."""
    return f"{uid}:{gid} {mode:04o}"
