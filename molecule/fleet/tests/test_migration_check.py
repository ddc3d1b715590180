# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``svirt.fleet.migration_check`` refuses what would cost a guest its isolation or its disk, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.lab import faults
from tests.lab.lab import Lab
from tests.scenarios.playbooks import Run, run

#: A guest whose label is taken on the target, one whose label is drawn; and an exporter that takes the disk away.
FAULTS = {
    "kvm1": ["static-twin", "dynamic-on-share", "shared-filesystems-missing"],
    "kvm2": ["static-twin"],
}
WHY = {
    "twin1": "has the categories of guest twin2",
    "drifter1": "its label is drawn, and /srv/vms/drifter1.raw lies on labelled shared storage",
    "app1": "kvm1 exports /srv/vms, and shared_filesystems of its qemu.conf does not name it",
}


def check(lab: Lab, folder: Path, *guests: str) -> tuple[Run, dict[str, dict[str, Any]]]:
    """May these guests go from kvm1 to kvm2; the answers by guest."""
    made = run(
        "svirt.fleet.migration_check",
        lab.inventory,
        svirt_report_dir=str(folder),
        svirt_timeout=120,
        svirt_migration_guests=list(guests),
        svirt_migration_target="kvm2",
    )
    (result,) = made.of("kvm1", "migration_check")
    return made, {answer["asked"]: answer for answer in result["answers"]}


def test_guest_with_a_label_and_a_disk_that_both_hosts_have_may_go(lab: Lab, tmp_path: Path) -> None:
    made, answers = check(lab, tmp_path, "app1", "node1")
    assert made.status == 0, made.output
    assert {answer["verdict"] for answer in answers.values()} == {"allowed"}, made.output


def test_each_move_that_would_harm_is_refused_with_the_reason(lab: Lab, tmp_path: Path) -> None:
    try:
        for host, names in FAULTS.items():
            faults.inject(host, *names, lab=lab.folder)
        made, answers = check(lab, tmp_path, *WHY)
    finally:
        for host, names in FAULTS.items():
            faults.undo(host, *names, lab=lab.folder)
    assert made.status != 0
    for guest, why in WHY.items():
        assert answers[guest]["verdict"] == "refused", answers[guest]
        assert any(why in reason["why"] for reason in answers[guest]["reasons"]), answers[guest]
