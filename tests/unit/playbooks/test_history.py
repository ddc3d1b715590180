# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Looking back at hosts that cannot be read: unknown is no pass."""

from __future__ import annotations

from pathlib import Path

from tests.unit.support.playbooks import inventory, play, refused

__all__ = ["inventory", "refused"]


def test_hosts_that_are_down_have_no_past(inventory: Path) -> None:
    run = play("history", inventory, "--limit", "down")
    assert run.status == 2, run.output
    assert "verdict unknown for the time since never" in run.output
    assert "down1: unknown:" in run.output


def test_a_time_that_is_none_is_refused_before_any_host_is_read(inventory: Path) -> None:
    run = play("history", inventory, "-e", "svirt_history_since=yesterday")
    assert run.status != 0
    assert "svirt_history_since" in run.output
