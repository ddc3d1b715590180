# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The category range that a libvirt daemon draws from, parsed from the daemon's context as libvirt parses it.

libvirt's parser is not the MLS grammar: it takes the first ``cLOW.cHIGH`` after the first colon of the range and
ignores the rest.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import LabelError
from ..selinux.context import MAX_CATEGORY, MAX_TEXT

#: Below this libvirt refuses to draw at all, so no guest starts.
MIN_CATEGORIES = 8

_NUMBER = re.compile(r"c([+-]?[0-9]{1,9})")


@dataclass(frozen=True)
class DaemonRange:
    """Categories ``low`` to ``high``, both included, at one sensitivity."""

    low: int
    high: int
    sensitivity: str = "s0"

    @property
    def categories(self) -> int:
        """How many categories there are to draw from."""
        return self.high - self.low + 1

    @property
    def pairs(self) -> int:
        """How many guests can have a pair of their own: libvirt draws two different categories."""
        return self.categories * (self.categories - 1) // 2

    def overlaps(self, other: DaemonRange) -> bool:
        """Whether two daemons can draw the same category."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        return f"c{self.low}.c{self.high}"


def libvirt_range(context: str) -> DaemonRange:
    """The range that libvirt takes from its daemon's context. Raises LabelError with libvirt's own message."""
    if len(context) > MAX_TEXT:
        raise LabelError(f"label of {len(context)} characters is longer than {MAX_TEXT}")
    parts = context.rstrip("\0\n").split(":", 3)
    if len(parts) < 3:
        raise LabelError(f"Unable to parse current SELinux context '{context[:200]}'")
    levels, colon, categories = (parts[3] if len(parts) > 3 else "s0").partition(":")
    sensitivity = levels.partition("-")[0]
    # Without categories libvirt assumes them all, though the daemon may not use them when enforcing.
    low, high = _pair(categories) if colon else (0, MAX_CATEGORY)
    if high - low + 1 < MIN_CATEGORIES:
        raise LabelError(f"Category range c{low}-c{high} too small")
    return DaemonRange(low, high, sensitivity)


def _pair(categories: str) -> tuple[int, int]:
    low = _NUMBER.match(categories)
    if low is None:
        raise LabelError(f"Cannot parse category in {categories[:200]}")
    rest = categories[low.end() :]
    if not rest:
        raise LabelError("No category range available")
    high = _NUMBER.match(rest, 1)
    if not rest.startswith(".") or high is None:
        raise LabelError(f"Cannot parse category in {categories[:200]}")
    return int(low.group(1)), int(high.group(1))
