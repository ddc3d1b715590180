# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The matrix has the result of each attempt, and fits the terminal."""

from __future__ import annotations

import pytest

from tests.drill.matrix import WIDTH, breaches, doubts, matrix
from tests.drill.outcome import BREACHED, HELD, OWN, UNKNOWN, Attempt, Disk

WEB, DB = (Disk(f"{name}1", "kvm1", f"/images/{name}1.raw", shared=False) for name in ("web", "db"))
LEFT, RIGHT = (Disk(f"twin{n}", f"kvm{n}", f"/srv/vms/twin{n}.raw", shared=True) for n in (1, 2))

SMALL = [
    Attempt("web1", "kvm1", WEB, OWN),
    Attempt("web1", "kvm1", DB, HELD),
    Attempt("web1", "kvm1", LEFT, UNKNOWN, "out of time"),
    Attempt("web1", "kvm1", RIGHT, HELD),
    Attempt("twin2", "kvm2", LEFT, BREACHED),
    Attempt("twin2", "kvm2", RIGHT, OWN),
]


def test_each_attempt_has_its_mark_below_its_disk() -> None:
    assert matrix(SMALL).split("\n\n")[0].splitlines() == [
        "            on the share   on kvm1",
        "            twin1          db1",
        "attacker         twin2          web1",
        "kvm1 web1   ?    .         .    o",
        "kvm2 twin2  X    o",
    ]


def test_legend_and_numbers_follow() -> None:
    *_rest, legend, numbers = matrix(SMALL).splitlines()
    assert "X opened" in legend
    assert len(legend) <= WIDTH
    assert numbers == "4 attempts: 1 breached, 2 held by SELinux, 1 unknown"


@pytest.mark.parametrize("count", [1, 16, 40, 90])
def test_width_is_kept_and_nothing_is_left_out(count: int) -> None:
    disks = [Disk(f"guest-with-a-name-{n:03}", "kvm1", f"/images/{n}.raw", shared=n % 2 == 0) for n in range(count)]
    attempts = [Attempt("web1", "kvm1", disk, HELD) for disk in disks]
    lines = matrix(attempts).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert sum(line.count(".") for line in lines if line.startswith("kvm1 web1")) == count


def test_disks_of_a_guest_have_names_of_their_own() -> None:
    second = Disk("web1", "kvm1", "/images/data.raw", shared=False)
    text = matrix([Attempt("db1", "kvm1", disk, HELD) for disk in (WEB, second)])
    assert "web1.raw" in text
    assert "data.raw" in text


def test_breaches_name_both_sides_and_the_way() -> None:
    assert breaches(SMALL) == ["twin2 on kvm2 opened /srv/vms/twin1.raw of twin1 on kvm1, across the share"]


def test_guest_that_opens_everything_has_one_line() -> None:
    disks = [Disk(f"g{n}", "kvm2", f"/images/{n}.raw", shared=False) for n in range(10)]
    (line,) = breaches([Attempt("stray", "kvm2", disk, BREACHED) for disk in disks])
    assert line == "stray on kvm2 opened 10 disks: those of g0, g1, g2, g3, g4, g5, g6, g7 and 2 more"


def test_each_reason_for_doubt_is_said_once() -> None:
    why = "Could not open '{}': No such file or directory"
    found = doubts([Attempt("web1", "kvm1", disk, UNKNOWN, why.format(disk.path)) for disk in (LEFT, RIGHT)])
    assert found == [
        "web1 on kvm1 at /srv/vms/twin1.raw and 1 more: Could not open 'the disk': No such file or directory"
    ]
