# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An audit changes nothing on any host."""

from __future__ import annotations

from tests.lab.lab import Lab
from tests.scenarios.lab import state_of
from tests.scenarios.playbooks import audit


def test_audit_changes_nothing_on_any_host(lab: Lab) -> None:
    audit(lab.inventory)  # Ansible's own folders on the host exist from here on
    before = {name: state_of(lab, name) for name in lab.names()}
    audit(lab.inventory)
    after = {name: state_of(lab, name) for name in lab.names()}
    for name in lab.names():
        assert len(before[name]["files"]) > 1000, "the comparison must have looked at the host"
        assert before[name]["processes"], "no daemon or guest was seen"
        for part in ("files", "processes", "selinux"):
            old, new = before[name][part], after[name][part]
            changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
            assert not changed, f"{name}: {part} changed: {sorted(changed)[:10]}"
