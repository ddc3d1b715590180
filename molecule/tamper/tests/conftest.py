# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab that the scenario started, without faults."""

from __future__ import annotations

from tests.scenarios.lab import lab

__all__ = ["lab"]
