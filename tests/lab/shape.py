# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The shapes of hosts: what distributions do differently around the same libvirt."""

from __future__ import annotations

from enum import Enum


class Shape(Enum):
    """DEBIAN: one libvirtd, GRUB's own entries. EL: modular daemons behind sockets, BLS entries, user qemu."""

    DEBIAN = "debian"
    EL = "el"
