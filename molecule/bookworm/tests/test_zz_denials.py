# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenario did left no denial of our own programs on any host. By its name, it comes last."""

from __future__ import annotations

from tests.scenarios.denials import test_no_program_of_ours_was_denied_anything

__all__ = ["test_no_program_of_ours_was_denied_anything"]
