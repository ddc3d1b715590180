# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the analysis across hosts on invented fleets: classes and groups, after the rows were read.

A host has 100 guests. Most draw a pair, as libvirt does; a fifth have a static label of four categories. Sixteen hosts
at a time share labelled storage, on which half of the guests have their disk. Some collisions of each kind are planted.
Each fleet is judged in a process of its own, so that the peak of its memory is the analysis's. Seconds are those of the
one processor that it runs on. Nothing here judges.
"""

from __future__ import annotations

import gc
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "build" / "collections"))

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis, category_ranges  # noqa: E402
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet.labelled import Party  # noqa: E402
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet.orphans import Stock  # noqa: E402
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage import HostStorage  # noqa: E402
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.category_range import DaemonRange  # noqa: E402
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import CategorySet, Level  # noqa: E402
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.dominance import few  # noqa: E402
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Storage  # noqa: E402

#: Guests of a host, hosts that share storage, and every so many hosts one with planted collisions.
GUESTS, POOL, PLANTED = 100, 16, 50
SMALL, LARGE, PAIRWISE = 100_000, 1_000_000, 20_000
_BANDS, _WIDTH = (32, 280, 528, 776), 248
_FULL = category_ranges.RangeUse(DaemonRange(0, 1023))

Involved = set[tuple[str, str, str]]


def compared_hosts(guests: int, seed: int = 4) -> list[analysis.ComparedHost]:
    """A fleet of so many guests, the same one for the same seed."""
    chance = random.Random(seed)  # noqa: S311  # figures, no secrets
    return [_view(number, chance) for number in range(guests // GUESTS)]


def _view(number: int, chance: random.Random) -> analysis.ComparedHost:
    host = f"kvm{number:05}"
    share = Storage(
        "/share", "nfs4", f"filer{number // POOL}:/vms", True, identity=f"nfs:filer{number // POOL}:/vms", remote=True
    )
    levels = list(_levels(number, chance))
    if number % PLANTED == 0:
        levels[1] = levels[0]  # two alike on one host
        levels[2] = Level(0, CategorySet(levels[3].categories.mask | 1 << 1023))  # a label that contains another
    if number % PLANTED in (0, 1):
        levels[4] = Level(0, CategorySet.of((500, 501 + number // PLANTED % 400)))  # twins on two hosts of a pool
    placed = tuple(_placed(host, number, place, level) for place, level in enumerate(levels))
    statics = tuple(guest for guest in placed if not guest.drawn)
    stock = Stock(host)
    return analysis.ComparedHost(
        host, placed, HostStorage(host, frozenset([host]), (share,), {}), stock, statics=statics, range=_FULL
    )


def _placed(host: str, number: int, place: int, level: Level) -> Party:
    uuid = f"00000000-0000-4000-8000-{number:06}{place:06}"
    mount = "/share" if place % 2 == 0 else "/"
    label = f"system_u:object_r:svirt_image_t:{level}"
    context = f"system_u:system_r:svirt_t:{level}"
    files = ((mount, f"{mount}/{uuid}.qcow2"),)
    drawn = len(level.categories) == 2
    bits = few(level.categories)
    return Party(
        uuid,
        f"guest{place}",
        host,
        level,
        str(level),
        files,
        uuid,
        bits,
        context=context,
        file_label=label,
        drawn=drawn,
    )


def _levels(number: int, chance: random.Random) -> Iterator[Level]:
    """What a host's guests hold: pairs that the host does not repeat, and labels for life that nobody repeats."""
    drawn: set[tuple[int, int]] = set()
    for place in range(GUESTS):
        if place % 5 == 4 and place != 4:
            rank = number * GUESTS + place
            digits = (rank // _WIDTH**3, rank // _WIDTH**2, rank // _WIDTH, rank)
            yield Level(0, CategorySet.of(band + digit % _WIDTH for band, digit in zip(_BANDS, digits, strict=True)))
            continue
        pair = _pair(chance)
        while pair in drawn:
            pair = _pair(chance)
        drawn.add(pair)
        yield Level(0, CategorySet.of(pair))


def _pair(chance: random.Random) -> tuple[int, int]:
    one, other = chance.sample(range(1024), 2)
    return min(one, other), max(one, other)


def involved(result: analysis.Fleet) -> Involved:
    """Class, host and uuid of all who reach or are reached now."""
    return {
        (str(finding.reach), told["host"], told["uuid"])
        for finding in result.findings
        if finding.reach in ("E1", "E2")
        for name in ("guests", "reaches")
        for told in finding.evidence.get(name, ())
    }


def compared_in_pairs(fleet_views: list[analysis.ComparedHost]) -> Involved:
    """The same by comparing each guest with each other one; right on the fleets of this file."""
    rows = [(guest.level.categories.mask, guest.host, number // POOL, guest.files, guest.uuid)
            for number, each in enumerate(fleet_views) for guest in each.guests]  # fmt: skip
    names: Involved = set()
    for mask, host, pool, _files, uuid in rows:
        for theirs, elsewhere, their_pool, their_files, other in rows:
            if mask & theirs == theirs and uuid != other:
                if host == elsewhere:
                    names |= {("E1", host, uuid), ("E1", elsewhere, other)}
                elif pool == their_pool and their_files and their_files[0][0] == "/share":
                    names |= {("E2", host, uuid), ("E2", elsewhere, other)}
    return names


def judge(guests: int, pairwise: bool) -> dict[str, Any]:
    """Judge one fleet in this process: seconds, and MiB beyond what the rows take."""
    made = compared_hosts(guests)
    gc.disable()  # as the action plugin does
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    result = analysis.judge(made)
    seconds = time.process_time() - started
    told: dict[str, Any] = {
        "seconds": seconds,
        "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "classes": {
            name: sum(1 for finding in result.findings if finding.reach == name) for name in ("E1", "E2", "E3", "E4")
        },
        "chance": [result.equal_by_chance, round(result.expected_by_chance)],
    }
    if pairwise:
        started = time.process_time()
        by_hand = compared_in_pairs(made)
        told.update(pairwise=time.process_time() - started, same=by_hand == involved(result))
    return told


def measure() -> None:
    """Print the figures, each beside its budget."""
    print("analysis across hosts, made-up fleets", flush=True)
    small, large = _in_child(SMALL), _in_child(LARGE)
    pairs = _in_child(PAIRWISE, pairwise=True)
    for guests, told in ((SMALL, small), (LARGE, large)):
        classes = ", ".join(f"{count} {name}" for name, count in told["classes"].items())
        equal, expected = told["chance"]
        print(f"{guests:,} guests on {guests // GUESTS:,} hosts: {classes}")
        print(f"    equal by chance: {equal:,} pairs, {expected:,} expected")
    print(f"\n{LARGE:,} guests, seconds              {large['seconds']:8.2f}   budget 10.00")
    print(f"{LARGE:,} guests, MiB beyond the rows  {large['memory']:8.0f}   budget 1024")
    print(f"{LARGE:,} / {SMALL:,} guests, time       {large['seconds'] / small['seconds']:8.2f}   budget 12.00")
    print(f"pairs compared / ours, {PAIRWISE:,} guests    {pairs['pairwise'] / pairs['seconds']:8.0f}   budget 100")
    print(f"the same answer                        {'yes' if pairs['same'] else 'NO':>8}")


def _in_child(guests: int, pairwise: bool = False) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.analysis", str(guests), *(["--pairwise"] if pairwise else [])]
    result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)  # our own
    document: dict[str, Any] = json.loads(result.stdout)
    return document


if __name__ == "__main__":
    print(json.dumps(judge(int(sys.argv[1]), "--pairwise" in sys.argv)))
