# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that are stopped and started: only those that were named and need it, and none after a failure."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import power_cycle
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import power_cycle as guest_power
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.guest_definitions import (
    LibvirtFacts,
    Session,
    survey,
)

from tests.unit.support import factory, virt

OWN = factory.process_label("s0:c40,c300,c600,c900")
FACTS = LibvirtFacts(True, frozenset(("svirt_t",)), factory.DAEMON)
MAC = "52:54:00:00:00:01"


@pytest.fixture
def host() -> virt.FakeHost:
    """Two guests that wait for a label, and three others: with the label, off, and transient."""
    fake_host = virt.FakeHost()
    fake_host.add(
        "static", virt.domain("static", virt.seclabel("static", OWN)), virt.domain("static"), process=factory.DAEMON
    )
    fake_host.add("dynamic", virt.domain("dynamic"), virt.domain("dynamic"), process=factory.DAEMON)
    fake_host.add("fine", virt.domain("fine"), virt.domain("fine"), process=factory.process_label("s0:c1,c2"))
    fake_host.add("off", virt.domain("off", virt.seclabel("static", OWN)))
    fake_host.add("transient", None, virt.domain("transient"), process=factory.DAEMON)
    return fake_host


def run(host: virt.FakeHost, *names: str, guarded: bool = False, **way: t.Any) -> dict[str, t.Any]:
    session = Session(host, host)
    found = survey(session, FACTS)
    method = guest_power.CycleMethod(**{"timeout": 0.05, "pause": 0.01, **way})
    result = power_cycle.plan(found, names, guarded, method.sure)
    outcome = guest_power.cycle(session, found, result.cycles, method)
    power_cycle.settle(result, outcome.left, outcome.failed, outcome.labels)
    return result.document()


def test_only_those_that_need_it(host: virt.FakeHost) -> None:
    result = run(host, "static", "dynamic", "fine", "off", "static")
    assert host.calls == ["shutdown static", "create static", "shutdown dynamic", "create dynamic"]
    assert [(line["subject"], line["from"], line["to"]) for line in result["plan"]] == [
        ("guest static", factory.DAEMON, f"static {OWN}"),
        ("guest dynamic", factory.DAEMON, "dynamic (libvirt's default)"),
    ]
    assert [state["label"] for state in result["before"]] == [factory.DAEMON] * 2
    assert [state["label"] for state in result["after"]] == [OWN, factory.process_label("s0:c900,c901")]
    assert (result["changed"], result["refused"], result["pending"]) == (True, [], [])
    host.calls.clear()
    assert run(host, "static", "dynamic", "fine", "off")["changed"] is False
    assert host.calls == []


def test_a_filter_that_waits(host: virt.FakeHost) -> None:
    reference = "<filterref filter='clean-traffic'/>"
    host.add(
        "wire",
        virt.domain("wire", cards=virt.card(MAC, reference)),
        virt.domain("wire", cards=virt.card(MAC)),
        process=factory.process_label("s0:c3,c4"),
    )
    result = run(host, "wire")
    assert "clean-traffic" in result["plan"][0]["why"]
    assert run(host, "wire")["changed"] is False


def test_a_guest_with_several_needs_is_cycled_once_and_says_all(host: virt.FakeHost) -> None:
    macs = [MAC, "52:54:00:00:00:02"]
    now = "".join(virt.card(mac) for mac in macs)
    then = "".join(virt.card(mac, "<filterref filter='clean-traffic'/>") for mac in macs)
    host.add("much", virt.domain("much", cards=then), virt.domain("much", cards=now), process=factory.DAEMON)
    result = run(host, "much")
    assert host.calls == ["shutdown much", "create much"]
    (why,) = [line["why"] for line in result["plan"]]
    assert [part.split(" ")[0] for part in why.split("; ")] == ["it", "its", "interface", "interface"]


def test_who_must_not_be_cycled(host: virt.FakeHost) -> None:
    host.guests[virt.uuid("static")].saved = True
    host.add("odd", "<domain", virt.domain("odd"), process=factory.DAEMON)
    result = run(host, "transient", "static", "odd")
    assert [refusal["subject"] for refusal in result["refused"]] == ["guest transient", "guest static", "guest odd"]
    assert host.calls == []


def test_a_name_that_stands_for_no_guest(host: virt.FakeHost) -> None:
    result = survey(Session(host, host), FACTS)
    assert power_cycle.absent(result, ["nobody", "static", "nobody", virt.uuid("fine")]) == ["nobody"]
    assert run(host, "nobody", "dynamic")["changed"] is True
    assert host.calls == ["shutdown dynamic", "create dynamic"]


def test_a_guest_that_does_not_shut_down_runs_on(host: virt.FakeHost) -> None:
    host.guests[virt.uuid("static")].answers_acpi = False
    result = run(host, "static", "dynamic")
    assert host.calls == ["shutdown static", "shutdown dynamic", "create dynamic"]
    assert result["refused"][0]["code"] == "does_not_shut_down"
    assert [(one["subject"], one["needs"]) for one in result["pending"]] == [("guest static", "guest_power_cycle")]
    assert [state["label"] for state in result["after"]] == [factory.DAEMON, factory.process_label("s0:c900,c901")]
    assert "not_made" not in result


@pytest.mark.parametrize(
    ("way", "calls"),
    [
        ({"force": True}, ["shutdown static", "destroy static", "create static"]),
        ({"method": "destroy"}, ["destroy static", "create static"]),
    ],
)
def test_a_guest_may_be_ended_when_that_was_asked_for(
    host: virt.FakeHost, way: dict[str, t.Any], calls: list[str]
) -> None:
    host.guests[virt.uuid("static")].answers_acpi = False
    assert run(host, "static", **way)["changed"] is True
    assert host.calls == calls


def test_after_a_guest_that_does_not_start_no_other_is_stopped(host: virt.FakeHost) -> None:
    host.guests[virt.uuid("static")].starts = False
    result = run(host, "static", "dynamic")
    assert host.calls == ["shutdown static", "create static"]
    assert [(one["subject"], one["code"]) for one in result["not_made"]] == [("guest static", "does_not_start")]
    assert [one["subject"] for one in result["refused"]] == ["guest dynamic"]


@pytest.mark.parametrize(
    ("name", "label", "code"),
    [
        ("static", factory.process_label("s0:c1,c2"), "started_with_other_label"),
        ("dynamic", factory.DAEMON, "started_unconfined"),
        ("dynamic", None, "label_unreadable"),
    ],
)
def test_a_guest_that_starts_with_a_wrong_label(host: virt.FakeHost, name: str, label: str | None, code: str) -> None:
    guest = host.guests[virt.uuid(name)]
    create = guest.create

    def wrong() -> None:
        create()
        guest.process = label

    guest.create = wrong  # type: ignore[method-assign]  # a start that goes wrong
    assert run(host, name)["not_made"][0]["code"] == code


def test_what_somebody_else_did_meanwhile(host: virt.FakeHost) -> None:
    session = Session(host, host)
    result = survey(session, FACTS)
    cycles = power_cycle.plan(result, ["static", "dynamic"]).cycles
    host.guests[virt.uuid("static")].process = OWN
    del host.guests[virt.uuid("dynamic")]
    outcome = guest_power.cycle(session, result, cycles, guest_power.CycleMethod())
    assert [reason.code for reason in outcome.left.values()] == ["changed_meanwhile"] * 2
    assert host.calls == []


def test_a_guest_that_libvirt_cannot_ask(host: virt.FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: virt.FakeGuest, *_flags: int) -> None:
        raise virt.Error("domain is paused")

    monkeypatch.setattr(virt.FakeGuest, "shutdown", refuse)
    assert "domain is paused" in run(host, "static")["refused"][0]["why"]
    monkeypatch.setattr(virt.FakeGuest, "destroyFlags", refuse)
    assert run(host, "static", force=True)["refused"][0]["code"] == "does_not_stop"


# -- a guard that lets nobody start beside a guest that reaches all ----------------------------------------------------


@pytest.fixture
def mixed() -> virt.FakeHost:
    """Two guests that run unconfined, a guest that waits for its static label, and a sound guest."""
    fake_host = virt.FakeHost()
    held, other = factory.process_label("s0:c1,c2"), factory.process_label("s0:c3,c4")
    fake_host.add("calm", virt.domain("calm", virt.seclabel("static", OWN)), virt.domain("calm"), process=held)
    fake_host.add("wild", virt.domain("wild"), virt.domain("wild"), process=factory.DAEMON)
    fake_host.add("wide", virt.domain("wide"), virt.domain("wide"), process=factory.process_label("s0"))
    fake_host.add("fine", virt.domain("fine"), virt.domain("fine"), process=other)
    return fake_host


def test_who_stands_in_everybodys_way_is_cycled_first(mixed: virt.FakeHost) -> None:
    mixed.guests[virt.uuid("wide")].live = None
    assert run(mixed, "calm", "wild", guarded=True)["refused"] == []
    assert mixed.calls == ["shutdown wild", "create wild", "shutdown calm", "create calm"]


def test_several_of_them_are_off_before_the_first_one_starts(mixed: virt.FakeHost) -> None:
    assert run(mixed, "calm", "wide", "wild", guarded=True, force=True)["refused"] == []
    assert mixed.calls == [
        *("shutdown wide", "shutdown wild", "create wide", "create wild"),
        *("shutdown calm", "create calm"),
    ]


def test_nobody_is_stopped_who_might_not_get_back(mixed: virt.FakeHost) -> None:
    result = run(mixed, "calm", "wide", "wild", guarded=True)
    assert {one["subject"] for one in result["refused"]} == {"guest calm", "guest wide", "guest wild"}
    assert result["refused"][0]["code"] == "must_be_off_together"
    assert {one["subject"] for one in result["pending"]} == {"guest calm", "guest wide", "guest wild"}
    result = run(mixed, "calm", guarded=True)
    assert result["refused"][0]["code"] == "guest_in_the_way"
    assert mixed.calls == []
    assert run(mixed, "calm", "wide", "wild")["refused"] == []  # without a guard, libvirt lets them
    assert mixed.calls[:2] == ["shutdown calm", "create calm"]


def test_after_a_guest_that_stands_in_the_way_and_does_not_stop_nobody_is_stopped(mixed: virt.FakeHost) -> None:
    mixed.guests[virt.uuid("wide")].live = None
    mixed.guests[virt.uuid("wild")].answers_acpi = False
    result = run(mixed, "calm", "wild", guarded=True)
    assert mixed.calls == ["shutdown wild"]
    assert result["refused"][1]["code"] == "blocked"
    assert result["changed"] is False


@pytest.mark.parametrize("guarded", [False, True])
def test_a_guest_whose_label_another_ones_would_hold_is_not_stopped(mixed: virt.FakeHost, guarded: bool) -> None:
    for name in ("wild", "wide"):
        mixed.guests[virt.uuid(name)].live = None
    mixed.add("twin", virt.domain("twin"), virt.domain("twin"), process=OWN)
    result = run(mixed, "calm", guarded=guarded)
    assert result["refused"][0]["code"] == "guest_in_the_way"
    assert mixed.calls == []


def test_a_definition_that_the_guard_would_not_let_start(mixed: virt.FakeHost) -> None:
    for name in ("wild", "wide"):
        mixed.guests[virt.uuid(name)].live = None
    cards = (virt.card(MAC, "<filterref filter='clean-traffic'/>"), virt.card(MAC))
    mixed.add(
        "none", virt.domain("none", virt.seclabel("none"), cards[0]), virt.domain("none", cards=cards[1]), process=OWN
    )
    assert run(mixed, "none", guarded=True)["refused"][0]["code"] == "guard_would_refuse"
    assert mixed.calls == []


def test_categories_that_were_drawn_by_bad_luck_are_drawn_again(mixed: virt.FakeHost) -> None:
    for name in ("wild", "wide"):
        mixed.guests[virt.uuid(name)].live = None
    guest = mixed.add("luck", virt.domain("luck"), virt.domain("luck"), process=OWN)
    create, tries = guest.create, iter([False, True])

    def start() -> None:
        guest.starts = next(tries)
        create()

    guest.create = start  # type: ignore[method-assign]  # a hook that refuses once
    mixed.guests[virt.uuid("luck")].live = virt.domain("luck", virt.seclabel("static", OWN))
    assert "not_made" not in run(mixed, "luck", guarded=True)
    assert mixed.calls == ["shutdown luck", "create luck", "create luck"]
