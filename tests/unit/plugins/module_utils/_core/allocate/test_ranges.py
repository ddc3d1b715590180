# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Ranges share no category, and no pair drawn from one reaches, or is reached by, a label."""

from __future__ import annotations

from itertools import combinations

from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import static_labels as a
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import LedgerPlan, Row
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ranges import Slot, allot, capacity
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import CategorySet, parse_level
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.labels import domain, guest, reasons, row, use


def plan(count: int, width: int, *statics: str, slots: tuple[Slot, ...] = (), rows: tuple[Row, ...] = ()) -> LedgerPlan:
    hosts = [f"kvm{number}" for number in range(count)]
    uses = [use(host) for host in hosts]
    uses[0] = use("kvm0", *(guest(number, "kvm0", defined=text) for number, text in enumerate(statics)))
    return allot(a.DomainUse(domain(*hosts, strategy="range", range_width=width), uses), slots, rows)


def ranges(made: LedgerPlan) -> list[tuple[int, int]]:
    return [change.range for change in made.changes if change.range is not None]


@given(
    st.integers(1, 40),
    st.sampled_from([8, 9, 31, 64, 100]),
    st.lists(
        st.sets(st.integers(0, 1023), min_size=1, max_size=6).map(lambda drawn: str(CategorySet.of(drawn))), max_size=6
    ),
    st.sets(st.integers(0, 35), max_size=6),
)
def test_no_pair_of_one_range_meets_another_host_or_a_label(
    count: int, width: int, statics: list[str], ranks: set[int]
) -> None:
    rows = tuple(row(50 + rank, rank) for rank in sorted(ranks))
    planned = plan(count, width, *statics, rows=rows)
    given_out = ranges(planned)
    for (low, high), (other_low, other_high) in combinations(given_out, 2):
        assert high < other_low or other_high < low
    labels = [parse_level(f"s0:{text}").categories for text in statics] + [
        parse_level(one.level).categories for one in rows
    ]
    for low, high in given_out:
        assert high - low + 1 == width
        assert 0 <= low < high <= 1023
        for label in labels:
            inside = [category for category in label if low <= category <= high]
            # Of the categories that the label does not have, one stands for all.
            drawn = [*inside, *[category for category in range(low, high + 1) if category not in inside][:1]]
            pairs = [CategorySet.of(pair) for pair in combinations(drawn, 2)]
            assert not any(label.dominates(pair) or pair.dominates(label) for pair in pairs)
    assert len(given_out) == count or planned.refused


def test_a_range_stays_and_hosts_that_come_take_what_is_free() -> None:
    planned = plan(3, 64, slots=(Slot("prod", "kvm1", 0, 63), Slot("prod", "gone", 128, 191)))
    assert [(change.host, change.new) for change in planned.changes] == [("kvm0", "c64.c127"), ("kvm2", "c192.c255")]


def test_a_range_of_another_width_is_kept_and_reported() -> None:
    planned = plan(2, 32, slots=(Slot("prod", "kvm1", 0, 63),))
    assert [(change.host, change.new) for change in planned.changes] == [("kvm0", "c64.c95")]
    assert reasons(planned.refused) == [("kvm1", "range_of_other_width")]


def test_a_fleet_that_outgrows_its_ranges_gets_the_width_that_fits() -> None:
    planned = plan(20, 64)
    assert len(planned.changes) == capacity(64) == 16
    assert reasons(planned.refused) == [("prod", "no_range_left")]
    why = planned.refused[0].reason.text
    assert "kvm16, kvm17, kvm18, kvm19 get none; use the strategy static" in why
    assert "range_width 51: 20 hosts, each with 1275 pairs" in why


def test_more_hosts_than_any_width_allows_leave_static_only() -> None:
    planned = plan(200, 8)
    assert len(planned.changes) == 128
    assert "range_width" not in planned.refused[0].reason.text


def test_guests_outside_of_their_hosts_range_wait_for_a_power_cycle() -> None:
    guests = [
        guest(1, "kvm0", running="c3,c9"),
        guest(2, "kvm0", running="c3,c90"),
        guest(3, "kvm0", defined="c500", running="c500"),
        guest(4, "kvm0"),
    ]
    planned = allot(a.DomainUse(domain("kvm0", strategy="range", range_width=64), [use("kvm0", *guests)]), (), ())
    assert reasons(planned.pending) == [("guest2", "pair_outside_range")]
