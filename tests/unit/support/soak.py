# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long tests with random input run: briefly, or in the long form of `make soak`."""

from __future__ import annotations

import os

_LONG = 40


def rounds(number: int) -> int:
    """So many rounds, or with SVIRT_SOAK=1 forty times as many."""
    return number * _LONG if os.environ.get("SVIRT_SOAK") == "1" else number
