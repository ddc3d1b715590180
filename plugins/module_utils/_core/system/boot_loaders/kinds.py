# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of boot loaders that are known, and the boot entries of a host.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from ...result import Reason
from ...snapshot.model import BootEntry
from .bls import Bls
from .files import BootFiles
from .grub import Grub
from .kernel_cmdline import KernelCmdline
from .loader import BootLoader
from .ownership import settle

#: One of each kind: entries are listed, and files edited, in this order.
KINDS: tuple[BootLoader, ...] = (
    Bls(),
    Grub(),
    KernelCmdline(),
)

#: Problem of a host without any boot loader that is known.
NONE_FOUND = "no GRUB configuration and no boot loader entries were found"
_MAX_ENTRIES = 1000


def listed(files: BootFiles) -> tuple[list[BootEntry], list[Reason]]:
    """Every boot entry, and what could not be read or followed."""
    entries = entries_of(files)
    problems = [Reason("boot_files_unread", why) for why in files.problems]
    problems += [Reason("boot_text_unclear", why) for why in doubts_of(files)]
    if len(entries) > _MAX_ENTRIES:
        problems.append(Reason("too_many_entries", f"only {_MAX_ENTRIES} of {len(entries)} boot entries are kept"))
    if not entries and not problems:
        problems.append(Reason("no_boot_entry", NONE_FOUND))
    return entries[:_MAX_ENTRIES], problems


def entries_of(files: BootFiles) -> list[BootEntry]:
    """The boot entries of all loaders, with those of other systems marked."""
    return settle([entry for kind in KINDS for entry in kind.entries(files)], files.host)


def doubts_of(files: BootFiles) -> list[str]:
    """Why the entries may not be all, or not right."""
    return list(dict.fromkeys(doubt for kind in KINDS for doubt in kind.doubts(files)))
