# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real host, hardened and put back: the audit shows the old findings again, and the files are as they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from looking import HOST, Host, differences

from tests.lab import faults
from tests.scenarios.playbooks import audit, run
from tests.scenarios.soak import SOAK

#: A QEMU started by hand is the operator's to end. The filters here would learn addresses, which would cut the guests
#: off where the policy does not allow it; the supporting module, which does, takes an emulated host long to install.
LEFT = {"GST-001"} if SOAK else {"GST-001", "NET-001", "NET-003"}


@pytest.fixture
def findings(host: Host) -> Iterator[set[tuple[str, str, str]]]:
    """What the audit finds with the lab's own faults beside those of conftest.py."""
    names = faults.default_faults(HOST)
    faults.inject(HOST, *names, lab=host.lab.folder)
    yield audit(host.lab.inventory, limit=HOST).found
    faults.undo(HOST, *names, lab=host.lab.folder)


def test_rollback_brings_the_old_findings_back(host: Host, findings: set[tuple[str, str, str]], tmp_path: Path) -> None:
    now = Host(host.lab)  # with the guests that the faults brought
    before = now.files()
    assert {"IMG-003", "IMG-005", "IMG-007", "GST-003", "SEL-003"} <= {rule for rule, _host, _subject in findings}
    variables = {"selinux_soak_seconds": 0, "selinux_support": SOAK, "svirt_report_dir": str(tmp_path)}
    hardened = run("svirt.fleet.harden", host.lab.inventory, limit=HOST, **variables)
    assert not hardened.failed_beside_the_verdict, hardened.output
    assert differences(before, now.files())
    left = audit(host.lab.inventory, limit=HOST).found
    assert left < findings
    assert {rule for rule, _host, _subject in left} == LEFT
    back = run("svirt.fleet.rollback", host.lab.inventory, limit=HOST)
    assert back.status == 0, back.output
    assert differences(before, now.files()) == {}
    assert host.journal() == {}
    assert audit(host.lab.inventory, limit=HOST).found == findings
