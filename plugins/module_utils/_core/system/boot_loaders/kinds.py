# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of boot loaders that are known. A further one is imported here.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from . import bls, grub, kernel_cmdline  # noqa: F401
from .loader import BootLoader

#: One of each kind, in the order of their definition: entries are listed, and files edited, in this order.
KINDS: tuple[BootLoader, ...] = tuple(kind() for kind in BootLoader.__subclasses__())
