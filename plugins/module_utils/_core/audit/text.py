# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Untrusted text on a terminal: escaped, measured in columns, cut and wrapped.

Tenants choose guest names and paths. A terminal executes escape sequences, reorders lines for bidirectional overrides
and draws nothing for zero-width characters; all of these become visible escapes here.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
import unicodedata

_RUNS = re.compile(r"[^\\\t\n]+")
#: Depth of a value that is no data of ours.
_DEPTH = 40
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


def escape(text: str, ascii_only: bool = False) -> str:
    """The text with an escape for each character that does not draw exactly one glyph."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_escaped(character, ascii_only) for character in text)


def _escaped(character: str, ascii_only: bool) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if character.isascii() and character.isprintable():
        return character
    # Marks stack on the character before them without bound; format characters reorder or hide text.
    if not ascii_only and character.isprintable() and unicodedata.category(character) not in ("Mn", "Me"):
        return character
    number = ord(character)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def visible_text(text: str) -> str:
    """The text escaped, but for backslashes, tabs and line ends: for texts of several lines, such as diffs."""
    if text.isascii() and text.isprintable():
        return text
    return _RUNS.sub(lambda part: escape(part[0]), text)


def visible(value: t.Any, depth: int = 0) -> t.Any:
    """Plain data with all its texts escaped so, keys too."""
    if isinstance(value, str):
        return visible_text(value)
    if depth > _DEPTH:
        return visible_text(repr(value)[:200])
    if isinstance(value, dict):
        return {visible(key, depth + 1): visible(entry, depth + 1) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [visible(entry, depth + 1) for entry in value]
    return value


def columns(text: str) -> int:
    """Number of columns of an escaped text."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def cut(text: str, width: int, mark: str) -> str:
    """The text within so many columns; the mark replaces its middle."""
    if columns(text) <= width:
        return text
    room = max(width - columns(mark), 0)
    tail = _prefix(reversed(text), room // 3)
    head = _prefix(text, room - columns(tail))
    return (head + mark + tail[::-1])[: max(width, 0)]


def _prefix(characters: t.Iterable[str], room: int) -> str:
    kept: list[str] = []
    for character in characters:
        room -= columns(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept)


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most so many columns, broken at spaces; a word that is too long is broken anywhere."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if columns(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        line = word
        while columns(line) > width:
            part = _prefix(line, width) or line[0]
            lines.append(part)
            line = line[len(part) :]
    return [*lines, line] if line or not lines else lines
