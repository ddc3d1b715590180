# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Coverage of an area from the reasons why parts of it are unknown.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..result import Reason
from ..words import and_more
from .model import OK, UNKNOWN, Coverage

_MAX_WHY = 1000
_MAX_REASONS = 8


def coverage_of(reasons: t.Collection[Reason]) -> Coverage:
    """The area's coverage; without a reason, all of it is known."""
    if not reasons:
        return Coverage(OK)
    texts = list(dict.fromkeys(each.text for each in reasons))
    why = "; ".join(texts[:_MAX_REASONS])[:_MAX_WHY] + and_more(len(texts) - _MAX_REASONS)
    return Coverage(UNKNOWN, why, list(dict.fromkeys(each.code for each in reasons)))
