# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network interfaces: a fault of an interface is reported once, whichever of its two definitions has it."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Interface, Network

from tests.unit.support import factory
from tests.unit.support.faults.case import guest
from tests.unit.support.faults.network import SUBJECT, card, filter_of
from tests.unit.support.judging import findings, found, status


def test_the_evidence_shows_both_definitions() -> None:
    snapshot = factory.host()
    guest(snapshot, "web").persistent_interfaces[0].filter = None
    (item,) = findings(snapshot)
    assert item.evidence == {"live": "clean-traffic IP=192.0.2.10", "persistent": None, "bridge": "br0"}


def test_the_worst_fault_speaks() -> None:
    snapshot = factory.host()
    card(snapshot).filter = "no-mac-spoofing"
    guest(snapshot, "web").persistent_interfaces[0].filter = None
    assert found(snapshot) == [("NET-001", "medium", SUBJECT)]
    guest(snapshot, "web").persistent_interfaces = [factory.card()]
    guest(snapshot, "web").persistent_interfaces[0].parameters = []
    assert found(snapshot) == [("NET-002", "medium", SUBJECT)]


def test_a_filter_that_was_redefined_is_for_people() -> None:
    snapshot = factory.host()
    filter_of(snapshot, "clean-traffic").references.remove("no-ip-spoofing")
    assert {(item.rule, item.cost) for item in findings(snapshot)} == {("NET-002", "operator")}
    snapshot = factory.host()
    card(snapshot).filter = "no-mac-spoofing"
    assert {(item.rule, item.cost) for item in findings(snapshot)} == {("NET-002", "none")}


def test_an_interface_that_comes_with_the_next_start() -> None:
    snapshot = factory.host()
    guest(snapshot, "web").persistent_interfaces.append(Interface("bridge", "52:54:00:00:00:02", "br0"))
    assert found(snapshot) == [("NET-001", "medium", "interface 52:54:00:00:00:02 of guest web")]


def test_a_guest_that_is_off() -> None:
    snapshot = factory.host()
    guest(snapshot, "spare").interfaces = [Interface("network", None, "default")]
    (item,) = findings(snapshot)
    assert (item.rule, item.subject, item.evidence["persistent"]) == ("NET-001", "interface ? of guest spare", None)


@pytest.mark.parametrize("kind", ["user", "direct", "hostdev", "vhostuser", "ethernet", "vdpa"])
def test_what_is_on_no_bridge_is_not_judged(kind: str) -> None:
    snapshot = factory.host()
    guest(snapshot, "spare").interfaces = [Interface(kind, "52:54:00:00:00:09", "eth0")]
    assert found(snapshot) == []


def test_a_network_of_devices_is_not_judged() -> None:
    snapshot = factory.host()
    snapshot.libvirt.networks = [Network("pool", "passthrough")]
    guest(snapshot, "spare").interfaces = [Interface("network", "52:54:00:00:00:09", "pool")]
    assert found(snapshot) == []


def test_a_running_guest_says_what_its_network_is() -> None:
    snapshot = factory.host()
    snapshot.libvirt.networks = None
    web = guest(snapshot, "web")
    web.interfaces.append(Interface("direct", "52:54:00:00:00:09", "eth0"))
    web.persistent_interfaces.append(Interface("network", "52:54:00:00:00:09", "pool"))
    assert found(snapshot) == []


def test_learning_is_an_answer() -> None:
    snapshot = factory.host()
    card(snapshot).parameters = ["CTRL_IP_LEARNING=dhcp", "DHCPSERVER=192.0.2.1"]
    assert found(snapshot) == []


def test_a_filter_that_is_not_there_stops_the_guest() -> None:
    snapshot = factory.host()
    guest(snapshot, "spare").interfaces = [Interface("bridge", "52:54:00:00:00:09", "br0", filter="gone")]
    assert found(snapshot) == [("NET-002", "low", "interface 52:54:00:00:00:09 of guest spare")]


def test_no_filter_is_reported_where_filters_could_not_be_read() -> None:
    snapshot = factory.host()
    snapshot.libvirt.filters = None
    guest(snapshot, "spare").interfaces = [Interface("bridge", "52:54:00:00:00:09", "br0")]
    assert found(snapshot) == [("NET-001", "medium", "interface 52:54:00:00:00:09 of guest spare")]
    assert [status(snapshot, f"NET-00{number}") for number in (2, 3)] == ["unknown", "unknown"]
