# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of guests' network interfaces."""

from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Interface, NetworkFilter, Snapshot

from .case import Case, guest

MAC = "52:54:00:00:00:01"


def card(snapshot: Snapshot) -> Interface:
    """The filtered card of the running guest."""
    return guest(snapshot, "web").interfaces[0]


def filter_of(snapshot: Snapshot, name: str) -> NetworkFilter:
    """A filter that the host defines."""
    assert snapshot.libvirt.filters is not None
    return next(item for item in snapshot.libvirt.filters if item.name == name)


def _no_filter(snapshot: Snapshot) -> None:
    card(snapshot).filter, card(snapshot).parameters = None, []


def _none_at_the_next_start(snapshot: Snapshot) -> None:
    guest(snapshot, "web").persistent_interfaces[0].filter = None


def _building_block(snapshot: Snapshot) -> None:
    card(snapshot).filter = "no-mac-spoofing"


def _redefined(snapshot: Snapshot) -> None:
    filter_of(snapshot, "clean-traffic").references.remove("no-ip-spoofing")


def _opened(snapshot: Snapshot) -> None:
    filter_of(snapshot, "clean-traffic").opens_at = -1000


def _no_address(snapshot: Snapshot) -> None:
    card(snapshot).parameters = []


def _guest_unknown(snapshot: Snapshot) -> None:
    guest(snapshot, "web").error = "broken XML"


def _filters_unknown(snapshot: Snapshot) -> None:
    snapshot.libvirt.filters = None


SUBJECT = f"interface {MAC} of guest web"
CASES = (
    Case("NET-001", SUBJECT, _no_filter, _guest_unknown),
    Case("NET-001", SUBJECT, _none_at_the_next_start, _guest_unknown, "next start"),
    Case("NET-002", SUBJECT, _building_block, _filters_unknown, "building block"),
    Case("NET-002", SUBJECT, _redefined, _filters_unknown, "redefined"),
    Case("NET-002", SUBJECT, _opened, _filters_unknown, "opened"),
    Case("NET-003", SUBJECT, _no_address, _filters_unknown),
)
