# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab that the scenario started, and the story of its hardening."""

from __future__ import annotations

import pytest
from story import Story, tell

from tests.lab.lab import Lab
from tests.scenarios.lab import lab
from tests.scenarios.soak import SOAK

__all__ = ["lab"]

#: What takes too long for ``make test`` beside all else; ``make soak`` has it.
LONG = ["test_disk_load.py", "test_repairs.py", "test_wire.py"]
collect_ignore = [] if SOAK else LONG


@pytest.fixture(scope="session")
def story(lab: Lab) -> Story:
    """Told once, whoever asks first."""
    return tell(lab)
