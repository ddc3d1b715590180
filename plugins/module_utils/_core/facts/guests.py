# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests of a host that sVirt confines, and the types that they may have.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..libvirt.file_labels import confinement
from ..selinux.shipped_types import SHIPPED_GUEST_TYPES
from ..snapshot.model import Guest, Snapshot, TypeFacts

#: Kinds of guests that run as a QEMU process.
QEMU_KINDS = frozenset(("kvm", "qemu"))


def selinux_off(snapshot: Snapshot) -> bool:
    """The kernel runs without SELinux: one rule reports it, rules about labels cannot judge."""
    return snapshot.selinux.mode == "disabled"


def guest_types(snapshot: Snapshot) -> frozenset[str]:
    """Process types that are meant for guests on this host."""
    return frozenset(snapshot.selinux.guest_types) | frozenset(SHIPPED_GUEST_TYPES)


def facts_of(snapshot: Snapshot, type_: str) -> TypeFacts:
    """The loaded policy's facts about a type; empty where it was not asked."""
    return next((facts for facts in snapshot.selinux.types if facts.name == type_), TypeFacts(type_))


def qemu_guests(snapshot: Snapshot) -> t.Iterator[Guest]:
    """The guests that run as a QEMU process."""
    return (guest for guest in snapshot.guests if guest.kind in QEMU_KINDS)


def draws_categories(guest: Guest) -> bool:
    """libvirt chooses the guest's categories: those of the running process, else those of the next start."""
    seclabel = confinement(guest.live if guest.active else guest.persistent_labels)
    if seclabel is None:
        return not guest.active and not guest.error
    return seclabel.type in (None, "dynamic")
