# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames with forged sources leave a guest's tap, and stop when guest_network_filter gives the guest its filter.

The guest keeps running throughout: a filter that needed a new start would protect nobody today. See host_wire.py for
how frames come into the guest's network without a system inside the guest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.lab.host.domains import LOCAL, Disk, Guest
from tests.lab.lab import Lab
from tests.scenarios.node import Node

PROGRAM = Path(__file__).with_name("host_wire.py")
NAME, MAC, ADDRESS = "wire", "52:54:00:77:00:50", "10.78.0.50"
#: No virtio: QEMU's socket for frames has no place for the header that comes with it.
CARD = (
    f"<interface type='bridge'><mac address='{MAC}'/><source bridge='br-lab'/><model type='e1000'/>"
    "<rom enabled='no'/></interface>"
)
#: Another card, past all bridges, where libvirt has no filters.
USER_MAC = "52:54:00:77:00:51"
USER_CARD = f"<interface type='user'><mac address='{USER_MAC}'/><model type='e1000'/><rom enabled='no'/></interface>"
OWN = ["own", "own arp"]
FORGED = ["forged mac", "forged ip", "forged arp ip", "forged arp mac"]
DECLARED = [{"guest": NAME, "interfaces": [{"mac": MAC, "parameters": {"IP": ADDRESS}}]}]


@dataclass(frozen=True)
class Wire:
    """A running guest on the bridge, without a filter."""

    node: Node
    tap: str
    netdev: str

    def passes(self) -> list[str]:
        """Names of the frames that leave the guest's tap and reach a neighbour."""
        found: list[str] = self.node.python(PROGRAM, "frames", NAME, self.netdev, MAC, ADDRESS)
        return found

    def identity(self) -> dict[str, Any]:
        """What must not change: the guest's process, and its link."""
        return {"pid": self.node.pid(NAME), **self.node.python(PROGRAM, "link", self.tap)}

    def filters(self) -> tuple[str, str]:
        """The card's filter in the guest's definition, and live."""
        persistent, live = (card_of(self.node, *words) for words in (["--inactive"], []))
        return attribute(persistent, "filterref", "filter"), attribute(live, "filterref", "filter")


def card_of(node: Node, *words: str) -> ElementTree.Element:
    """The guest's card on the bridge, as its XML has it."""
    xml = ElementTree.fromstring(node.virsh("dumpxml", *words, NAME).stdout)  # noqa: S314 - of our own guest
    return next(card for card in xml.iter("interface") if card.find(f"mac[@address='{MAC}']") is not None)


def attribute(card: ElementTree.Element, tag: str, name: str) -> str:
    """An attribute of one of its elements; empty where there is none."""
    found = card.find(tag)
    return found.get(name, "") if found is not None else ""


@pytest.fixture
def wire(lab: Lab) -> Iterator[Wire]:
    node = Node(lab, "kvm1")
    journal = node.journal()
    with node.guests(Guest(NAME, (Disk(f"{LOCAL}/{NAME}.raw"),), devices=CARD + USER_CARD)):
        try:
            node.python(PROGRAM, "up")
            card = card_of(node)
            yield Wire(node, attribute(card, "target", "dev"), f"host{attribute(card, 'alias', 'name')}")
            node.put_back(journal)
        finally:
            node.python(PROGRAM, "down")


def test_forged_frames_pass_without_the_filter_and_are_dropped_with_it(wire: Wire) -> None:
    node, before = wire.node, wire.identity()
    assert set(OWN + FORGED) <= set(wire.passes()), "without a filter everything passes, or this test shows nothing"

    foreseen = node.module("guest_network_filter", guests=DECLARED, check=True)
    assert wire.filters() == ("", ""), "check mode changes nothing"
    done = node.module("guest_network_filter", guests=DECLARED)
    assert done["changed"], done
    assert foreseen["plan"] == done["plan"]
    assert [(line["where"], line["to"]) for line in done["plan"]] == [
        ("persistent", f"clean-traffic IP={ADDRESS}"),
        ("live", f"clean-traffic IP={ADDRESS}"),
    ]
    assert wire.passes() == OWN
    assert wire.identity() == before, "the guest runs on, its link was not touched"
    assert not node.module("guest_network_filter", guests=DECLARED)["changed"]

    node.module("svirt_rollback", runs=1)
    assert set(OWN + FORGED) <= set(wire.passes()), "what was put back is the state without a filter"
    assert wire.identity() == before
