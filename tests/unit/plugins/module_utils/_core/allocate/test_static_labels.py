# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Who gets which label: nothing that is given out ever reaches, or is reached by, anything else."""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import static_labels as a
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_code import Band, Code
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import (
    NO_RANK,
    OBSERVED,
    PUBLISHED,
    QUARANTINED,
    RELEASED,
    RESERVED,
    LedgerPlan,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import CategorySet, parse_level
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.labels import SMALL, domain, guest, reasons, row, sets, use, uuid

HOSTS = ("kvm1", "kvm2")
ALL = CategorySet.of(range(8, 18))


def plan(
    *uses: t.Any, ledger: a.DomainLedger | None = None, request: a.LabelRequest | None = None, **scene: t.Any
) -> LedgerPlan:
    where = a.DomainUse(scene.pop("of", domain(*HOSTS)), uses, **scene)
    return a.allocate(where, ledger or a.DomainLedger(), request or a.LabelRequest())


def told(made: LedgerPlan) -> list[tuple[str, str]]:
    return [(change.action, change.new) for change in made.changes]


def ledger_of(made: LedgerPlan, before: a.DomainLedger | None = None) -> a.DomainLedger:
    known = before or a.DomainLedger()
    return a.DomainLedger(list(made.rows(known.rows).values()), tenants={**known.tenants, **made.tenants})


CATEGORIES = st.one_of(
    st.sets(st.integers(0, 20), min_size=1, max_size=3),
    st.tuples(st.integers(8, 9), st.integers(10, 11), st.integers(12, 14), st.integers(15, 17)).map(set),
    st.sets(st.integers(8, 17), min_size=5, max_size=9),
).map(lambda drawn: str(CategorySet.of(drawn)))


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[t.Any], list[t.Any], a.LabelRequest]:
    """Two hosts that were read and a remembered host, with labels that get in each other's way."""
    count = draw(st.integers(1, 9))
    guests = []
    for number in range(count):
        defined = draw(st.one_of(st.just(""), CATEGORIES))
        running = draw(st.one_of(st.just(""), st.just(defined), CATEGORIES))
        guests.append(guest(number, draw(st.sampled_from(HOSTS)), defined, running))
    foreign = [sets(*draw(st.lists(CATEGORIES, max_size=2))) for _part in range(3)]
    uses = [use(host, *(one for one in guests if one.host == host)) for host in HOSTS]
    uses[0] = replace(uses[0], strangers=foreign[0], files=foreign[1])
    remembered = [use("kvm3", guest(90, "kvm3", held=foreign[2]))]
    tenants = {f"guest{number}": f"tenant{draw(st.integers(0, 2))}" for number in range(count)}
    return uses, remembered, a.LabelRequest(tenants)


def in_use(uses: t.Iterable[t.Any]) -> t.Iterator[tuple[str, CategorySet, str]]:
    for one in uses:
        for each in one.guests:
            yield from ((each.uuid, categories, "guest") for categories in each.held)
        yield from (("", categories, "stranger") for categories in one.strangers)
        yield from (("", categories, "file") for categories in one.files)


@given(fleets())
def test_no_label_reaches_or_is_reached_by_anything_in_use(
    drawn: tuple[list[t.Any], list[t.Any], a.LabelRequest],
) -> None:
    uses, remembered, request = drawn
    planned = plan(*uses, request=request, of=domain(*HOSTS, "kvm3"), remembered=remembered)
    given_out = {row.uuid: parse_level(row.level).categories for row in planned.rows(()).values()}
    kept = {change.row.uuid for change in planned.changes if change.action == "adopt" and change.row is not None}
    for one, other in itertools.permutations(given_out.values(), 2):
        assert not one.dominates(other)
    for own, label in given_out.items():
        assert SMALL.ranks(label) is not None
        for holder, categories, what in in_use([*uses, *remembered]):
            own_label = categories == label and own in kept and (holder == own or what == "file")
            if not own_label and not categories.dominates(ALL):
                assert not label.dominates(categories), what
                assert not categories.dominates(label), what
    numbers = {row.tenant: SMALL.unrank(row.rank)[0] for row in planned.rows(()).values()}
    assert len(set(numbers.values())) == len(numbers)
    assert all(SMALL.unrank(row.rank)[0] == numbers[row.tenant] for row in planned.rows(()).values())


@given(fleets(), st.randoms(use_true_random=False))
def test_a_second_run_changes_nothing_and_order_does_not_count(
    drawn: tuple[list[t.Any], list[t.Any], a.LabelRequest], chance: t.Any
) -> None:
    uses, remembered, request = drawn
    planned = plan(*uses, request=request, remembered=remembered)
    again = plan(*uses, ledger=ledger_of(planned), request=request, remembered=remembered)
    assert told(again) == []
    shuffled = [replace(one, guests=tuple(chance.sample(one.guests, len(one.guests)))) for one in reversed(uses)]
    assert plan(*shuffled, request=request, remembered=remembered).changes == planned.changes


def test_labels_come_in_order_and_keep_clear() -> None:
    planned = plan(
        use("kvm1", guest(1), guest(2)), use("kvm2", guest(3, "kvm2", running="c8,c12"), strangers=sets("c16"))
    )
    assert told(planned) == [
        ("reserve", "s0:c8,c10,c13,c15"),
        ("reserve", "s0:c8,c10,c13,c17"),
        ("reserve", "s0:c8,c10,c14,c15"),
    ]
    assert planned.tenants == {"default": 0}
    first = planned.changes[0].row
    assert first is not None
    assert (first.state, first.host, first.tenant, first.name) == (RESERVED, "kvm1", "default", "guest1")


def test_a_label_that_is_the_guests_alone_is_kept() -> None:
    planned = plan(use("kvm1", guest(1, defined="c9,c11,c13,c16"), guest(2)))
    assert told(planned) == [("adopt", "s0:c9,c11,c13,c16"), ("reserve", "s0:c9,c11,c12,c15")]
    assert planned.tenants == {"default": 3}
    assert planned.changes[0].row is not None
    assert planned.changes[0].row.state == PUBLISHED


@pytest.mark.parametrize(
    "other",
    [
        use("kvm2", guest(2, "kvm2", defined="c9,c11,c13,c16")),
        use("kvm2", guest(2, "kvm2", running="c11,c16")),
        use("kvm2", strangers=sets("c9,c11,c13,c16")),
        use("kvm2", strangers=sets("c1,c9,c11,c13,c16")),
        use("kvm2", files=sets("c13")),
    ],
)
def test_a_label_that_anything_else_uses_is_not_kept(other: t.Any) -> None:
    planned = plan(use("kvm1", guest(1, defined="c9,c11,c13,c16")), other)
    changes = {change.subject: change for change in planned.changes}
    assert changes[f"guest1 ({uuid(1)})"].action == "reserve"
    assert changes[f"guest1 ({uuid(1)})"].old == "s0:c9,c11,c13,c16"


def test_its_own_image_seen_from_another_host_is_not_somebody_elses() -> None:
    planned = plan(use("kvm1", guest(1, defined="c9,c11,c13,c16")), use("kvm2", files=sets("c9,c11,c13,c16")))
    assert told(planned) == [("adopt", "s0:c9,c11,c13,c16")]


def test_a_label_of_a_file_is_not_given_to_anybody_else() -> None:
    planned = plan(
        use("kvm1", guest(1), files=sets("c8,c10,c12,c15")), use("kvm2", guest(2, "kvm2", files=sets("c8,c10,c12,c16")))
    )
    assert told(planned) == [("reserve", "s0:c8,c10,c12,c17"), ("reserve", "s0:c8,c10,c13,c15")]


def test_a_label_of_another_tenant_is_not_kept() -> None:
    request = a.LabelRequest({"guest2": "acme"})
    uses = use("kvm1", guest(1, defined="c8,c10,c12,c15"), guest(2, defined="c8,c10,c13,c16"))
    planned = plan(uses, ledger=a.DomainLedger(tenants={"default": 0}), request=request)
    assert told(planned) == [("adopt", "s0:c8,c10,c12,c15"), ("reserve", "s0:c8,c11,c12,c15")]
    assert planned.tenants == {"acme": 1}


def test_a_tenant_takes_the_number_that_most_of_its_guests_have() -> None:
    uses = use(
        "kvm1",
        guest(1, defined="c8,c11,c12,c15"),
        guest(2, defined="c9,c10,c13,c16"),
        guest(3, defined="c9,c10,c13,c17"),
    )
    planned = plan(uses)
    assert planned.tenants == {"default": 2}
    assert [change.action for change in planned.changes] == ["adopt", "adopt", "reserve"]


def test_two_definitions_that_differ_are_no_label_to_keep() -> None:
    planned = plan(
        use("kvm1", guest(1, defined="c9,c11,c13,c16")), use("kvm2", guest(1, "kvm2", defined="c9,c11,c13,c17"))
    )
    assert [change.action for change in planned.changes] == ["reserve"]


def test_a_label_in_the_ledger_stays_and_one_in_quarantine_is_not_given_out() -> None:
    ledger = a.DomainLedger([row(1, 0), row(2, 1, QUARANTINED, until=5.0)], tenants={"default": 0})
    planned = plan(use("kvm1", guest(1), guest(3)), ledger=ledger)
    assert told(planned) == [("reserve", "s0:c8,c10,c12,c17")]


def test_a_guest_that_comes_back_gets_its_label_out_of_quarantine() -> None:
    ledger = a.DomainLedger([row(1, 4, QUARANTINED, until=5.0)], tenants={"default": 0})
    planned = plan(use("kvm1", guest(1)), ledger=ledger)
    assert told(planned) == [("revive", "s0:c8,c10,c13,c16")]
    assert planned.changes[0].row is not None
    assert (planned.changes[0].row.state, planned.changes[0].row.until) == (RESERVED, None)
    taken = plan(use("kvm1", guest(1), guest(2, running="c8,c10,c13,c16")), ledger=ledger)
    assert reasons(taken.refused) == [("guest1", "quarantined_label_taken")]


def test_a_released_label_is_free_and_its_guest_can_have_a_new_one() -> None:
    ledger = a.DomainLedger([replace(row(1, 0), rank=NO_RANK, state=RELEASED)], tenants={"default": 0})
    assert told(plan(use("kvm1", guest(1)), ledger=ledger)) == [("reserve", "s0:c8,c10,c12,c15")]


@pytest.mark.parametrize("state", [OBSERVED, QUARANTINED])
def test_a_guest_of_another_tenant_than_before_is_refused(state: str) -> None:
    ledger = a.DomainLedger([row(1, 0, state)], tenants={"default": 0})
    planned = plan(use("kvm1", guest(1)), ledger=ledger, request=a.LabelRequest({uuid(1): "acme"}))
    assert planned.changes == []
    assert reasons(planned.refused) == [("guest1", "tenant_differs")]


def test_a_uuid_says_more_than_a_name() -> None:
    request = a.LabelRequest({uuid(1): "one", "guest1": "two"})
    assert plan(use("kvm1", guest(1)), request=request).tenants == {"one": 0}


def test_nothing_is_given_out_while_a_host_was_never_read() -> None:
    ledger = a.DomainLedger([row(1, 0)], tenants={"default": 0})
    uses = use("kvm1", guest(1), guest(2), guest(3))
    planned = plan(uses, ledger=ledger, unknown=["kvm2"])
    assert planned.changes == []
    assert reasons(planned.refused) == [("prod", "hosts_never_read")]
    assert plan(use("kvm1", guest(1)), ledger=ledger, unknown=["kvm2"]).refused == []
    assert len(plan(uses, ledger=ledger, unknown=["kvm2"], request=a.LabelRequest(allow_unread=True)).changes) == 2


def test_what_is_remembered_of_a_host_is_in_use() -> None:
    planned = plan(use("kvm1", guest(1)), remembered=[use("kvm2", guest(7, "kvm2", defined="c8,c10,c12,c15"))])
    assert told(planned) == [("reserve", "s0:c8,c10,c12,c16")]


def test_files_that_a_tenant_shares_are_in_nobodys_way_but_a_process_is() -> None:
    ledger = a.DomainLedger(tenants={"default": 0})
    shared = sets("c8,c10")
    assert told(plan(use("kvm1", guest(1, files=shared), files=shared), ledger=ledger))
    planned = plan(use("kvm1", guest(1), guest(2, running="c8,c10")), ledger=ledger)
    assert planned.changes == []
    assert reasons(planned.refused) == [("tenant default", "no_label_left")]
    assert plan(use("kvm1", guest(1), guest(2, running="c8,c10"))).tenants == {"default": 1}


def test_a_tenant_that_is_full_gets_a_remedy() -> None:
    planned = plan(use("kvm1", *(guest(number) for number in range(12))))
    assert len(planned.changes) == SMALL.guests == 9
    assert reasons(planned.refused) == [("tenant default", "no_label_left")]
    assert planned.refused[0].reason.text.startswith("3 of its guests")


def test_tenants_that_outgrow_the_code_are_refused() -> None:
    request = a.LabelRequest({f"guest{number}": f"t{number}" for number in range(5)})
    planned = plan(use("kvm1", *(guest(number) for number in range(5))), request=request)
    assert len(planned.changes) == 4
    assert reasons(planned.refused) == [("tenant t4", "no_tenant_number_left")]


@pytest.mark.parametrize(
    ("parts", "code"), [({"error": "broken XML"}, "guest_unread"), ({"persistent": False}, "transient")]
)
def test_guests_that_can_have_no_label_are_refused(parts: dict[str, t.Any], code: str) -> None:
    planned = plan(use("kvm1", guest(1, **parts)))
    assert planned.changes == []
    assert reasons(planned.refused) == [("guest1", code)]


def test_other_kinds_and_guests_that_were_not_named_are_left_alone() -> None:
    uses = use("kvm1", guest(1, kind="lxc"), guest(2), guest(3))
    planned = plan(uses, request=a.LabelRequest(guests={"guest1", uuid(3)}))
    assert [change.subject for change in planned.changes] == [f"guest3 ({uuid(3)})"]
    assert planned.refused == []


def test_a_domain_with_a_new_name_takes_its_rows_along() -> None:
    old = [row(1, 4, domain="auto-kvm1"), row(2, 5, domain="auto-kvm1", state=RESERVED)]
    ledger = a.DomainLedger(foreign_rows=old, domains={"prod"})
    planned = plan(use("kvm1", guest(1), guest(2), guest(3)), ledger=ledger)
    assert told(planned) == [("move", "prod"), ("move", "prod"), ("reserve", "s0:c8,c10,c12,c15")]
    assert [(change.row.rank, change.row.domain) for change in planned.changes if change.row] == [
        (4, "prod"),
        (5, "prod"),
        (0, "prod"),
    ]
    assert planned.tenants == {"default": 0}


def test_a_host_that_went_to_another_domain_leaves_its_rows_there() -> None:
    ledger = a.DomainLedger(foreign_rows=[row(1, 4, domain="other")], domains={"prod", "other"})
    planned = plan(use("kvm1", guest(1)), ledger=ledger)
    assert [(change.action, change.before) for change in planned.changes] == [("adopt", None)]
    assert planned.changes[0].row is not None
    assert planned.changes[0].row.rank == 4


def test_a_label_of_another_tenant_is_not_taken_along() -> None:
    ledger = a.DomainLedger(foreign_rows=[row(1, 4, domain="auto-kvm1")], domains={"prod"}, tenants={"acme": 0})
    planned = plan(use("kvm1", guest(1)), ledger=ledger, request=a.LabelRequest({"guest1": "acme"}))
    assert told(planned) == [("reserve", "s0:c8,c10,c12,c15")]


def test_rows_of_another_code_are_in_use_all_the_same() -> None:
    other = Code((Band(8, 2), Band(10, 2), Band(12, 3), Band(15, 4)), Band(0, 8))
    ledger = a.DomainLedger(foreign_rows=[row(7, 0, code=other, domain="other")], domains={"prod", "other"})
    assert told(plan(use("kvm1", guest(1)), ledger=ledger)) == [("reserve", "s0:c8,c10,c12,c16")]


def test_a_rebuild_takes_over_what_is_clear_and_reports_the_rest() -> None:
    uses = [
        use("kvm1", guest(1, defined="c9,c11,c13,c16", running="c9,c11,c13,c16"), guest(2)),
        use("kvm2", guest(3, "kvm2", defined="c9,c11,c12,c15"), guest(4, "kvm2", defined="c9,c11,c12,c15")),
    ]
    planned = a.rebuild(a.DomainUse(domain(*HOSTS), uses, unknown=["kvm3"]), a.DomainLedger(), a.LabelRequest())
    assert told(planned) == [("rebuild", "s0:c9,c11,c13,c16")]
    assert reasons(planned.refused) == [("guest3", "label_not_free"), ("guest4", "label_not_free")]
