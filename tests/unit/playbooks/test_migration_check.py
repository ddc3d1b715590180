# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The check over hosts that cannot be read: unknown is no yes."""

from __future__ import annotations

from pathlib import Path

from tests.unit.support.playbooks import Run, inventory, play, refused

__all__ = ["inventory", "refused"]

ASKED = ("-e", '{"svirt_migration_guests": ["web"], "svirt_migration_target": "down2"}')


def check(inventory: Path, *options: str) -> Run:
    return play("migration_check", inventory, "--limit", "down", *options)


def test_with_every_host_down_nothing_may_migrate(inventory: Path) -> None:
    run = check(inventory, *ASKED)
    assert run.status == 2, run.output
    assert "unknown  web to down2" in run.output
    assert "down1, down2 could not be read" in run.output


def test_guests_and_target_must_be_said(inventory: Path) -> None:
    run = check(inventory)
    assert run.status == 2, run.output
    assert "Give svirt_migration_guests" in run.output


def test_no_host_at_all_is_no_success(inventory: Path) -> None:
    assert check(inventory, *ASKED, "-e", "svirt_hosts=nobody").status != 0
