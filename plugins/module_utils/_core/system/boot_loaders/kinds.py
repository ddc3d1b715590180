# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of boot loaders that are known.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from ...snapshot.model import BootEntry
from .bls import Bls
from .grub import Grub
from .kernel_cmdline import KernelCmdline
from .loader import BootFiles, BootLoader
from .ownership import settle

#: One of each kind: entries are listed, and files edited, in this order.
KINDS: tuple[BootLoader, ...] = (
    Bls(),
    Grub(),
    KernelCmdline(),
)


def entries_of(files: BootFiles) -> list[BootEntry]:
    """The boot entries of all loaders, with those of other systems marked."""
    return settle([entry for kind in KINDS for entry in kind.entries(files)], files.host)


def doubts_of(files: BootFiles) -> list[str]:
    """Why the entries may not be all, or not right."""
    return list(dict.fromkeys(doubt for kind in KINDS for doubt in kind.doubts(files)))
