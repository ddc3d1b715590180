# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of EL's shape whose daemon is asleep: a client wakes it by its socket, and finds what it would have found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from allocating import allocate, domain

from tests.lab.image.el import EMULATOR
from tests.lab.lab import Lab
from tests.scenarios.node import Node

SERVICES = " ".join(f"virt{name}d.service" for name in "qemu network nwfilter secret storage nodedev proxy".split())
#: The guest with a TPM.
SECURE = "vault1"


@pytest.fixture
def node(lab: Lab) -> Node:
    """A host whose daemons are asleep, with guests that run."""
    found = Node(lab, "kvm1")
    sleep(found)
    return found


def sleep(node: Node) -> None:
    """A daemon with guests never leaves by itself, so it is stopped; its sockets stay."""
    node.shell(f"systemctl stop {SERVICES}")
    assert not awake(node)
    assert node.shell("systemctl is-active virtqemud.socket").strip() == "active"


def awake(node: Node) -> bool:
    return bool(node.shell("pidof virtqemud || :").strip())


def test_host_has_the_shape(node: Node) -> None:
    assert node.shell("ls /usr/sbin/libvirtd 2>/dev/null || :") == ""
    assert "--timeout 120" in node.shell("systemctl cat virtqemud.service")
    owners = node.shell("stat -c %U /proc/$(cat /run/libvirt/qemu/app1.pid)").strip()
    assert owners == "qemu"
    assert node.shell("readlink /proc/$(cat /run/libvirt/qemu/app1.pid)/exe").strip() == EMULATOR


def test_probe_wakes_the_daemon_and_sees_all_guests(node: Node) -> None:
    seen = node.module("svirt_info")["snapshot"]
    assert awake(node)
    assert seen["libvirt"]["daemon"]["name"] == "virtqemud"
    names = {guest["name"] for guest in seen["guests"]}
    assert {"web1", "db1", "app1", "mail1", "node1", "spare1", "archive1", SECURE} <= names


def test_swtpm_has_the_label_of_its_guest(node: Node) -> None:
    label = node.shell(f"cat /proc/$(cat /run/libvirt/qemu/{SECURE}.pid)/attr/current").strip("\0\n")
    said = node.shell("for pid in $(pidof swtpm); do cat /proc/$pid/attr/current; echo; done")
    assert {line.strip("\0") for line in said.splitlines()} == {label}, said
    nvram = node.shell(f"getfattr --only-values -n security.selinux /var/lib/libvirt/qemu/nvram/{SECURE}_VARS.fd")
    assert nvram.rstrip("\0").rpartition("svirt_image_t:")[2] == label.rpartition("svirt_t:")[2]


@pytest.fixture(scope="module")
def journals(lab: Lab) -> Iterator[dict[str, list[str]]]:
    """What the hosts' journals held before; all that came later is put back."""
    found = {host: Node(lab, host).journal() for host in lab.names()}
    yield found
    for host, since in found.items():
        Node(lab, host).put_back(since)


def test_static_labels_are_given_taken_and_put_back(lab: Lab, tmp_path: Path, journals: dict[str, list[str]]) -> None:
    nodes = [Node(lab, host) for host in lab.names()]
    guests = {node.name: f"web{node.name[-1]}" for node in nodes}
    before = {node.name: definition(node, guests[node.name]) for node in nodes}
    for node in nodes:
        sleep(node)
    done = allocate(lab, tmp_path, svirt_label_domains=[domain(lab, "static")])
    assert not done.run.failed_beside_the_verdict, done.run.output
    for node in nodes:
        guest = guests[node.name]
        sleep(node)
        cycled = node.module("guest_power_cycle", guests=[guest], force=True, shutdown_timeout=2)
        assert cycled["changed"], cycled
        assert awake(node)
        label = node.shell(f"cat /proc/{node.pid(guest)}/attr/current").strip("\0\n")
        assert label in definition(node, guest)
        sleep(node)
        node.put_back(journals[node.name])
        assert definition(node, guest) == before[node.name]
        node.shell(f"virsh destroy {guest}; virsh start {guest}")  # its label is drawn again


def definition(node: Node, guest: str) -> str:
    return node.shell(f"virsh dumpxml --inactive {guest}")
