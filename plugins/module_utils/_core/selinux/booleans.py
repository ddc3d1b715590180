# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux booleans that open a door to every guest, and the profiles that want it open.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

PROFILES = ("local", "nfs", "ovirt")


@dataclass(frozen=True)
class Door:
    """What a boolean opens, and where that is wanted."""

    opens: str
    severity: str
    profiles: tuple[str, ...] = ()


DOORS = {
    "virt_use_nfs": Door("every guest may read and write all unlabelled NFS storage", "medium", ("nfs", "ovirt")),
    "virt_use_samba": Door("every guest may read and write all CIFS storage", "medium", ("ovirt",)),
    "virt_use_fusefs": Door("every guest may read and write all FUSE storage", "medium", ("ovirt",)),
    "virt_use_execmem": Door("guests may run memory that they wrote: exploits of QEMU become easier", "medium"),
    "virt_use_sanlock": Door("guests may talk to sanlock", "low", ("ovirt",)),
    "virt_use_glusterd": Door("guests may talk to the Gluster daemons", "low", ("ovirt",)),
    "virt_use_rawip": Door("guests may open raw IP sockets, past network filters", "low"),
    "virt_use_xserver": Door("guests may talk to the X server", "low"),
    "virt_transition_userdomain": Door("virtualisation processes may run as users", "medium"),
}


def closed(profile: str) -> list[str]:
    """Booleans that have no reason to be on under a profile."""
    return sorted(name for name, door in DOORS.items() if profile not in door.profiles)
