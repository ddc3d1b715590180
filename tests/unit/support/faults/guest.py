# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of guests."""

from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    Process,
    SecLabel,
    Snapshot,
    TypeFacts,
)

from ..factory import DAEMON, image_label, process_label
from .case import Case, area_unknown, guest


def _by_hand(snapshot: Snapshot) -> None:
    context = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023"
    snapshot.processes.append(Process(4711, "qemu", "/usr/bin/qemu-system-x86_64", "handmade", context, 0))


def _by_hand_and_no_guests(snapshot: Snapshot) -> None:
    _by_hand(snapshot)
    area_unknown("guests")(snapshot)


def _label_unknown(snapshot: Snapshot) -> None:
    guest(snapshot, "web").context = None


def _label_translated(snapshot: Snapshot) -> None:
    guest(snapshot, "web").context = "system_u:system_r:svirt_t:SystemLow"


def _xml_unknown(snapshot: Snapshot) -> None:
    guest(snapshot, "spare").error = "broken XML"


def _unconfined(snapshot: Snapshot) -> None:
    """As in the lab: a guest that asks for no confinement, on a daemon that does not require any."""
    web = guest(snapshot, "web")
    web.context = DAEMON
    web.live = web.persistent_labels = [SecLabel(None, "none")]
    _untouched(snapshot, "web")


def _untouched(snapshot: Snapshot, name: str) -> None:
    for item in guest(snapshot, name).resources:
        item.role, item.expected = "untouched", None


def _none(snapshot: Snapshot) -> None:
    guest(snapshot, "spare").persistent_labels = [SecLabel("selinux", "none")]


def _foreign(snapshot: Snapshot) -> None:
    label = process_label("s0:c40,c300,c600,c900", "custom_t")
    db = guest(snapshot, "db")
    db.context, db.live[0].label, db.persistent_labels[0].label = label, label, label
    snapshot.selinux.types.append(TypeFacts("custom_t", known=True, permissive=False, constrained=False))


def _foreign_baselabel(snapshot: Snapshot) -> None:
    base = "system_u:system_r:unconfined_t:s0"
    guest(snapshot, "spare").persistent_labels = [SecLabel("selinux", "dynamic", baselabel=base)]


def _relabel(snapshot: Snapshot, name: str, level: str) -> None:
    """The guest was started with another static level, and everything of it carries that."""
    it = guest(snapshot, name)
    own, label = image_label(level), process_label(level)
    it.context = label
    it.live = [SecLabel("selinux", "static", True, label, own)]
    it.persistent_labels = [SecLabel("selinux", "static", True, label)]
    for item in it.resources:
        if item.role == "image":
            item.expected = item.file.label = own


def _no_categories(snapshot: Snapshot) -> None:
    _relabel(snapshot, "db", "s0")


def _single_category(snapshot: Snapshot) -> None:
    _relabel(snapshot, "db", "s0:c5")


def _single_for_later(snapshot: Snapshot) -> None:
    guest(snapshot, "spare").persistent_labels = [SecLabel("selinux", "static", True, process_label("s0:c5"))]


def _wide(snapshot: Snapshot) -> None:
    _relabel(snapshot, "db", "s0:c0.c1023")


def _holds_the_range(snapshot: Snapshot) -> None:
    """Only eight categories, but they are all that the daemon draws from."""
    assert snapshot.libvirt.daemon is not None
    snapshot.libvirt.daemon.context = "system_u:system_r:virtd_t:s0-s0:c24.c31"
    _relabel(snapshot, "db", "s0:c24.c31")


def _disagrees(snapshot: Snapshot) -> None:
    guest(snapshot, "web").context = process_label("s0:c1,c2")


def _no_live_label(snapshot: Snapshot) -> None:
    guest(snapshot, "web").live = []


def _kept(snapshot: Snapshot) -> None:
    db = guest(snapshot, "db")
    db.live[0].relabel, db.persistent_labels[0].relabel = False, None
    _untouched(snapshot, "db")


def _risky(snapshot: Snapshot) -> None:
    guest(snapshot, "spare").risks = ["custom_argv", "passthrough_usb"]


def _started_unconfined(snapshot: Snapshot) -> None:
    """The driver was off when the guest started, and is on now."""
    web = guest(snapshot, "web")
    web.context, web.live = DAEMON, []
    _untouched(snapshot, "web")


def _label_later(snapshot: Snapshot) -> None:
    label = process_label("s0:c50,c310,c610,c910")
    guest(snapshot, "db").persistent_labels = [SecLabel("selinux", "static", True, label)]


def _borrowed(snapshot: Snapshot) -> None:
    """A shell with the guest's label, in another control group than the guest's."""
    label = process_label("s0:c17,c42")
    snapshot.processes.append(Process(4712, "bash", "/usr/bin/bash", None, label, 0, cgroup="/user.slice"))


def _borrowed_and_no_guests(snapshot: Snapshot) -> None:
    _borrowed(snapshot)
    area_unknown("guests")(snapshot)


CASES = (
    Case("GST-001", "process 4711 handmade", _by_hand, _by_hand_and_no_guests),
    Case("GST-002", "guest web", _unconfined, _label_unknown),
    Case("GST-002", "guest web", _unconfined, _label_translated, "translated"),
    Case("GST-003", "guest spare", _none, _xml_unknown),
    Case("GST-004", "guest db", _foreign, _label_unknown),
    Case("GST-004", "guest spare", _foreign_baselabel, _xml_unknown, "baselabel"),
    Case("GST-005", "guest db", _no_categories, _label_unknown, "none"),
    Case("GST-005", "guest db", _single_category, _label_translated, "single"),
    Case("GST-005", "guest spare", _single_for_later, _xml_unknown, "next start"),
    Case("GST-006", "guest db", _wide, _label_unknown),
    Case("GST-006", "guest db", _holds_the_range, _label_unknown, "the daemon's range"),
    Case("GST-007", "guest web", _disagrees, _no_live_label),
    Case("GST-008", "guest db", _kept, _xml_unknown),
    Case("GST-009", "guest spare", _risky, _xml_unknown),
    Case("GST-010", "guest web", _started_unconfined, _label_unknown),
    Case("GST-010", "guest db", _label_later, _label_unknown, "another label"),
    Case("GST-011", "process 4712 bash", _borrowed, _borrowed_and_no_guests),
)
