# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which interface gets which filter, in its guest's definition and live."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.guest_definition import (
    Define,
    Definition,
    GuestPlan,
    LiveFilter,
    Survey,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.network_filter import (
    FilterChoice,
    FilterRequest,
    choices_of,
    excluded,
    parameters_of,
    plan,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.domain_edit import Filter, cards
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Network, NetworkFilter

from tests.unit.support import factory, virt

MAC, SECOND = "52:54:00:00:00:01", "52:54:00:00:00:02"
LEARNT = "clean-traffic CTRL_IP_LEARNING=any"
IP = (("IP", "192.0.2.1"),)


def ref(name: str = "clean-traffic", **parameters: str) -> str:
    inside = "".join(f"<parameter name='{key}' value='{value}'/>" for key, value in parameters.items())
    return f"<filterref filter='{name}'>{inside}</filterref>"


def off(*interfaces: str, name: str = "a", kind: str = "kvm") -> Definition:
    return Definition(virt.uuid(name), name, inactive=virt.domain(name, cards="".join(interfaces), kind=kind))


def on(persistent: str, live: str, name: str = "a") -> Definition:
    return Definition(
        virt.uuid(name), name, True, virt.domain(name, cards=persistent), virt.domain(name, cards=live), None
    )


def survey(*guests: Definition, filters: list[NetworkFilter] | None = None) -> Survey:
    own = NetworkFilter("own", references=["allow-all"])
    return Survey(
        list(guests),
        filters=[*factory.filters(), own, NetworkFilter("allow-all")] if filters is None else filters,
        networks=[Network("lan", "bridge", "br0"), Network("macvtap", "bridge")],
    )


def lines(made: GuestPlan) -> list[tuple[str, str, t.Any, t.Any]]:
    return [(step.subject.split()[1], step.extra["where"], step.before, step.after) for step in made.plan]


def refusals(made: GuestPlan) -> list[str]:
    return [refused.reason.code for refused in made.refused]


def test_every_bridged_interface_of_all_guests() -> None:
    network = virt.card(SECOND, kind="network", source="network='lan'")
    planned = plan(survey(off(virt.card(MAC), network), on(virt.card(MAC), virt.card(MAC), "b")), FilterRequest())
    assert lines(planned) == [
        (MAC, "persistent", None, LEARNT),
        (SECOND, "persistent", None, LEARNT),
        (MAC, "persistent", None, LEARNT),
        (MAC, "live", None, LEARNT),
    ]
    assert [type(change) for change in planned.changes] == [
        Define,
        Define,
        LiveFilter,
    ]  # one definition for both interfaces
    first = planned.changes[0]
    assert isinstance(first, Define)
    assert [card.filter for card in cards(first.after)] == [Filter("clean-traffic", (("CTRL_IP_LEARNING", "any"),))] * 2
    assert (planned.refused, planned.pending) == ([], [])
    assert planned.before[0] == {"guest": "a", "uuid": virt.uuid("a"), "mac": MAC, "persistent": None, "live": None}
    assert planned.after[2]["live"] == LEARNT


def test_a_second_run_finds_nothing_to_do() -> None:
    have = virt.card(MAC, ref(CTRL_IP_LEARNING="any"))
    planned = plan(survey(on(have, have), off(virt.card(SECOND, ref(IP="192.0.2.7")), name="b")), FilterRequest())
    assert (planned.plan, planned.changes) == ([], [])
    assert planned.before == planned.after
    assert len(planned.before) == 2


@pytest.mark.parametrize(
    ("current", "after"),
    [
        (ref(), LEARNT),
        (ref("no-mac-spoofing"), LEARNT),
        (ref("no-mac-spoofing", IP="192.0.2.1", FOO="x"), "clean-traffic IP=192.0.2.1"),
        (ref("no-ip-spoofing", CTRL_IP_LEARNING="dhcp"), "clean-traffic CTRL_IP_LEARNING=dhcp"),
    ],
)
def test_what_does_not_hold_gives_way(current: str, after: str) -> None:
    ((_mac, _where, _before, found),) = lines(plan(survey(off(virt.card(MAC, current))), FilterRequest()))
    assert found == after


def test_a_sound_filter_of_ones_own_stays() -> None:
    sound = NetworkFilter("ours", references=["clean-traffic"])
    host = survey(off(virt.card(MAC, ref("ours", IP="192.0.2.1"))), filters=[*factory.filters(), sound])
    assert plan(host, FilterRequest()).plan == []


def test_a_weak_filter_of_ones_own_is_reported_and_left_alone() -> None:
    planned = plan(survey(off(virt.card(MAC, ref("own")))), FilterRequest())
    assert planned.plan == []
    assert refusals(planned) == ["weak_filter"]
    chosen = FilterRequest(choices=(FilterChoice("a", MAC, parameters=IP),))
    assert lines(plan(survey(off(virt.card(MAC, ref("own")))), chosen)) == [
        (MAC, "persistent", "own", "clean-traffic IP=192.0.2.1")
    ]


def test_one_definition_follows_the_other() -> None:
    good = virt.card(MAC, ref(IP="192.0.2.1"))
    assert lines(plan(survey(on(virt.card(MAC), good)), FilterRequest())) == [
        (MAC, "persistent", None, "clean-traffic IP=192.0.2.1")
    ]
    assert lines(plan(survey(on(good, virt.card(MAC))), FilterRequest())) == [
        (MAC, "live", None, "clean-traffic IP=192.0.2.1")
    ]


def test_choices_for_a_guest_and_for_one_of_its_interfaces() -> None:
    request = FilterRequest(
        choices=(FilterChoice("a", None, "no-mac-spoofing", ()), FilterChoice("a", SECOND, None, IP))
    )
    planned = plan(survey(off(virt.card(MAC), virt.card(SECOND)), off(virt.card(MAC), name="b")), request)
    assert lines(planned) == [
        (MAC, "persistent", None, "no-mac-spoofing"),  # its own risk, and asked for
        (SECOND, "persistent", None, "clean-traffic IP=192.0.2.1"),
        (MAC, "persistent", None, LEARNT),
    ]


def test_addresses_in_any_order_are_the_same() -> None:
    current = "<filterref filter='clean-traffic'><parameter name='IP' value='192.0.2.2'/>"
    current += "<parameter name='IP' value='192.0.2.1'/></filterref>"
    request = FilterRequest(choices=(FilterChoice("a", MAC, None, parameters_of({"IP": ["192.0.2.1", "192.0.2.2"]})),))
    assert plan(survey(off(virt.card(MAC, current))), request).plan == []


def test_who_is_left_out() -> None:
    guests = (off(virt.card(MAC), virt.card(SECOND)), off(virt.card(MAC), name="b"))
    planned = plan(survey(*guests), FilterRequest(exclude=frozenset(excluded(["b", SECOND.upper()]))))
    assert [step.subject for step in planned.plan] == [f"interface {MAC} of guest a"]
    assert plan(survey(*guests), FilterRequest(exclude=frozenset((virt.uuid("a"), "b")))).plan == []


@pytest.mark.parametrize(
    "card",
    [
        virt.card(MAC, kind="user", source="dev='lo'"),
        virt.card(MAC, kind="direct", source="dev='eth0' mode='bridge'"),
        virt.card(MAC, kind="hostdev", source="dev='x'"),
        virt.card(MAC, kind="vhostuser", source="path='/x'"),
        virt.card(MAC, kind="udp", source="address='x'"),
        virt.card(MAC, kind="network", source="network='macvtap'"),
        virt.card(MAC, more="<virtualport type='openvswitch'/>"),
    ],
)
def test_what_has_no_bridge_is_refused_only_when_it_is_named(card: str) -> None:
    planned = plan(survey(off(card)), FilterRequest())
    assert (planned.plan, planned.refused, planned.before) == ([], [], [])
    named = plan(survey(off(card)), FilterRequest(choices=(FilterChoice("a", MAC),)))
    assert (named.plan, len(named.refused)) == ([], 1)


def test_a_network_that_hands_out_devices_shows_in_live_xml() -> None:
    host = survey(
        on(virt.card(MAC, kind="network", source="network='?'"), virt.card(MAC, kind="direct", source="dev='eth0'"))
    )
    assert plan(host, FilterRequest()).plan == []


def test_a_running_guest_is_not_cut_off_until_it_renews_its_lease() -> None:
    planned = plan(survey(on(virt.card(MAC), virt.card(MAC))), FilterRequest(learning="dhcp"))
    assert lines(planned) == [(MAC, "persistent", None, "clean-traffic CTRL_IP_LEARNING=dhcp")]
    assert [(entry.subject, entry.needs) for entry in planned.pending] == [
        (f"interface {MAC} of guest a", "guest_power_cycle")
    ]
    declared = FilterRequest(learning="dhcp", choices=(FilterChoice("a", MAC, None, IP),))
    assert len(plan(survey(on(virt.card(MAC), virt.card(MAC))), declared).plan) == 2


def test_no_guest_is_cut_off_now_or_later_where_libvirt_cannot_learn_its_address() -> None:
    there = survey(on(virt.card(MAC), virt.card(MAC)), off(virt.card(SECOND), name="b"))
    there.deaf = "the policy is against it"
    planned = plan(there, FilterRequest())
    assert (planned.plan, planned.changes, planned.pending) == ([], [], [])
    assert [refused.subject.split()[1] for refused in planned.refused] == [MAC, SECOND]
    assert refusals(planned) == ["address_cannot_be_learnt"] * 2
    assert planned.refused[0].reason.text.startswith("the policy is against it: libvirt would drop all")
    declared = FilterRequest(choices=(FilterChoice("a", MAC, None, IP),), exclude=frozenset({"b"}))
    planned = plan(there, declared)
    assert [step.extra["where"] for step in planned.plan] == ["persistent", "live"]
    assert (planned.pending, planned.refused) == ([], [])


def test_live_changes_can_be_left_out() -> None:
    planned = plan(survey(on(virt.card(MAC), virt.card(MAC))), FilterRequest(live=False))
    assert [where for _mac, where, _before, _after in lines(planned)] == ["persistent"]
    assert [entry.reason.code for entry in planned.pending] == ["live_not_wanted"]
    assert planned.after[0]["live"] is None


def test_a_transient_guest_is_filtered_while_it_runs() -> None:
    guest = Definition(virt.uuid("a"), "a", True, None, virt.domain("a", cards=virt.card(MAC)))
    assert [where for _mac, where, _before, _after in lines(plan(survey(guest), FilterRequest()))] == ["live"]


def test_another_hypervisors_guest_is_none_of_ours() -> None:
    assert plan(survey(off(virt.card(MAC), kind="lxc")), FilterRequest()).plan == []


def test_interfaces_that_cannot_be_distinguished() -> None:
    planned = plan(survey(off(virt.card(MAC), virt.card(MAC))), FilterRequest())
    assert (planned.changes, refusals(planned)) == ([], ["xml_unreadable"])


def test_a_filter_that_was_weakened_on_the_host() -> None:
    filters = factory.filters()
    filters[0].references.remove("no-ip-spoofing")
    planned = plan(survey(off(virt.card(MAC, ref(IP="192.0.2.1"))), filters=filters), FilterRequest())
    assert planned.plan == []
    assert [(entry.subject, entry.needs) for entry in planned.pending] == [("filter clean-traffic", "operator")]


@pytest.mark.parametrize(
    ("requested", "code"),
    [
        (FilterRequest(filter="gone"), "no_such_filter"),
        (FilterRequest(choices=(FilterChoice("zz"),)), "no_such_guest"),
        (FilterRequest(choices=(FilterChoice("a", SECOND),)), "no_such_interface"),
        (FilterRequest(choices=(FilterChoice("a"), FilterChoice(virt.uuid("a")))), "named_twice"),
    ],
)
def test_what_cannot_be_meant(requested: FilterRequest, code: str) -> None:
    with pytest.raises(PlanError) as error:
        plan(survey(off(virt.card(MAC))), requested)
    assert error.value.code == code


def test_a_choice_of_a_filter_that_is_not_there() -> None:
    planned = plan(survey(off(virt.card(MAC))), FilterRequest(choices=(FilterChoice("a", MAC, "gone"),)))
    assert (planned.plan, refusals(planned)) == ([], ["no_such_filter"])


def test_filters_that_could_not_be_read() -> None:
    host = survey()
    host.filters = None
    with pytest.raises(PlanError) as error:
        plan(host, FilterRequest())
    assert error.value.code == "filters_unreadable"


def test_parameters() -> None:
    assert parameters_of({"IP": ["192.0.2.1", "192.0.2.2"], "DHCPSERVER": "192.0.2.9"}) == (
        ("DHCPSERVER", "192.0.2.9"),
        ("IP", "192.0.2.1"),
        ("IP", "192.0.2.2"),
    )


@pytest.mark.parametrize(
    "given",
    [{"IP": "255.255.255.255"}, {"IP": "224.0.0.1"}, {"IP": "::1"}, {"IP": "x"}, {"A-B": "1"}, {"A": "'/>"}, {"A": ""}],
)
def test_parameters_that_libvirt_would_not_take(given: dict[str, str]) -> None:
    with pytest.raises(PlanError):
        parameters_of(given)


def test_choices_as_a_playbook_gives_them() -> None:
    given: list[dict[str, t.Any]] = [
        {
            "guest": "a",
            "filter": "own",
            "parameters": None,
            "interfaces": [{"mac": "52:54:00:AA:00:01", "filter": None, "parameters": {"IP": "192.0.2.1"}}],
        },
        {"guest": "b", "filter": None, "parameters": None, "interfaces": []},
    ]
    assert list(choices_of(given)) == [FilterChoice("a", None, "own"), FilterChoice("a", "52:54:00:aa:00:01", None, IP)]
    with pytest.raises(PlanError) as error:
        list(choices_of([{**given[1], "interfaces": [{"mac": "x", "filter": None, "parameters": None}]}]))
    assert error.value.code == "bad_mac"
    with pytest.raises(PlanError) as error:
        list(choices_of([{**given[1], "filter": ""}]))
    assert error.value.code == "bad_filter_name"
