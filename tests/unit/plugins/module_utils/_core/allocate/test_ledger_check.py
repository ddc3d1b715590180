# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import QUARANTINED, RESERVED
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger_check import compare, compare_ranges
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ranges import Slot
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.category_range import DaemonRange

from tests.unit.support.labels import SMALL, guest, reasons, row, use

OWN = "c8,c10,c12,c15"


def test_what_agrees_is_not_reported() -> None:
    rows = [row(1, 0), row(2, 1, RESERVED), row(3, 2, QUARANTINED)]
    uses = [
        use("kvm1", guest(1, defined=OWN, running=OWN), guest(2, running="c1,c2")),
        use("kvm2", guest(1, "kvm2", OWN)),
    ]
    assert compare(SMALL, uses, rows) == []


def test_a_definition_with_another_label_is_reported() -> None:
    notes = compare(SMALL, [use("kvm1", guest(1, defined="c8,c10,c12,c17"))], [row(1, 0)])
    assert reasons(notes) == [("guest1", "definition_differs")]


def test_guests_with_one_label_are_reported_together() -> None:
    notes = compare(SMALL, [use("kvm1", guest(1, defined=OWN)), use("kvm2", guest(2, "kvm2", running=OWN))], [])
    assert reasons(notes) == [(f"s0:{OWN}", "label_shared")]
    assert all(name in notes[0].reason.text for name in ("guest1", "guest2"))


def test_a_label_in_quarantine_that_another_uses_is_reported() -> None:
    notes = compare(SMALL, [use("kvm1", guest(2, defined=OWN))], [row(1, 0, QUARANTINED)])
    assert reasons(notes) == [(f"s0:{OWN}", "quarantined_label_used")]
    assert compare(SMALL, [use("kvm1", guest(1, defined=OWN))], [row(1, 0, QUARANTINED)]) == []


def test_a_daemon_that_draws_from_elsewhere_is_reported() -> None:
    slots = [Slot("prod", f"kvm{number}", 64, 127) for number in (1, 2, 3, 4)]
    uses = [use("kvm1", range=DaemonRange(64, 127)), use("kvm2", range=DaemonRange(0, 1023)), use("kvm3")]
    assert reasons(compare_ranges(uses, slots)) == [("kvm2", "range_differs")]
