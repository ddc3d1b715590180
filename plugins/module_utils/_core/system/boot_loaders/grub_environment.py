# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB's environment block: variables that grub.cfg loads with load_env, in a file of fixed size.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import PlanError
from ..kernel_arguments import BootRequest, strengthen
from .files import MAX_TEXT

_UNIT = 1024
_HEAD = "# GRUB Environment Block\n"


def parse_grubenv(text: str) -> dict[str, str]:
    """Variables of a GRUB environment block; GRUB reads nothing of a text that does not begin as a block does."""
    return _variables(text) if text.startswith(_HEAD) else {}


def _variables(text: str) -> dict[str, str]:
    """Variables by their lines; a backslash escapes the character after it."""
    variables: dict[str, str] = {}
    for line in re.sub(r"\\\n", "", text[:MAX_TEXT]).split("\n"):
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            variables[name] = re.sub(r"\\(.)", r"\1", value)
    return variables


def edit_grubenv(text: str, request: BootRequest, names: t.Collection[str]) -> str:
    """The environment block with these variables as they should be, of the same size. Raises PlanError."""
    variables = _variables(text)
    edits = {name: strengthen(variables[name], request, choose=False) for name in names if name in variables}
    edits = {name: value for name, value in edits.items() if value != variables[name]}
    if not edits:
        return text
    if len(text.encode("utf-8", "surrogateescape")) % _UNIT or not text.startswith(_HEAD):
        raise PlanError("it is no GRUB environment block; make a new one with grub-editenv", "no_environment_block")
    lines = re.sub(r"\\\n", "\\\0", text).rstrip("#").split("\n")  # an escaped end of line does not end the line
    for place, line in enumerate(lines):
        name = line.partition("=")[0]
        if name in edits and not line.startswith("#"):
            lines[place] = f"{name}=" + re.sub(r"([\\\n])", r"\\\1", edits[name])
    edited = "\n".join(lines).replace("\\\0", "\\\n")
    room = len(text.encode("utf-8", "surrogateescape")) - len(edited.encode("utf-8", "surrogateescape"))
    if room < 0:
        raise PlanError("the GRUB environment block is full; use grub-editenv to make room", "environment_block_full")
    edited += "#" * room
    after = parse_grubenv(edited)
    if {**variables, **edits} != {name: value for name, value in after.items() if name in variables}:
        raise PlanError(
            "the GRUB environment block cannot be edited safely; use grub-editenv", "environment_block_not_editable"
        )
    return edited
