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
    Live,
    Plan,
    Survey,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.network_filter import (
    Choice,
    Wishes,
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


def lines(made: Plan) -> list[tuple[str, str, t.Any, t.Any]]:
    return [(line["subject"].split()[1], line["where"], line["from"], line["to"]) for line in made.lines]


def refusals(made: Plan) -> list[str]:
    return [one["why"] for one in made.refused]


def test_every_bridged_interface_of_all_guests() -> None:
    network = virt.card(SECOND, kind="network", source="network='lan'")
    made = plan(survey(off(virt.card(MAC), network), on(virt.card(MAC), virt.card(MAC), "b")), Wishes())
    assert lines(made) == [
        (MAC, "persistent", None, LEARNT),
        (SECOND, "persistent", None, LEARNT),
        (MAC, "persistent", None, LEARNT),
        (MAC, "live", None, LEARNT),
    ]
    assert [type(step) for step in made.steps] == [Define, Define, Live]  # one definition for both interfaces
    first = made.steps[0]
    assert isinstance(first, Define)
    assert [card.filter for card in cards(first.after)] == [Filter("clean-traffic", (("CTRL_IP_LEARNING", "any"),))] * 2
    assert (made.refused, made.pending) == ([], [])
    assert made.before[0] == {"guest": "a", "uuid": virt.uuid("a"), "mac": MAC, "persistent": None, "live": None}
    assert made.after[2]["live"] == LEARNT


def test_a_second_run_finds_nothing_to_do() -> None:
    have = virt.card(MAC, ref(CTRL_IP_LEARNING="any"))
    made = plan(survey(on(have, have), off(virt.card(SECOND, ref(IP="192.0.2.7")), name="b")), Wishes())
    assert (made.lines, made.steps) == ([], [])
    assert made.before == made.after
    assert len(made.before) == 2


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
    ((_mac, _where, _before, found),) = lines(plan(survey(off(virt.card(MAC, current))), Wishes()))
    assert found == after


def test_a_sound_filter_of_ones_own_stays() -> None:
    sound = NetworkFilter("ours", references=["clean-traffic"])
    host = survey(off(virt.card(MAC, ref("ours", IP="192.0.2.1"))), filters=[*factory.filters(), sound])
    assert plan(host, Wishes()).lines == []


def test_a_weak_filter_of_ones_own_is_told_and_left_alone() -> None:
    made = plan(survey(off(virt.card(MAC, ref("own")))), Wishes())
    assert made.lines == []
    (why,) = refusals(made)
    assert why.startswith("it has the filter own: it lets the guest forge MAC addresses")
    chosen = Wishes(choices=(Choice("a", MAC, parameters=IP),))
    assert lines(plan(survey(off(virt.card(MAC, ref("own")))), chosen)) == [
        (MAC, "persistent", "own", "clean-traffic IP=192.0.2.1")
    ]


def test_one_definition_follows_the_other() -> None:
    good = virt.card(MAC, ref(IP="192.0.2.1"))
    assert lines(plan(survey(on(virt.card(MAC), good)), Wishes())) == [
        (MAC, "persistent", None, "clean-traffic IP=192.0.2.1")
    ]
    assert lines(plan(survey(on(good, virt.card(MAC))), Wishes())) == [
        (MAC, "live", None, "clean-traffic IP=192.0.2.1")
    ]


def test_choices_for_a_guest_and_for_one_of_its_interfaces() -> None:
    wishes = Wishes(choices=(Choice("a", None, "no-mac-spoofing", ()), Choice("a", SECOND, None, IP)))
    made = plan(survey(off(virt.card(MAC), virt.card(SECOND)), off(virt.card(MAC), name="b")), wishes)
    assert lines(made) == [
        (MAC, "persistent", None, "no-mac-spoofing"),  # its own risk, and asked for
        (SECOND, "persistent", None, "clean-traffic IP=192.0.2.1"),
        (MAC, "persistent", None, LEARNT),
    ]


def test_addresses_in_any_order_are_the_same() -> None:
    current = "<filterref filter='clean-traffic'><parameter name='IP' value='192.0.2.2'/>"
    current += "<parameter name='IP' value='192.0.2.1'/></filterref>"
    wishes = Wishes(choices=(Choice("a", MAC, None, parameters_of({"IP": ["192.0.2.1", "192.0.2.2"]})),))
    assert plan(survey(off(virt.card(MAC, current))), wishes).lines == []


def test_who_is_left_out() -> None:
    guests = (off(virt.card(MAC), virt.card(SECOND)), off(virt.card(MAC), name="b"))
    made = plan(survey(*guests), Wishes(exclude=frozenset(excluded(["b", SECOND.upper()]))))
    assert [(line["subject"]) for line in made.lines] == [f"interface {MAC} of guest a"]
    assert plan(survey(*guests), Wishes(exclude=frozenset((virt.uuid("a"), "b")))).lines == []


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
    made = plan(survey(off(card)), Wishes())
    assert (made.lines, made.refused, made.before) == ([], [], [])
    named = plan(survey(off(card)), Wishes(choices=(Choice("a", MAC),)))
    assert (named.lines, len(named.refused)) == ([], 1)


def test_a_network_that_hands_out_devices_shows_in_live_xml() -> None:
    host = survey(
        on(virt.card(MAC, kind="network", source="network='?'"), virt.card(MAC, kind="direct", source="dev='eth0'"))
    )
    assert plan(host, Wishes()).lines == []


def test_a_running_guest_is_not_cut_off_until_it_renews_its_lease() -> None:
    made = plan(survey(on(virt.card(MAC), virt.card(MAC))), Wishes(learning="dhcp"))
    assert lines(made) == [(MAC, "persistent", None, "clean-traffic CTRL_IP_LEARNING=dhcp")]
    assert [(one["subject"], one["needs"]) for one in made.pending] == [
        (f"interface {MAC} of guest a", "guest_power_cycle")
    ]
    declared = Wishes(learning="dhcp", choices=(Choice("a", MAC, None, IP),))
    assert len(plan(survey(on(virt.card(MAC), virt.card(MAC))), declared).lines) == 2


def test_no_guest_is_cut_off_now_or_later_where_libvirt_cannot_learn_its_address() -> None:
    there = survey(on(virt.card(MAC), virt.card(MAC)), off(virt.card(SECOND), name="b"))
    there.deaf = "the policy is against it"
    made = plan(there, Wishes())
    assert (made.lines, made.steps, made.pending) == ([], [], [])
    assert [item["subject"].split()[1] for item in made.refused] == [MAC, SECOND]
    assert all(item["why"].startswith("the policy is against it: ") for item in made.refused)
    declared = Wishes(choices=(Choice("a", MAC, None, IP),), exclude=frozenset({"b"}))
    made = plan(there, declared)
    assert [line["where"] for line in made.lines] == ["persistent", "live"]
    assert (made.pending, made.refused) == ([], [])


def test_live_changes_can_be_left_out() -> None:
    made = plan(survey(on(virt.card(MAC), virt.card(MAC))), Wishes(live=False))
    assert [where for _mac, where, _before, _after in lines(made)] == ["persistent"]
    assert [one["needs"] for one in made.pending] == ["guest_power_cycle"]
    assert made.after[0]["live"] is None


def test_a_transient_guest_is_filtered_while_it_runs() -> None:
    guest = Definition(virt.uuid("a"), "a", True, None, virt.domain("a", cards=virt.card(MAC)))
    assert [where for _mac, where, _before, _after in lines(plan(survey(guest), Wishes()))] == ["live"]


def test_another_hypervisors_guest_is_none_of_ours() -> None:
    assert plan(survey(off(virt.card(MAC), kind="lxc")), Wishes()).lines == []


def test_interfaces_that_cannot_be_told_apart() -> None:
    made = plan(survey(off(virt.card(MAC), virt.card(MAC))), Wishes())
    assert (made.steps, refusals(made)) == ([], [f"two interfaces have the MAC address {MAC}; give each its own"])


def test_a_filter_that_was_weakened_on_the_host() -> None:
    filters = factory.filters()
    filters[0].references.remove("no-ip-spoofing")
    made = plan(survey(off(virt.card(MAC, ref(IP="192.0.2.1"))), filters=filters), Wishes())
    assert made.lines == []
    assert [(one["subject"], one["needs"]) for one in made.pending] == [("filter clean-traffic", "operator")]


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        (Wishes(filter="gone"), "does not define the filter"),
        (Wishes(choices=(Choice("zz"),)), "no guest 'zz'"),
        (Wishes(choices=(Choice("a", SECOND),)), f"no interface {SECOND}; it has: {MAC}"),
        (Wishes(choices=(Choice("a"), Choice(virt.uuid("a")))), "named twice"),
    ],
)
def test_what_cannot_be_meant(wishes: Wishes, told: str) -> None:
    with pytest.raises(PlanError, match=told):
        plan(survey(off(virt.card(MAC))), wishes)


def test_a_choice_of_a_filter_that_is_not_there() -> None:
    made = plan(survey(off(virt.card(MAC))), Wishes(choices=(Choice("a", MAC, "gone"),)))
    assert (made.lines, refusals(made)) == ([], ["filter 'gone': this host does not define the filter"])


def test_filters_that_could_not_be_read() -> None:
    host = survey()
    host.filters = None
    with pytest.raises(PlanError, match="could not be read"):
        plan(host, Wishes())


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
    assert list(choices_of(given)) == [Choice("a", None, "own"), Choice("a", "52:54:00:aa:00:01", None, IP)]
    with pytest.raises(PlanError, match="not a MAC"):
        list(choices_of([{**given[1], "interfaces": [{"mac": "x", "filter": None, "parameters": None}]}]))
    with pytest.raises(PlanError, match="not the name of a filter"):
        list(choices_of([{**given[1], "filter": ""}]))
