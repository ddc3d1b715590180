# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""How property tests run: without a clock, since a busy machine is no counter-example. Their notes go to build/.

Fixtures of all unit tests: ``no_hang`` interrupts a test that does not end, ``cases`` the case of a fuzz test.
"""

from __future__ import annotations

from pathlib import Path

import hypothesis
from hypothesis.configuration import set_hypothesis_home_dir

from tests.unit.support.fuzzing import cases
from tests.unit.support.hang import no_hang

__all__ = ("cases", "no_hang")

set_hypothesis_home_dir(Path(__file__).resolve().parents[2] / "build" / "cache" / "hypothesis")
hypothesis.settings.register_profile("svirt", deadline=None, print_blob=True)
hypothesis.settings.load_profile("svirt")
