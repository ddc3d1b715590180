# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""New labels: for whom, and that they meet no other."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import (
    OBSERVED,
    PUBLISHED,
    QUARANTINED,
    RELEASED,
    Row,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import fresh_labels
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import parse_context
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.fleets import PROCESS, guest, host

TWIN = "s0:c33,c287,c528,c976"


def static(uuid: str, level: str = TWIN, defined: str | None = None, **parts: t.Any) -> s.Guest:
    """A running guest with a static label; defined is the level of its definition, when that is another one."""
    labels = [s.SecLabel("selinux", "static", relabel=True, label=PROCESS + (defined or level))]
    return guest(uuid, level, persistent_labels=labels, **parts)


def proposed(
    *snapshots: s.Snapshot, allowed: t.Collection[str], unread: t.Sequence[str] = (), ledger: t.Sequence[Row] = ()
) -> dict[str, t.Any]:
    """What the fleet of these hosts proposes: host -> uuid -> label."""
    names = [item.host.name for item in snapshots]
    judged = analysis.judge([analysis.compared_host(name, item) for name, item in zip(names, snapshots)], unread)
    hosts = [fresh_labels.labels(name, item) for name, item in zip(names, snapshots)]
    labels = fresh_labels.propose(hosts, judged.findings, allowed, unread, ledger)
    assert all(item["type"] == "static" for items in labels.values() for item in items)
    return {name: {item["guest"]: item["label"] for item in items} for name, items in labels.items()}


def test_one_of_two_twins_gets_another_label() -> None:
    labels = proposed(host("kvm1", [static("a"), static("b")]), allowed=["a", "guest-b"])
    assert list(labels["kvm1"]) == ["b"]
    context = parse_context(labels["kvm1"]["b"])
    assert labels["kvm1"]["b"].startswith(PROCESS)
    assert [number // 248 for number in (category - 32 for category in context.categories)] == [0, 1, 2, 3]
    assert str(context.high) != TWIN


def test_only_guests_that_may_be_interrupted_get_one() -> None:
    both = host("kvm1", [static("a"), static("b")])
    assert proposed(both, allowed=["a"]) == {"kvm1": {"a": proposed(both, allowed=["a"])["kvm1"]["a"]}}
    assert proposed(both, allowed=[]) == {"kvm1": {}}
    assert proposed(both, allowed=["c"]) == {"kvm1": {}}


def test_guests_that_meet_nobody_keep_their_label() -> None:
    assert proposed(host("kvm1", [static("a"), static("b", "s0:c1,c2")]), allowed=["a", "b"]) == {"kvm1": {}}


def test_a_guest_whose_definition_has_another_label_only_waits() -> None:
    assert proposed(host("kvm1", [static("a"), static("b", defined="s0:c1,c2")]), allowed=["b"]) == {"kvm1": {}}


@pytest.mark.parametrize("parts", [{"persistent_labels": []}, {"persistent": False}])
def test_a_dynamic_or_transient_guest_gets_none(parts: dict[str, t.Any]) -> None:
    moving = static("b")
    for name, value in parts.items():
        setattr(moving, name, value)
    assert proposed(host("kvm1", [static("a"), moving]), allowed=["b"]) == {"kvm1": {}}


def test_nothing_while_a_host_is_not_known() -> None:
    both = host("kvm1", [static("a"), static("b")])
    assert proposed(both, allowed=["a", "b"], unread=["kvm2"]) == {"kvm1": {}}
    blind = host("kvm2", coverage={area: s.Coverage(s.UNKNOWN, "why") for area in s.AREAS})
    assert proposed(both, blind, allowed=["a", "b"]) == {"kvm1": {}, "kvm2": {}}
    broken = host("kvm2", [guest("x", None, error="no XML")])
    assert proposed(both, broken, allowed=["a", "b"]) == {"kvm1": {}, "kvm2": {}}


def test_a_guest_that_holds_every_category_stops_nobody() -> None:
    wide = guest("w", "s0:c0.c1023")
    assert set(proposed(host("kvm1", [static("a"), static("b"), wide]), allowed=["b"])["kvm1"]) == {"b"}


def test_a_label_that_is_taken_is_not_given() -> None:
    first = proposed(host("kvm1", [static("a"), static("b")]), allowed=["b"])["kvm1"]["b"]
    off = s.Guest("o", "off", "shutoff", False, persistent_labels=[s.SecLabel("selinux", "static", label=first)])
    again = proposed(host("kvm1", [static("a"), static("b"), off]), allowed=["b"])["kvm1"]["b"]
    assert again != first


def ledger_row(uuid: str, label: str, state: str = OBSERVED) -> Row:
    return Row("prod", uuid, uuid, "kvm1", "default", 0, str(parse_context(label).high), state)


@pytest.mark.parametrize(("state", "avoided"), [(OBSERVED, True), (QUARANTINED, True), (RELEASED, False)])
def test_a_label_of_the_ledger_is_not_given_although_no_guest_is_seen_with_it(state: str, avoided: bool) -> None:
    both = host("kvm1", [static("a"), static("b")])
    first = proposed(both, allowed=["b"])["kvm1"]["b"]
    again = proposed(both, allowed=["b"], ledger=[ledger_row("c", first, state)])["kvm1"]["b"]
    assert (again != first) is avoided


def test_a_guest_gets_the_label_that_the_ledger_has_for_it() -> None:
    both = host("kvm1", [static("a"), static("b")])
    row = ledger_row("b", PROCESS + "s0:c40,c300,c600,c900", PUBLISHED)
    assert proposed(both, allowed=["b"], ledger=[row])["kvm1"] == {"b": PROCESS + "s0:c40,c300,c600,c900"}


def test_the_guest_whose_label_is_in_the_ledger_keeps_it() -> None:
    both = host("kvm1", [static("a"), static("b")])
    assert list(proposed(both, allowed=["a", "b"], ledger=[ledger_row("b", PROCESS + TWIN)])["kvm1"]) == ["a"]


@given(st.lists(st.sets(st.integers(0, 1023), min_size=1, max_size=12), max_size=30))
def test_a_new_label_neither_holds_nor_is_held_by_another(levels: list[set[int]]) -> None:
    others = [
        guest(f"o{number}", "s0:" + ",".join(f"c{one}" for one in sorted(level))) for number, level in enumerate(levels)
    ]
    labels = proposed(host("kvm1", [static("a"), static("b"), *others]), allowed=["b"])["kvm1"]
    fresh = parse_context(labels["b"]).categories
    for other in [*levels, {33, 287, 528, 976}]:
        assert not other <= set(fresh)
        assert not set(fresh) <= other
