# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network filters: what definitions say, and what holds a guest to its own addresses."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import DomainXmlError
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.network_filter import (
    is_bridged,
    is_defined,
    parse_filter,
    parse_network,
    wants_address,
    weakness,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Network, NetworkFilter

from tests.unit.support import factory

OWN = """
<filter name='own' chain='ipv4-ip' priority='-710'>
  <uuid>fb7d8ac0-0000-4000-8000-000000000001</uuid>
  <filterref filter='no-mac-spoofing'/>
  <rule action='return' direction='out' priority='500'><ip srcipaddr='$IP'/></rule>
  <rule action='drop' direction='out' priority='1000'/>
</filter>
"""


def with_rule(rule: str, chain: str = "root") -> NetworkFilter:
    return parse_filter(f"<filter name='x' chain='{chain}'>{rule}</filter>")


def test_what_a_definition_says() -> None:
    found = parse_filter(OWN)
    assert (found.name, found.chain, found.uuid) == ("own", "ipv4-ip", "fb7d8ac0-0000-4000-8000-000000000001")
    assert (found.references, found.variables) == (["no-mac-spoofing"], ["IP"])
    assert (found.drops, found.opens_at) == (True, None)
    assert len(found.digest) == 16


def test_a_digest_is_of_what_is_said() -> None:
    elsewhere = OWN.replace("fb7d8ac0", "aaaaaaaa").replace("\n", "").replace("<rule", "<!-- why --><rule")
    assert parse_filter(elsewhere).digest == parse_filter(OWN).digest
    assert parse_filter(OWN.replace("'drop'", "'accept'")).digest != parse_filter(OWN).digest


@pytest.mark.parametrize(
    ("rule", "drops", "opens_at"),
    [
        ("<rule action='accept' direction='inout' priority='-900'/>", False, -900),
        ("<rule action='accept' direction='out'><all/></rule>", False, 500),
        ("<rule action='return' direction='out' priority='x'><mac comment='all'/></rule>", False, 500),
        ("<rule action='accept' direction='in'/>", False, None),
        ("<rule action='accept' direction='out'><mac srcmacaddr='$MAC'/></rule>", False, None),
        ("<rule action='reject' direction='inout'/>", True, None),
        ("<rule action='drop' direction='in'/>", False, None),
    ],
)
def test_rules(rule: str, drops: bool, opens_at: int | None) -> None:
    found = with_rule(rule)
    assert (found.drops, found.opens_at) == (drops, opens_at)


@pytest.mark.parametrize(
    "xml", ["<filter/>", "<domain name='x'/>", "<filter name='x'", "<!DOCTYPE filter><filter name='x'/>"]
)
def test_what_is_no_filter(xml: str) -> None:
    with pytest.raises(DomainXmlError):
        parse_filter(xml)


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<network><name>a</name></network>", Network("a")),
        ("<network><name>a</name><forward/><bridge name='virbr0'/></network>", Network("a", "nat", "virbr0")),
        ("<network><name>a</name><forward mode='hostdev'/></network>", Network("a", "hostdev")),
        (
            "<network><name>a</name><forward mode='bridge'/><bridge name='b'/><virtualport type='ovs'/></network>",
            Network("a", "bridge", "b", "ovs"),
        ),
    ],
)
def test_networks(xml: str, expected: Network) -> None:
    assert parse_network(xml) == expected


def test_what_is_no_network() -> None:
    with pytest.raises(DomainXmlError):
        parse_network("<filter name='x'/>")


def test_clean_traffic_holds() -> None:
    assert weakness(factory.filters(), "clean-traffic") == ""
    assert wants_address(factory.filters(), "clean-traffic")
    assert not wants_address(factory.filters(), "no-mac-spoofing")


def test_a_filter_of_the_same_parts_holds() -> None:
    own = NetworkFilter("own", references=["clean-traffic", "own"])  # it refers to itself, too
    assert weakness([*factory.filters(), own], "own") == ""


def test_arp_in_one_piece_as_older_libvirt_has_it() -> None:
    filters = [item for item in factory.filters() if not item.name.startswith("no-arp")]
    filters.append(NetworkFilter("no-arp-spoofing", drops=True))
    assert weakness(filters, "clean-traffic") == ""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no-mac-spoofing", "it lets the guest forge IP addresses and ARP messages"),
        ("no-arp-spoofing", "it lets the guest forge MAC addresses and IP addresses"),
        ("no-other-l2-traffic", "it lets the guest forge MAC addresses and IP addresses and ARP messages"),
        ("gone", "this host does not define the filter"),
    ],
)
def test_building_blocks_do_not_hold(name: str, told: str) -> None:
    assert weakness(factory.filters(), name) == told


def test_a_part_that_was_emptied() -> None:
    filters = factory.filters()
    next(item for item in filters if item.name == "no-ip-spoofing").drops = False
    assert weakness(filters, "clean-traffic") == "it lets the guest forge IP addresses"


def test_a_part_that_is_gone() -> None:
    filters = [item for item in factory.filters() if item.name != "no-ip-spoofing"]
    assert weakness(filters, "clean-traffic") == "it refers to no-ip-spoofing, which this host does not define"
    assert not is_defined(filters, "clean-traffic")
    assert is_defined(factory.filters(), "clean-traffic")


@pytest.mark.parametrize(
    ("name", "opens_at", "weak"),
    [
        ("clean-traffic", -501, True),
        ("clean-traffic", -500, False),  # behind the parts: it only lets other protocols pass
        ("no-ip-spoofing", 500, True),
        ("no-other-l2-traffic", 500, False),
    ],
)
def test_a_rule_that_opens(name: str, opens_at: int, weak: bool) -> None:
    filters = factory.filters()
    next(item for item in filters if item.name == name).opens_at = opens_at
    assert bool(weakness(filters, "clean-traffic")) is weak


@pytest.mark.parametrize(
    ("type_", "network", "virtualport", "expected"),
    [
        ("bridge", None, None, True),
        ("bridge", None, "openvswitch", False),
        ("network", "default", None, True),
        ("network", "isolated", None, True),
        ("network", "unheard-of", None, True),
        ("network", "macvtap", None, False),
        ("network", "pool", None, False),
        ("network", "switch", None, False),
        ("network", "lan", None, True),
        ("direct", None, None, False),
        ("user", None, None, False),
        ("hostdev", None, None, False),
        ("vhostuser", None, None, False),
        ("ethernet", None, None, False),
    ],
)
def test_what_is_on_a_bridge(type_: str, network: str | None, virtualport: str | None, expected: bool) -> None:
    networks = [
        Network("default", "nat", "virbr0"),
        Network("isolated", None, "virbr1"),
        Network("lan", "bridge", "br0"),
        Network("macvtap", "bridge", None),
        Network("pool", "hostdev", None),
        Network("switch", "bridge", "ovs0", "openvswitch"),
    ]
    assert is_bridged(networks, type_, network, virtualport) is expected


def test_networks_that_could_not_be_read() -> None:
    assert is_bridged(None, "network", "pool", None)
