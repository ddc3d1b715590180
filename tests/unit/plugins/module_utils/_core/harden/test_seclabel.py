# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which guests get which label, and which must not."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.guest_definition import (
    Define,
    Definition,
    GuestPlan,
    Survey,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.seclabel import REPAIRS, SeclabelRequest, plan
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import SecurityModel

from tests.unit.support import virt
from tests.unit.support.factory import DAEMON, process_label

OWN = process_label("s0:c40,c300,c600,c900")
OTHER = process_label("s0:c50,c310,c610,c910")


def off(name: str, label: str = "", kind: str = "kvm") -> Definition:
    return Definition(virt.uuid(name), name, inactive=virt.domain(name, label, kind=kind))


def on(name: str, label: str = "", live: str = "", process: str | None = None) -> Definition:
    """A running guest; ``label`` is its definition's <seclabel>, ``live`` what it was started with."""
    return Definition(virt.uuid(name), name, True, virt.domain(name, label), virt.domain(name, live or label), process)


def survey(*guests: Definition) -> Survey:
    bases = {"kvm": process_label("s0"), "qemu": process_label("s0", "svirt_tcg_t")}
    return Survey(
        list(guests), [SecurityModel("selinux", "0", bases)], guest_types=frozenset(("svirt_t",)), daemon=DAEMON
    )


def static(guest: str, label: str = OWN) -> SeclabelRequest:
    return SeclabelRequest(guest, "static", label)


def lines(made: GuestPlan) -> list[tuple[t.Any, ...]]:
    return [(step.subject, step.before, step.after) for step in made.plan]


def refusal(made: GuestPlan) -> str:
    assert made.changes == []
    (refused,) = made.refused
    return refused.reason.code


def test_a_static_label() -> None:
    planned = plan(survey(off("a")), [static("a")])
    assert lines(planned) == [("guest a", "dynamic (libvirt's default)", f"static {OWN}")]
    assert planned.changes == [
        Define(
            virt.uuid("a"),
            "a",
            virt.domain("a"),
            virt.domain("a").replace("</domain>", virt.seclabel("static", OWN) + "</domain>"),
        )
    ]
    state = {"guest": "a", "uuid": virt.uuid("a")}
    assert planned.before == [{**state, "type": "dynamic", "label": None, "relabel": True}]
    assert planned.after == [{**state, "type": "static", "label": OWN, "relabel": True}]


def test_what_is_there_is_not_written_again() -> None:
    mixed = process_label("s0:c900,c40,c600,c300")
    guests = (off("a", virt.seclabel("static", mixed)), off("b"), off("c", virt.seclabel("dynamic")))
    planned = plan(
        survey(*guests),
        [static("a"), SeclabelRequest("b", "dynamic"), SeclabelRequest(virt.uuid("c"), "dynamic")],
        REPAIRS,
    )
    assert (planned.changes, planned.plan, planned.refused) == ([], [], [])
    assert planned.before == planned.after
    assert planned.changed is False


@pytest.mark.parametrize(
    ("label", "found"),
    [
        (virt.seclabel("none"), "none"),
        (virt.seclabel("static", OWN), f"static {OWN}"),
        (virt.seclabel("dynamic").replace("/>", "><baselabel>a:b:c_t:s0</baselabel></seclabel>"), "baselabel"),
    ],
)
def test_back_to_dynamic(label: str, found: str) -> None:
    planned = plan(survey(off("a", label)), [SeclabelRequest("a", "dynamic")])
    ((subject, before, after),) = lines(planned)
    assert (subject, after) == ("guest a", "dynamic")
    assert found in before


@pytest.mark.parametrize(
    ("guest", "requested", "code"),
    [
        (Definition("u", "a", True, None, virt.domain("a")), static("a"), "transient"),
        (off("a"), SeclabelRequest("a", "none"), "type_none"),
        (off("a"), static("a", process_label("s0:c1,c2", "svirt_tcg_t")), "wrong_type"),
        (off("a", kind="qemu"), static("a"), "wrong_type"),
        (off("a", kind="lxc"), static("a"), "kind_without_label"),
        (off("a"), static("a", process_label("s0")), "few_categories"),
        (off("a"), static("a", process_label("s0:c1")), "few_categories"),
        (off("a"), static("a", process_label("s0:c0.c1023")), "wide"),
        (off("a"), static("a", process_label("s0-s0:c1,c2")), "range_label"),
    ],
)
def test_what_is_refused(guest: Definition, requested: SeclabelRequest, code: str) -> None:
    assert refusal(plan(survey(guest), [requested])) == code


def test_without_the_driver_nothing_is_written() -> None:
    host = survey(off("a"), on("b", process="x"))
    host.models = [SecurityModel("dac")]
    planned = plan(host, [static("a")])
    assert refusal(planned) == "no_driver"
    assert planned.pending == []


@pytest.mark.parametrize(
    "other",
    [
        off("b", virt.seclabel("static", OWN)),
        off("b", virt.seclabel("static", OWN, "no")),
        on("b", process=process_label("s0:c40,c300")),
        on("b", process=process_label("s0:c40,c300,c600,c900,c901")),
    ],
)
def test_labels_that_meet(other: Definition) -> None:
    assert refusal(plan(survey(off("a"), other), [static("a")])) == "label_conflict"


def test_the_words_of_refusals() -> None:
    """The one test of wording: all other tests assert codes."""
    twin = off("b", virt.seclabel("static", OWN))
    (refused,) = plan(survey(off("a"), twin), [static("a")]).refused
    assert refused.as_dict() == {
        "subject": "guest a",
        "why": f"its label {OWN} has the categories that guest b is defined with ({OWN}); give it one of its own",
        "code": "label_conflict",
    }


def test_labels_that_share_a_category_do_not_meet() -> None:
    planned = plan(survey(off("a"), on("b", process=process_label("s0:c40,c301"))), [static("a")])
    assert len(planned.changes) == 1


def test_a_faulty_neighbour_does_not_hold_a_label_back() -> None:
    neighbours = (on("b", process=DAEMON), on("c", process=process_label("s0:c0.c1023")), on("d", process=None))
    assert len(plan(survey(off("a"), *neighbours), [static("a")]).changes) == 1


def test_of_two_requests_that_meet_the_first_stands() -> None:
    planned = plan(survey(off("a"), off("b")), [static("b"), static("a")])
    assert [change.name for change in planned.changes] == ["b"]
    assert [refused.subject for refused in planned.refused] == ["guest a"]
    assert planned.refused[0].reason.code == "label_conflict"


def test_a_label_that_another_guest_gives_up() -> None:
    a, b = off("a"), off("b", virt.seclabel("static", OWN))
    planned = plan(survey(a, b), [static("a"), static("b", OTHER)])
    assert [change.name for change in planned.changes] == ["a", "b"]
    taken = on("c", process=OTHER)
    planned = plan(survey(a, b, taken), [static("a"), static("b", OTHER)])
    assert planned.changes == []  # b has to keep its label, so a cannot have it
    assert [refused.subject for refused in planned.refused] == ["guest b", "guest a"]


@pytest.mark.parametrize(
    ("requests", "code"),
    [
        ([SeclabelRequest("zz", "dynamic")], "no_such_guest"),
        ([SeclabelRequest("a", "dynamic"), SeclabelRequest(virt.uuid("a"), "dynamic")], "named_twice"),
        ([SeclabelRequest("a", "static")], "static_without_label"),
        ([SeclabelRequest("a", "dynamic", OWN)], "label_without_static"),
        ([SeclabelRequest("a", "static", "s0:c1,c2")], "label_unreadable"),
        ([SeclabelRequest("a", "sticky")], "unknown_type"),
    ],
)
def test_what_cannot_be_meant(requests: list[SeclabelRequest], code: str) -> None:
    with pytest.raises(PlanError) as error:
        plan(survey(off("a")), requests)
    assert error.value.code == code


_FAULTY = (
    ("none", virt.seclabel("none"), "dynamic"),
    ("foreign_type", virt.seclabel("static", process_label("s0:c1,c2", "virtd_t")), "dynamic"),
    ("foreign_type", virt.seclabel("static", process_label("s0:c1,c2", "custom_t")), "dynamic"),
    (
        "foreign_type",
        "<seclabel type='dynamic' model='selinux'><baselabel>a:b:c_t:s0</baselabel></seclabel>",
        "dynamic",
    ),
    ("few_categories", virt.seclabel("static", process_label("s0:c5")), "dynamic"),
    ("wide", virt.seclabel("static", process_label("s0:c0.c1023")), "dynamic"),
    ("static_without_relabel", virt.seclabel("static", OWN, "no"), f"static {OWN}"),
)


@pytest.mark.parametrize(("repair", "label", "after"), _FAULTY)
def test_repairs(repair: str, label: str, after: str) -> None:
    host = survey(off("a", label))
    assert [step.after for step in plan(host, [], [repair]).plan] == [after]
    assert plan(host, [], [other for other in REPAIRS if other != repair]).plan == []
    assert plan(host, [SeclabelRequest("a", "dynamic")], [repair]).plan[0].after == "dynamic"


def test_a_repair_does_not_make_two_guests_meet() -> None:
    twins = [off(name, virt.seclabel("static", OWN, "no")) for name in ("a", "b")]
    planned = plan(survey(*twins), [], REPAIRS)
    assert planned.changes == []
    assert {refused.subject for refused in planned.refused} == {"guest a", "guest b"}


def test_xml_that_cannot_be_read_is_left_alone() -> None:
    planned = plan(survey(Definition("u", "a", inactive="<domain")), [], REPAIRS)
    assert refusal(planned) == "xml_unreadable"
    assert plan(survey(Definition("u", "a", inactive="<domain")), [], []).refused == []


@pytest.mark.parametrize(
    ("guest", "code"),
    [
        (on("a", virt.seclabel("static", OWN), process=OWN), None),
        (on("a", virt.seclabel("static", OWN), process=OTHER), "runs_with_other_label"),
        (on("a", process=process_label("s0:c1,c2")), None),
        (on("a", process=DAEMON), "runs_unconfined"),
        (on("a", process=process_label("s0:c1")), "runs_unconfined"),
        (on("a", live=virt.seclabel("static", OWN), process=OWN), "runs_with_static_label"),
        (on("a", virt.seclabel("none"), process=DAEMON), None),
        (
            on("a", virt.seclabel("static", OWN), virt.seclabel("static", OWN, "no"), OWN),
            "relabels_at_next_start",
        ),
        (on("a", process=None), None),
        (off("a"), None),
    ],
)
def test_who_waits_for_a_power_cycle(guest: Definition, code: str | None) -> None:
    pending = [(entry.needs, entry.reason.code) for entry in plan(survey(guest), []).pending]
    assert pending == ([] if code is None else [("guest_power_cycle", code)])


def test_a_running_guest_gets_its_label_later() -> None:
    planned = plan(survey(on("a", process=process_label("s0:c1,c2"))), [static("a")])
    assert len(planned.changes) == 1
    assert [entry.as_dict() for entry in planned.pending] == [
        {
            "subject": "guest a",
            "needs": "guest_power_cycle",
            "why": f"it runs as {process_label('s0:c1,c2')}; its definition says {OWN}",
            "code": "runs_with_other_label",
        }
    ]


@pytest.mark.parametrize("label", ["", virt.seclabel("static", OWN)])
def test_a_guest_with_a_managed_save_gets_its_label_after_that(label: str) -> None:
    planned = plan(survey(replace(off("a", label), managed_save=True)), [static("a")])
    assert [(item.subject, item.needs, item.reason.code) for item in planned.pending] == [
        ("guest a", "operator", "managed_save")
    ]


def test_the_diff_shows_labels_only() -> None:
    (diff,) = plan(survey(off("a")), [static("a")]).document(diff=True)["diff"]
    assert (diff["before_header"], diff["after"]) == ("guest a", f"static {OWN}\n")


def test_a_guest_outside_the_range_of_its_daemon_waits_for_a_power_cycle() -> None:
    wide = on("a", process=process_label("s0:c40,c300"))
    assert plan(survey(wide), []).pending == []
    narrow = replace(survey(wide), daemon="system_u:system_r:virtd_t:s0-s0:c0.c255")
    (waits,) = plan(narrow, []).pending
    assert (waits.subject, waits.needs, waits.reason.code) == ("guest a", "guest_power_cycle", "runs_outside_range")
    inside = replace(narrow, guests=[on("a", process=process_label("s0:c40,c200"))])
    assert plan(inside, []).pending == []
    assert plan(replace(narrow, daemon="system_u:system_r:virtd_t:s0:c5"), []).pending == []
