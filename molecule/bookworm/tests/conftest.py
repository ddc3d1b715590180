# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab that the scenario started, without faults."""

from __future__ import annotations

from tests.scenarios.lab import lab
from tests.scenarios.progress import pytest_runtest_logreport

__all__ = ["lab", "pytest_runtest_logreport"]
