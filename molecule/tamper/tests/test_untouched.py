# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An audit changes nothing on any host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from auditing import audit

from tests.lab.lab import Lab

PROGRAM = Path(__file__).with_name("host_state.py")


def states(lab: Lab) -> dict[str, dict[str, Any]]:
    """What each host looks like now."""
    return {
        name: json.loads(lab.remote(name).call("python3 -", stdin=PROGRAM.read_text()).stdout) for name in lab.names()
    }


def test_audit_changes_nothing_on_any_host(lab: Lab) -> None:
    audit(lab.inventory)  # Ansible's own folders on the host exist from here on
    before = states(lab)
    audit(lab.inventory)
    after = states(lab)
    for name in lab.names():
        assert len(before[name]["files"]) > 1000, "the comparison must have looked at the host"
        assert before[name]["processes"], "no daemon or guest was seen"
        for part in ("files", "processes", "selinux"):
            old, new = before[name][part], after[name][part]
            changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
            assert not changed, f"{name}: {part} changed: {sorted(changed)[:10]}"
