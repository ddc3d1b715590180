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
    Plan,
    Survey,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.seclabel import REPAIRS, Wish, plan
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


def static(guest: str, label: str = OWN) -> Wish:
    return Wish(guest, "static", label)


def lines(made: Plan) -> list[tuple[t.Any, ...]]:
    return [(line["subject"], line["from"], line["to"]) for line in made.lines]


def refusal(made: Plan) -> str:
    assert made.steps == []
    (one,) = made.refused
    return one["why"]


def test_a_static_label() -> None:
    made = plan(survey(off("a")), [static("a")])
    assert lines(made) == [("guest a", "dynamic (libvirt's default)", f"static {OWN}")]
    assert made.steps == [
        Define(
            virt.uuid("a"),
            "a",
            virt.domain("a"),
            virt.domain("a").replace("</domain>", virt.seclabel("static", OWN) + "</domain>"),
        )
    ]
    state = {"guest": "a", "uuid": virt.uuid("a")}
    assert made.before == [{**state, "type": "dynamic", "label": None, "relabel": True}]
    assert made.after == [{**state, "type": "static", "label": OWN, "relabel": True}]


def test_what_is_there_is_not_written_again() -> None:
    mixed = process_label("s0:c900,c40,c600,c300")
    guests = (off("a", virt.seclabel("static", mixed)), off("b"), off("c", virt.seclabel("dynamic")))
    made = plan(survey(*guests), [static("a"), Wish("b", "dynamic"), Wish(virt.uuid("c"), "dynamic")], REPAIRS)
    assert (made.steps, made.lines, made.refused) == ([], [], [])
    assert made.before == made.after
    assert made.result()["changed"] is False


@pytest.mark.parametrize(
    ("label", "found"),
    [
        (virt.seclabel("none"), "none"),
        (virt.seclabel("static", OWN), f"static {OWN}"),
        (virt.seclabel("dynamic").replace("/>", "><baselabel>a:b:c_t:s0</baselabel></seclabel>"), "baselabel"),
    ],
)
def test_back_to_dynamic(label: str, found: str) -> None:
    made = plan(survey(off("a", label)), [Wish("a", "dynamic")])
    ((subject, before, after),) = lines(made)
    assert (subject, after) == ("guest a", "dynamic")
    assert found in before


@pytest.mark.parametrize(
    ("guest", "wish", "told"),
    [
        (Definition("u", "a", True, None, virt.domain("a")), static("a"), "it is transient"),
        (off("a"), Wish("a", "none"), "type none is refused"),
        (off("a"), static("a", process_label("s0:c1,c2", "svirt_tcg_t")), "kind kvm the type svirt_t"),
        (off("a", kind="qemu"), static("a"), "kind qemu the type svirt_tcg_t"),
        (off("a", kind="lxc"), static("a"), "no label for guests of kind 'lxc'"),
        (off("a"), static("a", process_label("s0")), "fewer than two"),
        (off("a"), static("a", process_label("s0:c1")), "fewer than two"),
        (off("a"), static("a", process_label("s0:c0.c1023")), "so many"),
        (off("a"), static("a", process_label("s0-s0:c1,c2")), "give one level"),
    ],
)
def test_what_is_refused(guest: Definition, wish: Wish, told: str) -> None:
    assert told in refusal(plan(survey(guest), [wish]))


def test_without_the_driver_nothing_is_written() -> None:
    host = survey(off("a"), on("b", process="x"))
    host.models = [SecurityModel("dac")]
    made = plan(host, [static("a")])
    assert "without the SELinux driver" in refusal(made)
    assert made.pending == []


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (off("b", virt.seclabel("static", OWN)), "has the categories that guest b is defined with"),
        (off("b", virt.seclabel("static", OWN, "no")), "has the categories"),
        (on("b", process=process_label("s0:c40,c300")), "holds the categories that guest b runs with"),
        (on("b", process=process_label("s0:c40,c300,c600,c900,c901")), "lies within the categories"),
    ],
)
def test_labels_that_meet(other: Definition, told: str) -> None:
    assert told in refusal(plan(survey(off("a"), other), [static("a")]))


def test_labels_that_share_a_category_do_not_meet() -> None:
    made = plan(survey(off("a"), on("b", process=process_label("s0:c40,c301"))), [static("a")])
    assert len(made.steps) == 1


def test_a_faulty_neighbour_is_told_of_its_own_fault() -> None:
    neighbours = (on("b", process=DAEMON), on("c", process=process_label("s0:c0.c1023")), on("d", process=None))
    assert len(plan(survey(off("a"), *neighbours), [static("a")]).steps) == 1


def test_of_two_wishes_that_meet_the_first_stands() -> None:
    made = plan(survey(off("a"), off("b")), [static("b"), static("a")])
    assert [step.name for step in made.steps] == ["b"]
    assert [one["subject"] for one in made.refused] == ["guest a"]
    assert "guest b is given" in made.refused[0]["why"]


def test_a_label_that_another_guest_gives_up() -> None:
    a, b = off("a"), off("b", virt.seclabel("static", OWN))
    made = plan(survey(a, b), [static("a"), static("b", OTHER)])
    assert [step.name for step in made.steps] == ["a", "b"]
    taken = on("c", process=OTHER)
    made = plan(survey(a, b, taken), [static("a"), static("b", OTHER)])
    assert made.steps == []  # b has to keep its label, so a cannot have it
    assert [one["subject"] for one in made.refused] == ["guest b", "guest a"]


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        ([Wish("zz", "dynamic")], "no guest 'zz'"),
        ([Wish("a", "dynamic"), Wish(virt.uuid("a"), "dynamic")], "named twice"),
        ([Wish("a", "static")], "needs a label"),
        ([Wish("a", "dynamic", OWN)], "type static only"),
        ([Wish("a", "static", "s0:c1,c2")], "no level"),
        ([Wish("a", "sticky")], "none of dynamic, static, none"),
    ],
)
def test_what_cannot_be_meant(wishes: list[Wish], told: str) -> None:
    with pytest.raises(PlanError, match=told):
        plan(survey(off("a")), wishes)


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
    assert [line["to"] for line in plan(host, [], [repair]).lines] == [after]
    assert plan(host, [], [one for one in REPAIRS if one != repair]).lines == []
    assert plan(host, [Wish("a", "dynamic")], [repair]).lines[0]["to"] == "dynamic"


def test_a_repair_does_not_make_two_guests_meet() -> None:
    twins = [off(name, virt.seclabel("static", OWN, "no")) for name in ("a", "b")]
    made = plan(survey(*twins), [], REPAIRS)
    assert made.steps == []
    assert {one["subject"] for one in made.refused} == {"guest a", "guest b"}


def test_xml_that_cannot_be_read_is_left_alone() -> None:
    made = plan(survey(Definition("u", "a", inactive="<domain")), [], REPAIRS)
    assert "does not parse" in refusal(made)
    assert plan(survey(Definition("u", "a", inactive="<domain")), [], []).refused == []


@pytest.mark.parametrize(
    ("guest", "told"),
    [
        (on("a", virt.seclabel("static", OWN), process=OWN), None),
        (on("a", virt.seclabel("static", OWN), process=OTHER), "its definition says"),
        (on("a", process=process_label("s0:c1,c2")), None),
        (on("a", process=DAEMON), "lets libvirt choose"),
        (on("a", process=process_label("s0:c1")), "lets libvirt choose"),
        (on("a", live=virt.seclabel("static", OWN), process=OWN), "static label"),
        (on("a", virt.seclabel("none"), process=DAEMON), None),
        (on("a", virt.seclabel("static", OWN), virt.seclabel("static", OWN, "no"), OWN), "labels its files"),
        (on("a", process=None), None),
        (off("a"), None),
    ],
)
def test_who_waits_for_a_power_cycle(guest: Definition, told: str | None) -> None:
    made = plan(survey(guest), [])
    assert [one["needs"] for one in made.pending] == ([] if told is None else ["guest_power_cycle"])
    assert told is None or told in made.pending[0]["why"]


def test_a_running_guest_gets_its_label_later() -> None:
    made = plan(survey(on("a", process=process_label("s0:c1,c2"))), [static("a")])
    assert len(made.steps) == 1
    assert made.pending == [
        {
            "subject": "guest a",
            "needs": "guest_power_cycle",
            "why": f"it runs as {process_label('s0:c1,c2')}; its definition says {OWN}",
        }
    ]


def test_the_diff_shows_labels_only() -> None:
    (diff,) = plan(survey(off("a")), [static("a")]).result(diff=True)["diff"]
    assert (diff["before_header"], diff["after"]) == ("guest a", f"static {OWN}\n")


def test_a_guest_outside_the_range_of_its_daemon_waits_for_a_power_cycle() -> None:
    one = on("a", process=process_label("s0:c40,c300"))
    assert plan(survey(one), []).pending == []
    narrow = replace(survey(one), daemon="system_u:system_r:virtd_t:s0-s0:c0.c255")
    (waits,) = plan(narrow, []).pending
    assert (waits["subject"], waits["needs"]) == ("guest a", "guest_power_cycle")
    assert waits["why"] == f"it runs as {process_label('s0:c40,c300')}; libvirt draws from c0.c255 by now"
    inside = replace(narrow, guests=[on("a", process=process_label("s0:c40,c200"))])
    assert plan(inside, []).pending == []
    assert plan(replace(narrow, daemon="system_u:system_r:virtd_t:s0:c5"), []).pending == []
