# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What types of processes and files are on a host: by the loaded policy and its contexts files, never by name alone.

The names of shipped_types.py count only where the policy was not asked.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from ..selinux.context import type_of
from ..selinux.shipped_types import (
    SHIPPED_CONTAINER_FILE,
    SHIPPED_DAEMON_TYPES,
    SHIPPED_GUEST_TYPES,
    SHIPPED_IMAGE_TYPES,
    SHIPPED_PERMISSIVE,
    is_container_type,
    named_open,
)
from ..snapshot.model import Daemon, Snapshot, TypeFacts


def facts_of(snapshot: Snapshot, type_: str) -> TypeFacts:
    """The loaded policy's facts about a type; empty where it was not asked."""
    return next((facts for facts in snapshot.selinux.types if facts.name == type_), TypeFacts(type_))


def guest_types(snapshot: Snapshot) -> frozenset[str]:
    """Process types that are meant for guests on this host."""
    shipped = (name for name in SHIPPED_GUEST_TYPES if facts_of(snapshot, name).known is not False)
    return frozenset(snapshot.selinux.guest_types) | frozenset(shipped)


def given_types(snapshot: Snapshot) -> frozenset[str]:
    """Types that libvirt gives to guests here: by the policy's file, and as the daemon read it at its start."""
    names = set(snapshot.selinux.guest_types) or set(SHIPPED_GUEST_TYPES)
    for model in snapshot.libvirt.models or ():
        if model.model == "selinux":
            names |= {type_ for type_ in map(type_of, model.baselabels.values()) if type_}
    return frozenset(names)


def image_type(snapshot: Snapshot) -> str:
    """The type of guests' own files."""
    return (*snapshot.selinux.image_types, SHIPPED_IMAGE_TYPES[0])[0]


def container_file_type(snapshot: Snapshot) -> str:
    """The type of containers' files."""
    return snapshot.selinux.container_file or SHIPPED_CONTAINER_FILE


def runs_open(snapshot: Snapshot, type_: str) -> bool:
    """The policy holds a process of this type from no guest's files: it may give them any label."""
    relabels = facts_of(snapshot, type_).relabels
    return named_open(type_) if relabels is None else relabels


def confines_container(snapshot: Snapshot, type_: str | None) -> bool:
    """Container engines give this type to what runs in their containers, and categories bind it."""
    listed = snapshot.selinux.container_types
    return type_ is not None and is_container_type(type_, listed) and facts_of(snapshot, type_).constrained is not False


def is_daemon_type(daemon: Daemon, type_: str | None) -> bool:
    """The policy has this type for libvirt's daemon."""
    return type_ in (SHIPPED_DAEMON_TYPES if daemon.types is None else daemon.types)


def shipped_permissive(facts: TypeFacts) -> bool | None:
    """Whether the distribution ships the type permissive; None: some do so, and its modules could not be read."""
    return facts.shipped or (None if facts.shipped is None and facts.name in SHIPPED_PERMISSIVE else False)
