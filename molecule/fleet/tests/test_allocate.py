# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each class of reach: found, confirmed by the policy, shown by the drill; gone when every guest has its own label."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from allocating import domain
from allocation_story import FAULTS, LOST, Reach, Story, look, tell

from tests.drill.matrix import matrix
from tests.drill.outcome import BREACHED, Attempt, numbers_of
from tests.lab import faults
from tests.lab.host.domains import Disk, Guest, domain_xml, static_level, static_seclabel
from tests.lab.host.faults_category import BOXED_LEVEL, MEETING_LEVEL
from tests.lab.lab import Lab
from tests.scenarios.node import Node
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
def reach(lab: Lab) -> Iterator[Reach]:
    """Looked at once; the faults are taken back after the last test, the labels stay."""
    try:
        yield look(lab)
    finally:
        for host, names in FAULTS.items():
            faults.undo(host, *names, lab=lab.folder)


@pytest.fixture(scope="module")
def story(lab: Lab, reach: Reach, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Told once, with the faults there."""
    assert numbers_of(reach.attempts).breached
    return tell(lab, tmp_path_factory.mktemp("static"))


def classes(report: dict[str, Any]) -> set[tuple[str, str, str, str]]:
    """Rule, host, subject and class of the findings about categories that have a class."""
    return {
        (item["rule"], item["host"], item["subject"], item["class"])
        for item in report["findings"]
        if item["rule"].startswith("CAT-") and item.get("class")
    }


def breached(attempts: list[Attempt]) -> set[tuple[str, str]]:
    return {(attempt.attacker, attempt.disk.guest) for attempt in attempts if attempt.result == BREACHED}


def test_every_class_is_found(reach: Reach) -> None:
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


def test_drill_opens_what_is_found_and_nothing_else(reach: Reach) -> None:
    assert breached(reach.attempts) == BREACHES, matrix(reach.attempts)
    numbers = numbers_of(reach.attempts)
    assert numbers.unknown == 0, matrix(reach.attempts)
    assert numbers.held > len(BREACHES)


@pytest.mark.parametrize("host", ["kvm1", "kvm2"])
def test_foretelling_changes_nothing(story: Story, host: str) -> None:
    before, after = story.begin[host], story.foretold_states[host]
    assert len(before["files"]) > 1000, "the comparison must have looked at the host"
    for part in ("files", "processes", "selinux"):
        old, new = before[part], after[part]
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        assert not changed, f"{part} changed: {sorted(changed)[:10]}"


def test_what_was_foretold_is_what_was_done(story: Story) -> None:
    for run in (story.foretold, story.done, story.again, story.cycled):
        assert not run.run.failed_beside_the_verdict, run.run.output
    assert story.foretold.of("category_allocation")[0]["plan"] == story.done.of("category_allocation")[0]["plan"]
    # Which host is the canary is nobody's choice, so the hosts are looked at one by one.
    for host, module in itertools.product(("kvm1", "kvm2"), ("category_range", "guest_seclabel")):
        foretold, done = story.foretold.run.of(host, module), story.done.run.of(host, module)
        assert [item.get("plan") for item in foretold] == [item.get("plan") for item in done], (host, module)
        assert [item["changed"] for item in foretold] == [item["changed"] for item in done], (host, module)
    assert any(item["changed"] for item in story.done.of("guest_seclabel")), story.done.run.output


def test_second_run_changes_nothing(story: Story) -> None:
    assert story.again.run.changed == [], story.again.run.output


def test_running_guests_are_left_alone_and_named_until_they_may_be_cycled(story: Story) -> None:
    waiting = {
        item["subject"]
        for result in story.done.of("guest_seclabel")
        for item in result["pending"]
        if item["needs"] == "guest_power_cycle"
    }
    assert {"guest web1", "guest db1", "guest web2", "guest db2"} <= waiting, "their labels were drawn"
    assert "guest guest-dominates" in waiting
    assert waiting & {"guest twin1", "guest twin2"}, "one of them may keep the label"
    assert not waiting & {"guest spare1", "guest archive2"}, "what is off needs no power cycle"
    cycled = [step["subject"] for result in story.cycled.of("guest_power_cycle") for step in result["plan"]]
    assert set(cycled) == waiting, story.cycled.run.output


def test_with_all_of_them_cycled_no_guest_reaches_another(story: Story) -> None:
    assert story.cycled.categories == set(), story.cycled.run.output


def test_drill_is_refused_everywhere_in_the_end(reach: Reach, story: Story) -> None:
    assert numbers_of(story.attempts).refused, matrix(story.attempts)
    then, now = (
        {(each.host, each.attacker, each.disk.path) for each in part} for part in (reach.attempts, story.attempts)
    )
    assert now == then, "the same attempts as before"


def test_label_that_was_changed_by_hand_is_told_as_drift(lab: Lab, story: Story) -> None:
    assert story.cycled.categories == set()
    node = Node(lab, "kvm1")
    kept = node.virsh("dumpxml", "--inactive", "spare1").stdout
    disks = (Disk("/var/lib/libvirt/images/spare1.raw"),)
    other = domain_xml(Guest("spare1", disks, static_seclabel(static_level(270))))
    try:
        lab.remote(node.name).call("virsh define /dev/stdin", stdin=other)
        seen = audit(
            lab.inventory,
            svirt_label_domains=[domain(lab, "static")],
            svirt_ledger=f"sqlite:///{story.folder}/fleet.db",
        )
    finally:
        lab.remote(node.name).call("virsh define /dev/stdin", stdin=kept)
    assert {item["rule"] for item in seen.report["findings"] if item["rule"].startswith("CAT-")} == {"CAT-008"}
