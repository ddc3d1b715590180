# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``svirt.fleet.harden`` foretells, does, leaves alone, and does not do twice."""

from __future__ import annotations

from typing import Any

import pytest
from story import FAULTS, Hardening, Story, guests, harden

from tests.lab import faults
from tests.lab.lab import Lab
from tests.scenarios.playbooks import audit

HOSTS = ("kvm1", "kvm2")
TWINS = ("CAT-001", "", "s0:c33,c287,c528,c976")

#: What hardening leaves, for it needs a guest's power cycle or people.
LEFT = {
    TWINS,
    ("GST-001", "kvm1", "process handmade"),
    ("GST-010", "kvm2", "guest stray"),
    ("GST-008", "kvm2", "guest guest-static-no-relabel"),
    ("GST-010", "kvm1", "guest pending"),
}
#: The guests that it takes.
WAITING = ["stray", "twin1", "twin2", "pending", "guest-static-no-relabel"]


def expected() -> set[tuple[str, str, str]]:
    """What the faults show before anything is done."""
    found = {TWINS}
    for host in HOSTS:
        for name in (*faults.default_faults(host), *FAULTS[host]):
            for rule, subject in faults.FAULTS[name].expects:
                found.add((rule, host, subject.format(host=host).replace("process PID ", "process ")))
    return found


def told(hardening: Hardening, host: str) -> dict[str, list[Any]]:
    """What each module of ours said on a host that it did or would do."""
    found: dict[str, list[Any]] = {}
    for item in hardening.run.results:
        if item["host"] == host and "plan" in item["result"]:
            about = {key: item["result"].get(key) for key in ("changed", "plan", "pending", "refused")}
            found.setdefault(item["task"], []).append(about)
    return found


def test_the_faults_are_there_before(story: Story) -> None:
    assert story.foretold.found == expected(), story.foretold.run.output


@pytest.mark.parametrize("host", HOSTS)
def test_foretelling_changes_nothing(story: Story, host: str) -> None:
    before, after = story.begin[host], story.foretold.states[host]
    assert len(before["files"]) > 1000, "the comparison must have looked at the host"
    for part in ("files", "processes", "selinux"):
        old, new = before[part], after[part]
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        assert not changed, f"{part} changed: {sorted(changed)[:10]}"


@pytest.mark.parametrize("host", HOSTS)
def test_the_prediction_is_what_was_done(story: Story, host: str) -> None:
    foretold, done = told(story.foretold, host), told(story.done, host)
    assert foretold.keys() == done.keys()
    assert any(item["changed"] for items in done.values() for item in items), story.done.run.output
    for task in done:
        assert foretold[task] == done[task], task


def test_nothing_failed(story: Story) -> None:
    for hardening in (story.foretold, story.done, story.again):
        assert not hardening.run.failed_beside_the_verdict, hardening.run.output


def test_what_can_be_repaired_is_repaired_and_the_rest_is_named(story: Story) -> None:
    assert story.done.found == LEFT, story.done.run.output
    assert story.again.found == LEFT, story.again.run.output
    assert {item["cost"] for item in story.done.report["findings"]} <= {"guest_power_cycle", "operator", "reboot"}


def test_what_is_pending_fails_the_audit(lab: Lab, story: Story) -> None:
    seen = audit(lab.inventory)
    # Another test ends the process that was started by hand.
    assert {item[0] for item in LEFT} - {"GST-001"} <= {item[0] for item in seen.found} <= {item[0] for item in LEFT}
    assert seen.status != 0, "pending is not done"


@pytest.mark.parametrize("host", HOSTS)
def test_every_guest_runs_on(story: Story, host: str) -> None:
    before = guests(story.begin[host])
    assert len(before) > 4
    assert guests(story.done.states[host]) == before
    assert guests(story.again.states[host]) == before
    assert story.again.states[host]["selinux"]["enforce"] == "1"


@pytest.mark.parametrize("host", HOSTS)
def test_the_second_run_changes_nothing(story: Story, host: str) -> None:
    assert [item for item in story.again.run.changed if item[0] == host] == []
    before, after = story.done.states[host], story.again.states[host]
    for part in ("files", "processes", "selinux"):
        changed = {key for key in before[part] if before[part][key] != after[part].get(key)}
        assert not changed, f"{part} changed: {sorted(changed)[:10]}"


def test_with_the_waiting_guests_cycled_and_the_hand_started_one_ended_the_audit_passes(lab: Lab, story: Story) -> None:
    assert story.again.found == LEFT
    faults.undo("kvm1", "qemu-by-hand", lab=lab.folder)
    # The lab's guests have no operating system that could shut them down.
    ended = harden(
        lab,
        svirt_serial="100%",  # one after the other was shown above
        svirt_guest_power_cycle=WAITING,
        svirt_guest_power_cycle_force=True,
        kvm_node_guest_power_cycle_timeout=2,
    )
    assert ended.found == set(), ended.run.output
    assert ended.report["verdict"] == "pass"
    assert ended.run.status == 0, ended.run.output
