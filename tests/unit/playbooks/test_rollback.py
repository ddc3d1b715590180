# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The rollback over no hosts, run as an operator runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.support.playbooks import inventory, play, refused

__all__ = ["inventory", "refused"]


@pytest.mark.parametrize("options", [("-e", "svirt_hosts=nobody"), ("--limit", "nobody")])
def test_no_host_at_all_is_no_success(inventory: Path, options: tuple[str, str]) -> None:
    assert play("rollback", inventory, *options).status != 0
