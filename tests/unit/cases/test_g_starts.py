# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs that fit what the host can have, and what libvirt does at a guest's next start."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import SecLabel
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.libvirt_reader import missing_binding

from tests.unit.support import factory
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.faults.case import guest, set_key
from tests.unit.support.judging import findings


@pytest.mark.parametrize(
    ("release", "can_be_had"),
    [
        ('ID="rhel"\nVERSION_ID="8.10"\nPLATFORM_ID="platform:el8"\n', False),
        ('ID="rocky"\nPLATFORM_ID="platform:el8"\n', False),
        ('ID="rhel"\nPLATFORM_ID="platform:el9"\n', True),
        ("ID=debian\n", True),
        (None, True),
    ],
)
def test_g4_a_binding_that_cannot_be_had(release: str | None, can_be_had: bool) -> None:
    tree = Tree()
    if release is not None:
        tree.file("/etc/os-release", release)
    said = missing_binding(CapturedRoot(tree))
    assert ("install python3-libvirt" in said) is can_be_had
    assert ("cannot be had here" in said) is not can_be_had


@pytest.mark.parametrize(("require", "refused"), [(1, True), (0, False), (None, False)])
def test_g5_a_start_that_libvirt_refuses(require: int | None, refused: bool) -> None:
    snapshot = factory.host()
    set_key(snapshot, "security_require_confined", require)
    guest(snapshot, "web").persistent_labels = [SecLabel(None, "none")]
    (finding,) = [item for item in findings(snapshot) if item.rule == "GST-003"]
    assert ("refuses the guest's next start" in finding.fix) is refused
    assert finding.evidence["security_require_confined"] == int(refused)
