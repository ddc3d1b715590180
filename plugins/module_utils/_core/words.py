# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of names in messages. Outside all folders: the readers and writers of _host use them too.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t


def some(names: t.Sequence[str], shown: int = 3, separator: str = ", ") -> str:
    """The first of the names, and how many more there are: "a, b, c and 4 more"."""
    return separator.join(names[:shown]) + and_more(len(names) - shown)


def and_more(count: int) -> str:
    """The end of a list of which ``count`` entries are left out; empty for none."""
    return f" and {count} more" if count > 0 else ""
