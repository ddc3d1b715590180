# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of guests and hosts in what a task shows: results, diffs, messages.

Ansible writes them to the terminal as they are. Control characters, marks and characters that turn the direction of
text become visible escapes; lines stay lines.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..module_utils._core.audit.text import escape

#: Depth at which a value is no data of ours.
_DEPTH = 40


def clean_text(text: str) -> str:
    """The text with everything escaped that does not simply draw one character; backslashes and line ends stay."""
    if text.isascii() and text.isprintable():
        return text
    lines = text.split("\n")
    return "\n".join("\\".join(escape(part) for part in line.split("\\")) for line in lines)


def clean(value: t.Any, depth: int = 0) -> t.Any:
    """Plain data with all its texts, keys too, cleaned."""
    if isinstance(value, str):
        return clean_text(value)
    if depth > _DEPTH:
        return clean_text(repr(value)[:200])
    if isinstance(value, t.Mapping):
        return {clean(key, depth + 1): clean(entry, depth + 1) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(entry, depth + 1) for entry in value]
    return value
