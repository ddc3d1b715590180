# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of SELinux on the host."""

from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    OK,
    Boolean,
    BootEntry,
    Coverage,
    Snapshot,
    Xen,
)

from .case import Case, area_unknown


def _off(snapshot: Snapshot) -> None:
    snapshot.selinux.mode = "disabled"
    snapshot.libvirt.models = []


def _permissive(snapshot: Snapshot) -> None:
    snapshot.selinux.mode = "permissive"


def _strange_mode(snapshot: Snapshot) -> None:
    snapshot.selinux.mode = "?"


def _next_boot(snapshot: Snapshot) -> None:
    snapshot.selinux.configured_mode = "permissive"


def _no_configuration(snapshot: Snapshot) -> None:
    snapshot.selinux.configured_mode = None


def _boot_entry(snapshot: Snapshot) -> None:
    snapshot.selinux.boot_entries.append(BootEntry("/boot/loader/entries/rescue.conf", "Rescue", "ro enforcing=0"))


def _no_entry(snapshot: Snapshot) -> None:
    snapshot.selinux.boot_entries.clear()


def _no_levels(snapshot: Snapshot) -> None:
    snapshot.selinux.mls = False


def _levels_unknown(snapshot: Snapshot) -> None:
    snapshot.selinux.mls = None


def _permissive_guests(snapshot: Snapshot) -> None:
    snapshot.selinux.types[0].permissive = True


def _permissive_unknown(snapshot: Snapshot) -> None:
    snapshot.selinux.types[0].permissive = None


def _unconstrained(snapshot: Snapshot) -> None:
    snapshot.selinux.types[1].constrained = False


def _not_asked(snapshot: Snapshot) -> None:
    snapshot.selinux.types.clear()


def _boolean(snapshot: Snapshot) -> None:
    snapshot.selinux.booleans.append(Boolean("virt_use_fusefs", True, True))


def _no_booleans(snapshot: Snapshot) -> None:
    snapshot.selinux.booleans.clear()


def _flask(snapshot: Snapshot) -> None:
    snapshot.coverage["xen"] = Coverage(OK)
    snapshot.xen = Xen("permissive")


def _flask_unknown(snapshot: Snapshot) -> None:
    snapshot.coverage["xen"] = Coverage(OK)
    snapshot.xen = Xen(None)


CASES = (
    Case("SEL-001", "host", _off, _strange_mode),
    Case("SEL-001", "host", _off, area_unknown("selinux"), "area"),
    Case("SEL-002", "host", _permissive, _strange_mode),
    Case("SEL-003", "host", _next_boot, _no_configuration),
    Case("SEL-004", "host", _boot_entry, _no_entry),
    Case("SEL-004", "host", _boot_entry, area_unknown("boot"), "area"),
    Case("SEL-005", "host", _no_levels, _levels_unknown),
    Case("SEL-006", "type svirt_t", _permissive_guests, _permissive_unknown),
    Case("SEL-006", "type svirt_t", _permissive_guests, _not_asked, "not asked"),
    Case("SEL-007", "type svirt_tcg_t", _unconstrained, _not_asked),
    Case("SEL-008", "boolean virt_use_fusefs", _boolean, _no_booleans),
    Case("SEL-009", "host", _flask, _flask_unknown),
)
