# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static labels on hosts of Debian 12: given by ``svirt.fleet.allocate``, taken at a power cycle, put back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from allocating import Allocation, allocate, domain

from tests.lab.lab import Lab
from tests.scenarios.node import Node

HOSTS = ("kvm1", "kvm2")


def guest_of(node: Node) -> str:
    """A guest whose label is drawn."""
    return f"web{node.name[-1]}"


def definition(node: Node) -> str:
    return node.shell(f"virsh dumpxml --inactive {guest_of(node)}")


@pytest.fixture(scope="module")
def before(lab: Lab) -> dict[str, str]:
    return {host: definition(Node(lab, host)) for host in lab.names()}


@pytest.fixture(scope="module")
def journals(lab: Lab) -> dict[str, list[str]]:
    """What the hosts' journals held before the allocation."""
    return {host: Node(lab, host).journal() for host in lab.names()}


@pytest.fixture(scope="module")
def allocation(
    lab: Lab, before: dict[str, str], journals: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Allocation]:
    """All guests of both hosts get a label; whatever is left of it at the end is put back."""
    try:
        yield allocate(lab, tmp_path_factory.mktemp("static"), svirt_label_domains=[domain(lab, "static")])
    finally:
        for host in lab.names():
            node = Node(lab, host)
            if node.put_back(journals[host]):
                node.module("libvirt_restart")


def test_every_guest_is_given_a_label(lab: Lab, allocation: Allocation) -> None:
    assert not allocation.run.failed_beside_the_verdict, allocation.run.output
    assert allocation.of("guest_seclabel")
    waiting = {item["subject"] for result in allocation.of("guest_seclabel") for item in result["pending"]}
    assert {f"guest {guest_of(Node(lab, host))}" for host in lab.names()} <= waiting, allocation.run.output


@pytest.mark.parametrize("host", HOSTS)
def test_guest_takes_its_label_at_a_power_cycle(lab: Lab, allocation: Allocation, host: str) -> None:
    node = Node(lab, host)
    # The lab's guests have no operating system that could shut them down.
    cycled = node.module("guest_power_cycle", guests=[guest_of(node)], force=True, shutdown_timeout=2)
    assert cycled["changed"], cycled
    label = node.shell(f"cat /proc/{node.pid(guest_of(node))}/attr/current").strip("\0\n")
    assert f"<label>{label}</label>" in definition(node)


@pytest.mark.parametrize("host", HOSTS)
def test_definition_is_put_back(
    lab: Lab, allocation: Allocation, before: dict[str, str], journals: dict[str, list[str]], host: str
) -> None:
    node = Node(lab, host)
    node.put_back(journals[host])
    assert definition(node) == before[host]
    node.module("libvirt_restart")  # it has its range until then
    node.shell(f"virsh destroy {guest_of(node)} && virsh start {guest_of(node)}")  # its label is drawn again
