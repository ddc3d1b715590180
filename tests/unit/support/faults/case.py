# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rule's smallest fault, and how the fact that it needs may be missing."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    UNKNOWN,
    Coverage,
    Guest,
    QemuConf,
    Resource,
    Snapshot,
)

Change = t.Callable[[Snapshot], None]


@dataclass(frozen=True)
class Case:
    """What makes the rule speak of the subject, and what makes it say that it cannot know."""

    rule: str
    subject: str
    fault: Change
    unreadable: Change
    note: str = ""

    def __str__(self) -> str:
        return f"{self.rule} {self.note}".strip()


def area_unknown(area: str) -> Change:
    """The area could not be looked at."""

    def change(snapshot: Snapshot) -> None:
        snapshot.coverage[area] = Coverage(UNKNOWN, "not root", ["not_root"])

    return change


def guest(snapshot: Snapshot, name: str) -> Guest:
    """The guest of that name."""
    return next(guest for guest in snapshot.guests if guest.name == name)


def file_of(snapshot: Snapshot, name: str, kind: str = "disk") -> Resource:
    """The guest's first file of that kind."""
    return next(item for item in guest(snapshot, name).resources if item.kind == kind)


def conf(snapshot: Snapshot) -> QemuConf:
    """qemu.conf, which every host of the factory has."""
    assert snapshot.libvirt.conf is not None
    return snapshot.libvirt.conf


def set_key(snapshot: Snapshot, key: str, value: t.Any) -> None:
    """Give a key of qemu.conf another value; None takes the key out."""
    assignments = conf(snapshot).assignments
    result = next(item for item in assignments if item.key == key)
    if value is None:
        assignments.remove(result)
    else:
        result.value = value
