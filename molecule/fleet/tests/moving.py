# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that reads and writes its disk on the share all the time, while it moves from host to host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from busy import NAME, Busy
from disk_exerciser import Counters, boot_sector

from tests.lab.host.domains import SHARE, Disk, Guest, static_level, static_seclabel
from tests.lab.lab import Lab
from tests.scenarios.node import Node

LEVEL = static_level(260)
IMAGE = f"{SHARE}/{NAME}.raw"
GUEST = Guest(NAME, (Disk(IMAGE),), static_seclabel(LEVEL), running=False)


@dataclass(frozen=True)
class Seen:
    """The guest on a host, and what it counted there."""

    process: str
    image: str
    before: Counters
    after: Counters
    failures: dict[str, int]


@contextmanager
def moving_guest(lab: Lab, host: str) -> Iterator[Node]:
    """Such a guest, at work on this host; gone from all hosts afterwards."""
    node = Node(lab, host)
    with node.guests(GUEST):
        try:
            lab.remote(host).call(f"dd of={IMAGE} conv=notrunc status=none", stdin=boot_sector())
            started = node.virsh("start", NAME)
            assert started.returncode == 0, started.stderr
            yield node
        finally:
            for other in lab.names():
                if other != host:
                    Node(lab, other).shell(f"virsh destroy {NAME}; virsh undefine {NAME}", check=False)


def look(node: Node) -> Seen:
    """Wait until the guest has written and read the whole of its part of the disk twice more."""
    guest = Busy(node, node.pid(NAME))
    process = node.shell(f"cat /proc/{guest.pid}/attr/current").strip("\0\n")
    image = node.shell(f"getfattr --only-values -n security.selinux {IMAGE}").rstrip("\0")
    before = guest.counters()
    after = guest.wait(lambda now: now.passes > before.passes + 1)
    return Seen(process, image, before, after, guest.failures())
