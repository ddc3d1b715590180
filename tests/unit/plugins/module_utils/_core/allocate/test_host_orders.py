# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.host_orders import HostOrders, orders
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import QUARANTINED, RELEASED, RESERVED

from tests.unit.support.labels import BASE, guest, reasons, row, use, uuid

OWN = "c8,c10,c12,c15"
ORDER = {"guest": uuid(1), "type": "static", "label": f"{BASE}:{OWN}"}


def of(one: t.Any, state: str = RESERVED, **parts: t.Any) -> HostOrders:
    return orders([use("kvm1", one, **parts)], {uuid(1): row(1, 0, state)})


@pytest.mark.parametrize(
    ("one", "ordered", "waits"),
    [
        (guest(1), True, False),
        (guest(1, running="c1,c2"), True, True),
        (guest(1, defined=OWN), False, False),
        (guest(1, defined=OWN, running="c1,c2"), False, True),
        (guest(1, defined=OWN, running=OWN), False, False),
        (guest(1, defined=OWN, relabels=False), True, False),
        (guest(1, defined="c8,c10,c12,c16"), True, False),
        (guest(1, persistent=False), False, False),
        (guest(1, error="broken"), False, False),
        (guest(2), False, False),
    ],
)
def test_what_is_ordered_and_what_waits(one: t.Any, ordered: bool, waits: bool) -> None:
    result = of(one)
    assert result.guests == {"kvm1": [ORDER] if ordered else []}
    assert bool(result.pending) is waits
    assert result.refused == []


@pytest.mark.parametrize("state", [QUARANTINED, RELEASED])
def test_labels_that_nobody_holds_are_not_ordered(state: str) -> None:
    assert of(guest(1), state).guests == {"kvm1": []}


def test_the_type_is_that_of_the_hosts_base_label_for_the_kind() -> None:
    bases = {"kvm": BASE, "qemu": "system_u:system_r:svirt_tcg_t:s0"}
    result = of(guest(1, kind="qemu"), baselabels=bases)
    assert result.guests["kvm1"][0]["label"] == f"system_u:system_r:svirt_tcg_t:s0:{OWN}"
    kept = guest(1, kind="qemu", defined=OWN)
    assert of(kept, baselabels=bases).guests["kvm1"] != []  # its categories are right, its type is not


@pytest.mark.parametrize("bases", [{}, {"kvm": "+107:+107"}])
def test_without_a_base_label_nothing_is_ordered(bases: dict[str, str]) -> None:
    result = of(guest(1), baselabels=bases)
    assert result.guests == {"kvm1": []}
    assert reasons(result.refused) == [("guest1", "base_label_unknown")]


def test_a_guest_on_two_hosts_is_ordered_on_both() -> None:
    uses = [use("kvm2", replace(guest(1, "kvm2"))), use("kvm1", guest(1))]
    assert orders(uses, {uuid(1): row(1, 0)}).guests == {"kvm1": [ORDER], "kvm2": [ORDER]}
