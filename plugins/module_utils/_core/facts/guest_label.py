# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault of the label that a guest runs with.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..errors import LabelError
from ..libvirt.category_range import libvirt_range
from ..selinux.context import CategorySet, Context
from ..selinux.shipped_types import named_open

OPEN = "open"
FOREIGN = "foreign"
NARROW = "narrow"
WIDE = "wide"
#: No sound label needs more categories: libvirt draws two, a static label has four. Nine contain 36 pairs.
MAX_CATEGORIES = 8


def holds_the_range(categories: CategorySet, daemon: str | None) -> bool:
    """The set contains the daemon's whole range, and so every dynamic guest's pair."""
    try:
        drawn = libvirt_range(daemon) if daemon else None
    except LabelError:
        return False
    if drawn is None or drawn.categories > len(categories):
        return False
    return all(number in categories for number in range(drawn.low, drawn.high + 1))


def fault_of(
    context: Context, types: t.Container[str], daemon: str | None, runs_open: t.Callable[[str], bool] = named_open
) -> str | None:
    """The fault of the label that a guest runs with; None for a sound label.

    ``types`` are the guests' types, ``daemon`` the label of libvirt's daemon, which holds its range. ``runs_open`` says
    whether the policy confines nothing of a type; without it the shipped names count.
    """
    if runs_open(context.type):
        return OPEN
    if context.type not in types:
        return FOREIGN
    if len(context.categories) < 2:
        return NARROW
    if len(context.categories) > MAX_CATEGORIES or holds_the_range(context.categories, daemon):
        return WIDE
    return None
