# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest with a static label moves by live migration, enforcing, and keeps its label and its disk."""

from __future__ import annotations

from itertools import pairwise

from busy import NAME
from moving import LEVEL, look, moving_guest

from tests.lab.lab import Lab
from tests.scenarios import migration
from tests.scenarios.node import Node
from tests.scenarios.soak import SOAK

#: From the host that exports the share to the host that mounts it, and back.
WAY = ("kvm2", "kvm1") * (5 if SOAK else 1)


def test_guest_keeps_its_label_and_its_disk_on_the_way(lab: Lab) -> None:
    with moving_guest(lab, WAY[-1]) as node, migration.between(lab, *lab.names()) as migrations:
        seen = [look(node)]
        for source, target in pairwise([WAY[-1], *WAY]):
            done = migrations.move(NAME, source, target)
            assert done.returncode == 0, done.stdout.decode()
            seen.append(look(Node(lab, target)))
        for host in lab.names():
            assert Node(lab, host).shell("cat /sys/fs/selinux/enforce").strip() == "1"
    labels = {(found.process, found.image) for found in seen}
    assert labels == {(f"system_u:system_r:svirt_t:{LEVEL}", f"system_u:object_r:svirt_image_t:{LEVEL}")}
    for earlier, later in pairwise(seen):
        assert later.before.passes >= earlier.after.passes, "it went on where it was, and was not started anew"
    for found in seen:
        assert found.after.clean, seen
        assert found.failures["failed_rd_operations"] == found.failures["failed_wr_operations"] == 0, seen
        assert min(found.failures["rd_operations"], found.failures["wr_operations"]) > 0, (
            "read and written, on this host"
        )
