# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux booleans that widen what every guest may do, and the profiles that need them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

PROFILES = ("local", "nfs", "ovirt")


@dataclass(frozen=True)
class BooleanEffect:
    """What a boolean allows, and the profiles that need it."""

    opens: str
    severity: str
    profiles: tuple[str, ...] = ()


BOOLEAN_EFFECTS = {
    "virt_use_nfs": BooleanEffect(
        "every guest may read and write all unlabelled NFS storage", "medium", ("nfs", "ovirt")
    ),
    "virt_use_samba": BooleanEffect("every guest may read and write all CIFS storage", "medium", ("ovirt",)),
    "virt_use_fusefs": BooleanEffect("every guest may read and write all FUSE storage", "medium", ("ovirt",)),
    "virt_use_execmem": BooleanEffect(
        "guests may run memory that they wrote: exploits of QEMU become easier", "medium"
    ),
    "virt_use_sanlock": BooleanEffect("guests may talk to sanlock", "low", ("ovirt",)),
    "virt_use_glusterd": BooleanEffect("guests may talk to the Gluster daemons", "low", ("ovirt",)),
    "virt_use_rawip": BooleanEffect("guests may open raw IP sockets, past network filters", "low"),
    "virt_use_xserver": BooleanEffect("guests may talk to the X server", "low"),
    "virt_transition_userdomain": BooleanEffect("virtualisation processes may run as users", "medium"),
}


def closed(profile: str) -> list[str]:
    """Booleans that have no reason to be on under a profile."""
    return sorted(name for name, effect in BOOLEAN_EFFECTS.items() if profile not in effect.profiles)
