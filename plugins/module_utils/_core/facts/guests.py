# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests of a host that sVirt confines.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..libvirt.file_labels import confinement
from ..snapshot.model import Guest, Snapshot

#: Kinds of guests that run as a QEMU process.
QEMU_KINDS = frozenset(("kvm", "qemu"))


def selinux_off(snapshot: Snapshot) -> bool:
    """The kernel runs without SELinux: one rule reports it, rules about labels cannot judge."""
    return snapshot.selinux.mode == "disabled"


def qemu_guests(snapshot: Snapshot) -> t.Iterator[Guest]:
    """The guests that run as a QEMU process."""
    return (guest for guest in snapshot.guests if guest.kind in QEMU_KINDS)


def draws_categories(guest: Guest) -> bool:
    """libvirt chooses the guest's categories: those of the running process, else those of the next start."""
    seclabel = confinement(guest.live if guest.active else guest.persistent_labels)
    if seclabel is None:
        return not guest.active and not guest.error
    return seclabel.type in (None, "dynamic")
