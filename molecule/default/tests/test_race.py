# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another process swaps paths for links all the time while image_label works on them: nothing outside changes.

See host_race.py for what is swapped. A round is one run of the module over all paths; with SVIRT_SOAK there are many.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.host.domains import LOCAL, Disk, Guest
from tests.lab.host.images import AT_REST, CONTENT
from tests.lab.lab import Lab
from tests.scenarios.node import Node
from tests.scenarios.soak import SOAK

PROGRAM = Path(__file__).with_name("host_race.py")
IMAGES, READY, STOP = f"{LOCAL}/race", "/run/svirt-race.ready", "/run/svirt-race.stop"
ROUNDS = 40 if SOAK else 2
#: Images of other guests, running and off: what a tenant would have relabelled.
GUESTS = tuple(
    Guest(f"race-{name}", (Disk(f"{LOCAL}/race-{name}.raw"),), running=name == "on") for name in ("on", "off")
)
VICTIMS = [guest.disks[0].path for guest in GUESTS]


@pytest.fixture
def node(lab: Lab) -> Iterator[Node]:
    found = Node(lab, "kvm1")
    with found.guests(*GUESTS):
        try:
            found.python(PROGRAM, "make")
            yield found
        finally:
            found.python(PROGRAM, "remove")


@contextmanager
def swapping(node: Node) -> Iterator[dict[str, int]]:
    """Somebody swaps paths while the block runs; how often is in the dict afterwards."""
    count: dict[str, int] = {}
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(node.python, PROGRAM, "race", *VICTIMS, timeout=3600.0)
        try:
            node.shell(f"for _ in $(seq 120); do [ -e {READY} ] && exit; sleep 1; done; exit 1")
            yield count
        finally:
            node.shell(f"touch {STOP}")
            count.update(job.result())
            node.shell(f"rm {READY} {STOP}")


def states(node: Node) -> tuple[dict[str, str], dict[str, Any]]:
    """The label of each image, and all that is to be as it was."""
    found = node.python(PROGRAM, "states", *VICTIMS)
    return found["images"], found["outside"]


def relabel(node: Node, label: str) -> dict[str, Any]:
    """One run of the module over all paths."""
    wanted = [{"path": path, "label": label} for path in states_paths(node)]
    done = node.module("image_label", labels=wanted, within=[IMAGES])
    assert "plan" in done, done
    return done


def states_paths(node: Node) -> list[str]:
    return node.shell(f"for d in {IMAGES}/d?; do for f in $(seq -w 0 19); do echo $d/f$f.raw; done; done").split()


def test_nothing_outside_changes_while_paths_are_swapped(node: Node) -> None:
    journal = node.journal()
    first, outside = states(node)
    images, made, reasons, swaps = first, 0, set(), 0
    for number in range(ROUNDS):
        label = (CONTENT, AT_REST)[number % 2]
        with swapping(node) as count:
            done = relabel(node, label)
        swaps += sum(count.values())
        assert all(count.values()), count
        now, after = states(node)
        assert after == outside, "something that is none of the images has changed"
        refused = {item["subject"].removeprefix("image "): item["why"] for item in done["refused"]}
        changed = {path for path in done["before"]["files"] if path not in refused}
        assert now == {path: label if path in changed else old for path, old in images.items()}, (
            "what it says it did is what was done, and what it refused is as it was"
        )
        images, made = now, made + len(changed)
        reasons |= {why.split(" ", 1)[0] for why in refused.values()}
    assert made > 0, "something must have been possible, or it never came to a race"
    assert len(reasons) > 1, f"{swaps} swaps, and all that was met is {reasons}"

    back = node.put_back(journal)
    assert back is not None
    assert back["changed"], back
    assert states(node) == (first, outside)


def test_who_trusts_in_paths_is_led_astray(node: Node) -> None:
    _images, before = states(node)
    with swapping(node):
        node.python(PROGRAM, "careless", CONTENT, "5")
    _images, after = states(node)
    astray = [path for path in before if before[path] != after[path]]
    assert astray, "the swaps must do harm to one who is not careful, or the other test shows nothing"
