# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's network filters: their definitions, and whether a filter confines a guest to its own addresses.

A filter can be redefined at any time, and whatever refers to it by name does not notice. So a filter is judged by this
host's definitions, not by its name.

Sources: libvirt's network filter format (formatnwfilter), and the filters that libvirt ships.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import hashlib
import re
import typing as t
import uuid as uuidlib
from xml.etree import ElementTree

from ..errors import DomainXmlError
from ..snapshot.model import Interface, Network, NetworkFilter
from .domain_xml import MAX_NAME, read_xml

#: libvirt's own filter that confines a guest to its MAC, IPv4 and ARP addresses.
CLEAN = "clean-traffic"
IP = "IP"
LEARNING = "CTRL_IP_LEARNING"

#: The filters that libvirt ships. Any other filter is the operator's own.
STOCK = frozenset(
    """
    allow-arp allow-dhcp allow-dhcp-server allow-dhcpv6 allow-dhcpv6-server allow-incoming-ipv4 allow-incoming-ipv6
    allow-ipv4 allow-ipv6 clean-traffic clean-traffic-gateway no-arp-ip-spoofing no-arp-mac-spoofing no-arp-spoofing
    no-ip-multicast no-ip-spoofing no-ipv6-multicast no-ipv6-spoofing no-mac-broadcast no-mac-spoofing
    no-other-l2-traffic no-other-rarp-traffic qemu-announce-self qemu-announce-self-rarp
    """.split()
)

#: Addresses that a guest must not forge, and the filters that prevent it: all of one of the groups.
_NEEDED: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    ("MAC addresses", (("no-mac-spoofing",),)),
    ("IP addresses", (("no-ip-spoofing",),)),
    # Older libvirt has all of ARP in one filter.
    ("ARP messages", (("no-arp-mac-spoofing", "no-arp-ip-spoofing"), ("no-arp-spoofing",))),
)
_PARTS = frozenset(name for _what, groups in _NEEDED for group in groups for name in group)
#: A rule of the root chain with a lower number comes before the chain that has the last of these parts.
_CHAINS_END = -500
_DEFAULT_PRIORITY = 500
_OUT = ("out", "inout")
_VARIABLE = re.compile(r"\$([A-Za-z0-9_]{1,64})")
_NUMBER = re.compile(r"-?[0-9]{1,6}\Z")
#: Types of interfaces that libvirt puts on a bridge.
_BRIDGED = frozenset(("bridge", "network"))
#: Forward modes of networks that hand devices of the host to guests.
_DEVICES = frozenset(("private", "vepa", "passthrough", "hostdev"))


def parse_filter(xml: str) -> NetworkFilter:
    """A network filter from its XML. Raises DomainXmlError."""
    root = read_xml(xml)
    if root.tag != "filter":
        raise DomainXmlError(f"expected <filter>, found <{root.tag[:80]}>")
    rules = root.findall("rule")
    sent = [rule for rule in rules if rule.get("direction") in _OUT]
    opening = [_priority(rule) for rule in sent if rule.get("action") in ("accept", "return") and _takes_all(rule)]
    values = [value for rule in rules for part in rule for value in part.attrib.values()]
    return NetworkFilter(
        name=_name(root),
        uuid=_uuid(root.findtext("uuid")),
        chain=root.get("chain", "root")[:MAX_NAME],
        references=sorted({item.get("filter", "")[:MAX_NAME] for item in root.findall("filterref")}),
        variables=sorted({name for value in values for name in _VARIABLE.findall(value)}),
        drops=any(rule.get("action") in ("drop", "reject") for rule in sent),
        opens_at=min(opening, default=None),
        digest=_digest(root),
    )


def parse_network(xml: str) -> Network:
    """A network from its XML. Raises DomainXmlError."""
    root = read_xml(xml)
    if root.tag != "network":
        raise DomainXmlError(f"expected <network>, found <{root.tag[:80]}>")
    forward, bridge, port = root.find("forward"), root.find("bridge"), root.find("virtualport")
    return Network(
        name=_name(root),
        forward=None if forward is None else forward.get("mode", "nat")[:MAX_NAME],
        bridge=None if bridge is None else bridge.get("name"),
        virtualport=port.get("type", "")[:MAX_NAME] if port is not None else None,
    )


def weakness(filters: t.Iterable[NetworkFilter], name: str) -> str:
    """Why a filter does not confine a guest to its own addresses; empty when it does."""
    known = {item.name: item for item in filters}
    used, missing = _closure(known, name)
    if name not in known:
        return "this host does not define the filter"
    if missing:
        return f"it refers to {', '.join(missing[:5])}, which this host does not define"
    dropping = {item.name for item in used if item.drops}
    open_ = [what for what, groups in _NEEDED if not any(dropping.issuperset(group) for group in groups)]
    if open_:
        return f"it lets the guest forge {' and '.join(open_)}"
    for item in used:
        opens = item.opens_at
        if opens is not None and (item.name in _PARTS or (item.chain == "root" and opens < _CHAINS_END)):
            return f"a rule of {item.name} lets everything pass before the rules that confine the guest"
    return ""


def is_defined(filters: t.Iterable[NetworkFilter], name: str) -> bool:
    """Whether the filter and all that it refers to are there, so that a guest with it can start."""
    known = {item.name: item for item in filters}
    return name in known and not _closure(known, name)[1]


def wants_address(filters: t.Iterable[NetworkFilter], name: str) -> bool:
    """Whether the filter's rules need to know the guest's IP address."""
    return any(IP in item.variables for item in _closure({item.name: item for item in filters}, name)[0])


def is_bridged(networks: t.Iterable[Network] | None, type_: str, network: str | None, virtualport: str | None) -> bool:
    """Whether an interface is on a bridge of the host, where libvirt's filters work and other guests may listen.

    ``type_`` is that of the XML, persistent or live. An unknown network counts as one with a bridge.
    """
    if type_ not in _BRIDGED or virtualport is not None:  # Open vSwitch hands no packet to the host's filters
        return False
    source = next((item for item in networks or () if item.name == network), None) if type_ == "network" else None
    if source is None:
        return True
    if source.bridge is not None:
        return source.virtualport is None
    return source.forward not in _DEVICES and source.forward != "bridge"


def bridged(networks: t.Iterable[Network] | None, interface: Interface) -> bool:
    """The same of an interface of the snapshot."""
    return is_bridged(networks, interface.type, interface.source, interface.virtualport)


def _closure(known: t.Mapping[str, NetworkFilter], name: str) -> tuple[list[NetworkFilter], list[str]]:
    """The filter and all that it refers to, each once; and names without a definition."""
    used: dict[str, NetworkFilter] = {}
    missing: list[str] = []
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name in known and name not in used:
            used[name] = known[name]
            waiting += known[name].references
        elif name not in known and name not in missing:
            missing.append(name)
    return list(used.values()), sorted(missing)


def _takes_all(rule: ElementTree.Element) -> bool:
    """The rule asks nothing of a packet."""
    return all(set(part.attrib) <= {"comment"} for part in rule)


def _priority(rule: ElementTree.Element) -> int:
    text = rule.get("priority", "")
    return int(text) if _NUMBER.match(text) else _DEFAULT_PRIORITY


def _name(root: ElementTree.Element) -> str:
    name = root.get("name") or (root.findtext("name") if root.tag == "network" else None) or ""
    if not name or len(name) > MAX_NAME:
        raise DomainXmlError(f"a {root.tag} without a proper name: {name[:60]!r}")
    return name


def _uuid(text: str | None) -> str | None:
    try:
        return str(uuidlib.UUID((text or "").strip()))
    except ValueError:
        return None


def _digest(root: ElementTree.Element) -> str:
    """Of all but the uuid, which differs from host to host."""
    parts = [repr(_canonical(child)) for child in root if child.tag != "uuid"]
    head = repr(sorted(root.attrib.items()))
    return hashlib.sha256("\n".join([head, *parts]).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _canonical(element: ElementTree.Element) -> tuple[t.Any, ...]:
    return element.tag, sorted(element.attrib.items()), tuple(_canonical(child) for child in element)
