# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each class of reach: reported, confirmed by the policy, shown by the drill. Run before anything is allocated."""

from __future__ import annotations

from typing import Any

import pytest
from allocating import domain
from reaching import LOST, Reach, drilled, keep

from tests.drill.matrix import matrix
from tests.drill.outcome import BREACHED, Attempt, numbers_of
from tests.lab.host.domains import static_level
from tests.lab.host.faults_category import BOXED_LEVEL, MEETING_LEVEL
from tests.lab.lab import Lab
from tests.scenarios.playbooks import audit

TWINS, NODE1, SAME = "s0:c33,c287,c528,c976", static_level(13), static_level(220)
CHANCE, DOMINATES = static_level(250), "s0:c33,c287,c528,c787,c788,c797,c798"

#: Rule, host, subject and class of what the faults show while nothing brings guests together but the share.
REACH = {
    ("CAT-001", "", TWINS, "E2"),
    ("CAT-001", "", NODE1, "E2"),
    ("CAT-001", "", DOMINATES, "E2"),
    ("CAT-002", "kvm1", SAME, "E1"),
    ("CAT-002", "kvm1", DOMINATES, "E1"),
    ("CAT-003", "", MEETING_LEVEL, "E3"),
    ("CAT-011", "kvm1", BOXED_LEVEL, "E1"),
}
APART = {("CAT-004", "", "fleet", "E4")}
POOLED = {("CAT-003", "", CHANCE, "E3")}

#: Who opens whose disk.
BREACHES = {
    ("same-a", "same-b"),
    ("same-b", "same-a"),
    ("twin1", "twin2"),
    ("twin2", "twin1"),
    *(("guest-dominates", name) for name in ("app1", "mail1", "app2", "mail2")),
    ("node1", "left2"),
    ("node1", LOST.guest),
}


@pytest.fixture(scope="module")
def reach(lab: Lab) -> Reach:
    """Looked at once; the attempts are kept for the drill after the allocation."""
    apart, pooled = audit(lab.inventory), audit(lab.inventory, svirt_label_domains=[domain(lab, "static")])
    attempts = drilled(lab)
    keep(lab, attempts)
    return Reach(apart, pooled, attempts)


def classes(report: dict[str, Any]) -> set[tuple[str, str, str, str]]:
    """Rule, host, subject and class of the findings about categories that have a class."""
    return {
        (item["rule"], item["host"], item["subject"], item["class"])
        for item in report["findings"]
        if item["rule"].startswith("CAT-") and item.get("class")
    }


def breached(attempts: list[Attempt]) -> set[tuple[str, str]]:
    return {(attempt.attacker, attempt.disk.guest) for attempt in attempts if attempt.result == BREACHED}


def test_every_class_is_reported(reach: Reach) -> None:
    assert classes(reach.apart.report) == REACH | APART, reach.apart.output
    assert classes(reach.pooled.report) == REACH | POOLED, reach.pooled.output


def test_what_is_reached_now_is_confirmed_by_the_loaded_policy(reach: Reach) -> None:
    for item in reach.pooled.report["findings"]:
        if item["rule"] in ("CAT-001", "CAT-002"):
            assert item["evidence"]["decided_by"] == "confirmed by policy", item
    (box,) = (item for item in reach.pooled.report["findings"] if item["rule"] == "CAT-011")
    # Debian's policy keeps containers and guests apart by their types; where one does not, this is confirmed as well.
    assert "policy" in box["evidence"]["decided_by"], box


def test_file_of_no_guest_names_the_guest_that_can_open_it(reach: Reach) -> None:
    (lost,) = (item for item in reach.apart.report["findings"] if item["subject"] == f"image {LOST.path}")
    assert (lost["rule"], lost["class"]) == ("IMG-005", "E2"), lost
    assert [guest["guest"] for guest in lost["evidence"]["reached_by"]] == ["node1"]


def test_drill_opens_what_is_reported_and_nothing_else(reach: Reach) -> None:
    assert breached(reach.attempts) == BREACHES, matrix(reach.attempts)
    numbers = numbers_of(reach.attempts)
    assert numbers.unknown == 0, matrix(reach.attempts)
    assert numbers.held > len(BREACHES)
