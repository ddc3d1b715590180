# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategy ``range``: the daemons of two hosts draw from ranges that do not meet, whatever restarts.

The ranges come from ``svirt.fleet.allocate``. See host_starts.py for the starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Lock

import pytest
from allocating import allocate, domain

from tests.lab.lab import Lab
from tests.scenarios.node import Node
from tests.scenarios.soak import SOAK
from tests.scenarios.steps import DAEMONS

PROGRAM = Path(__file__).with_name("host_starts.py")
#: Starts on each host, so many guests side by side, with so many restarts of the daemon, before and after each reboot.
STARTS, AT_ONCE, RESTARTS, REBOOTS = (200, 6, 5, 3) if SOAK else (20, 4, 1, 0)
RANGE = re.compile(r"SELinuxContext=\S+:s0-s0:c(\d+)\.c(\d+)\s")
PAIR = re.compile(r"system_u:system_r:svirt(?:_tcg)?_t:s0:c(\d+),c(\d+)")
WIDTH = 64
#: One at a time: the share is mounted from a host that is up.
REBOOTING = Lock()


@dataclass(frozen=True)
class Drawn:
    """What a host drew."""

    range: tuple[int, int]
    labels: list[str]
    #: Restarts of the daemon, with guests running, that left these their labels.
    kept: int

    @property
    def categories(self) -> set[int]:
        return {int(text) for label in self.labels for text in PAIR.fullmatch(label).groups()}  # type: ignore[union-attr]


def range_of(node: Node) -> tuple[int, int]:
    """The range that systemd gives the daemon."""
    text = node.shell(f"systemctl cat {DAEMONS[node.lab.shape()]}.service")
    found = RANGE.findall(text)
    assert found, text
    low, high = found[-1]
    return int(low), int(high)


def draw(lab: Lab, host: str) -> Drawn:
    """All starts of a host, with what restarts in between."""
    node, labels, kept = Node(lab, host), [], 0
    rounds = 1 + REBOOTS
    for number in range(rounds):
        if number:
            with REBOOTING:
                lab.reboot(host)
        done = node.python(PROGRAM, *map(str, (STARTS // rounds, AT_ONCE, RESTARTS)), timeout=3600.0)
        labels += done["drawn"]
        kept += done["kept"]
    assert len(labels) == STARTS // rounds * rounds
    assert kept == RESTARTS * rounds
    return Drawn(range_of(node), labels, kept)


@pytest.fixture(scope="module")
def drawn(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Drawn]]:
    """What the hosts drew, side by side."""
    journals = {host: Node(lab, host).journal() for host in lab.names()}
    try:
        done = allocate(
            lab, tmp_path_factory.mktemp("ranges"), svirt_label_domains=[domain(lab, "range", range_width=WIDTH)]
        )
        assert not done.run.failed_beside_the_verdict, done.run.output
        with ThreadPoolExecutor(len(lab.names())) as pool:
            yield dict(zip(lab.names(), pool.map(lambda host: draw(lab, host), lab.names()), strict=True))
    finally:
        for host, since in journals.items():
            node = Node(lab, host)
            node.put_back(since)
            node.forget(since)
            node.module("libvirt_restart")  # it has the range until then


def test_ranges_are_as_wide_as_asked_and_do_not_meet(drawn: dict[str, Drawn]) -> None:
    spans = sorted(each.range for each in drawn.values())
    assert [high - low + 1 for low, high in spans] == [WIDTH] * len(spans)
    assert all(one[1] < other[0] for one, other in pairwise(spans)), spans


@pytest.mark.parametrize("host", ["kvm1", "kvm2"])
def test_every_start_draws_from_the_range_of_its_host(drawn: dict[str, Drawn], host: str) -> None:
    low, high = drawn[host].range
    assert len(drawn[host].labels) >= STARTS - REBOOTS
    assert all(PAIR.fullmatch(label) for label in drawn[host].labels), drawn[host].labels
    assert drawn[host].categories <= set(range(low, high + 1))
    assert len(drawn[host].categories) > 8, "a draw is not a draw when it always gives the same"


def test_no_host_ever_drew_a_category_of_the_other(drawn: dict[str, Drawn]) -> None:
    first, second = (each.categories for each in drawn.values())
    assert not first & second
