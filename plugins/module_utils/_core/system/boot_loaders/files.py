# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the boot loaders that hold boot entries, as text, and the facts of the host that their entries depend on.

A host reads them; the controller lists the entries. So this file imports no parser.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

#: Snippets of the Boot Loader Specification.
SNIPPETS = ("/boot/loader/entries/*.conf", "/efi/loader/entries/*.conf", "/boot/efi/loader/entries/*.conf")
#: GRUB's environment blocks.
ENVIRONMENTS = ("/boot/grub2/grubenv", "/boot/grub/grubenv")
#: GRUB's configurations.
CONFIGS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/efi/EFI/*/grub.cfg")
#: Texts that grub.cfg of distributions runs where they are there.
_SOURCED = ("custom.cfg", "user.cfg", "bootuuid.cfg", "grub-btrfs.cfg")
SOURCED = (
    *(f"{folder}/{name}" for folder in ("/boot/grub", "/boot/grub2", "/boot/efi/EFI/*") for name in _SOURCED),
    "/.snapshots/grub-snapshot.cfg",
)
#: Every file with boot entries, or with variables that entries use: those of all loaders, in the order of ``kinds``.
ENTRY_FILES = (*SNIPPETS, *ENVIRONMENTS, *CONFIGS, *SOURCED)

#: Bound on the text of one file that is read, and on the text and the number of all of them.
MAX_TEXT = 4 * 1024 * 1024
MAX_FILES = 5000
#: Bounds on the file systems that are looked up for the texts.
_MAX_ROOTS = 1000
_MAX_NAME = 1024

_DEVICE = r"(?:(?:PART)?(?:UUID|LABEL)=|/dev/)"
_BARE = re.compile(rf"{_DEVICE}[^\s\x00-\x1f\"'$;{{}}]{{1,{_MAX_NAME}}}")
_QUOTED = re.compile(rf'"(?:root=)?(?P<value>{_DEVICE}[^\x00-\x1f"$]{{1,{_MAX_NAME}}})')


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
    memo: dict[t.Any, t.Any] = field(default_factory=dict, init=False)
    #: Characters of the texts that ``add`` took.
    size: int = field(default=0, init=False)

    def add(self, path: str, text: str) -> bool:
        """Take the text of a file, unless it exceeds the bounds on all of them."""
        if len(self.texts) >= MAX_FILES or self.size + len(text) > MAX_TEXT:
            return False
        self.size += len(text)
        self.texts[path] = text
        return True

    def matching(self, patterns: t.Iterable[str]) -> dict[str, str]:
        """path -> text of the files that match, in the order of the patterns."""
        return {path: text for pattern in patterns for path, text in self.texts.items() if matches(path, pattern)}


def matches(path: str, pattern: str) -> bool:
    """Whether a path is meant by a pattern: one ``*`` stands for what may be within one component."""
    before, star, after = pattern.partition("*")
    if not star:
        return path == pattern
    inner = path[len(before) : len(path) - len(after)]
    return path.startswith(before) and path.endswith(after) and inner != "" and "/" not in inner


def root_names(texts: t.Iterable[str]) -> list[str]:
    """Names of file systems in boot texts: each value that a ``root=`` of an entry may have, unless it is put together.

    That which is put together from variables is compared by its text alone.
    """
    names: dict[str, None] = {}
    for text in texts:
        for match in (*_BARE.finditer(text), *_QUOTED.finditer(text)):
            name = match["value"] if match.re is _QUOTED else match[0]
            names[name] = None
            if "\\" in name:  # GRUB takes it away, the others do not
                names[re.sub(r"\\(.)", r"\1", name)] = None
            if len(names) >= _MAX_ROOTS:
                return list(names)[:_MAX_ROOTS]
    return list(names)
