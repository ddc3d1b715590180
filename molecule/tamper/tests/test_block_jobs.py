# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots, block jobs, saves and backups of a guest: no finding while they last, none after a stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.host.domains import LOCAL, Disk, Guest
from tests.lab.lab import Lab
from tests.scenarios.node import Node
from tests.scenarios.playbooks import audit

NAME = "jobs"
IMAGE, SNAPSHOTS, SCRATCH = f"{LOCAL}/{NAME}.qcow2", f"{LOCAL}/{NAME}.s", f"{LOCAL}/{NAME}.scratch"
GUEST = Guest(NAME, (Disk(IMAGE, "qcow2"),))
BACKUP = (
    "<domainbackup mode='pull'><server transport='unix' socket='/run/libvirt/qemu/jobs.backup'/>"
    f"<disks><disk name='vda' backup='yes' type='file'><scratch file='{SCRATCH}'/></disk></disks></domainbackup>"
)


@pytest.fixture(scope="module")
def node(lab: Lab) -> Iterator[Node]:
    """The first host, with a guest of this test's own."""
    host = Node(lab, "kvm1")
    with host.guests(GUEST):
        yield host
    host.shell(f"rm -f {SNAPSHOTS}* {SCRATCH}")


def virsh(node: Node, *words: str) -> None:
    done = node.virsh(*words)
    assert done.returncode == 0, (words, done.stderr)


def snapshot(node: Node, number: int) -> None:
    virsh(
        node, "snapshot-create-as", NAME, "--disk-only", "--no-metadata", "--diskspec", f"vda,file={SNAPSHOTS}{number}"
    )


def clean(node: Node) -> None:
    seen = audit(node.lab.inventory)
    assert (seen.status, seen.found) == (0, set()), seen.output


def stopped(node: Node) -> None:
    """No finding after a stop; the guest runs again at the end."""
    virsh(node, "destroy", NAME)
    clean(node)
    virsh(node, "start", NAME)


def test_live_snapshot(node: Node) -> None:
    for number in (1, 2, 3):
        snapshot(node, number)
    clean(node)
    stopped(node)


def test_middle_commit(node: Node) -> None:
    for number in (4, 5):
        snapshot(node, number)
    virsh(node, "blockcommit", NAME, "vda", "--base", f"{SNAPSHOTS}1", "--top", f"{SNAPSHOTS}4", "--wait")
    clean(node)
    # libvirt leaves merged files with their label, which is a fault once the guest is off: their owner removes them.
    node.shell(f"rm {SNAPSHOTS}[234]")
    stopped(node)


def test_aborted_commit(node: Node) -> None:
    snapshot(node, 6)
    virsh(node, "blockcommit", NAME, "vda", "--active", "--shallow", "--wait")
    clean(node)
    virsh(node, "blockjob", NAME, "vda", "--abort")
    clean(node)
    stopped(node)


def test_active_commit(node: Node) -> None:
    virsh(node, "blockcommit", NAME, "vda", "--active", "--pivot", "--wait")
    clean(node)
    node.shell(f"rm {SNAPSHOTS}[156]")
    stopped(node)


def test_managed_save(node: Node) -> None:
    virsh(node, "managedsave", NAME)
    clean(node)
    virsh(node, "start", NAME)
    clean(node)
    stopped(node)


def test_pull_backup(node: Node) -> None:
    node.shell(f"cat > /run/{NAME}.xml <<'END'\n{BACKUP}\nEND")
    virsh(node, "backup-begin", NAME, f"/run/{NAME}.xml")
    clean(node)
    virsh(node, "domjobabort", NAME)
    clean(node)
    stopped(node)
