# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every guest has a label of its own: foretold, given once, and no guest reaches another when all were cycled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from allocating import domain
from allocation_story import Story, tell
from reaching import FAULTS, LOST

from tests.drill.matrix import matrix
from tests.drill.outcome import BREACHED, numbers_of
from tests.lab import faults
from tests.lab.host.domains import SHARE, Disk, Guest, domain_xml, static_level, static_seclabel
from tests.lab.lab import Lab
from tests.scenarios.node import Node
from tests.scenarios.playbooks import audit

#: The disk of the fault that reach.yml undoes before the allocation.
UNDONE = f"{SHARE}/left2.raw"


@pytest.fixture(scope="module")
def story(lab: Lab) -> Iterator[Story]:
    """Run once; the faults are taken back after the last test, the labels stay."""
    try:
        yield tell(lab)
    finally:
        for host, names in FAULTS.items():
            faults.undo(host, *names, lab=lab.folder)


@pytest.mark.parametrize("host", ["kvm1", "kvm2"])
def test_foretelling_changes_nothing(story: Story, host: str) -> None:
    before, after = story.begin[host], story.foretold_states[host]
    assert len(before["files"]) > 1000, "the comparison must have looked at the host"
    for part in ("files", "processes", "selinux"):
        old, new = before[part], after[part]
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        assert not changed, f"{part} changed: {sorted(changed)[:10]}"


def test_the_prediction_is_what_was_done(story: Story) -> None:
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


def test_drill_opens_no_disk_of_another_guest_in_the_end(story: Story) -> None:
    # allocate gives guests other labels, and leaves files of no guest alone: IMG-005 names this one.
    opened = {(each.attacker, each.disk.path) for each in story.attempts if each.result == BREACHED}
    assert opened == {("node1", LOST.path)}, matrix(story.attempts)
    assert numbers_of(story.attempts).unknown == 0, matrix(story.attempts)
    then, now = (
        {(each.host, each.attacker, each.disk.path) for each in part if each.disk.path != UNDONE}
        for part in (story.before, story.attempts)
    )
    assert now == then, "the same attempts as before"


def test_label_that_was_changed_by_hand_is_reported_as_drift(lab: Lab, story: Story) -> None:
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
