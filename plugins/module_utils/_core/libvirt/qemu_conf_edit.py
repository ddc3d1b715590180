# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of qemu.conf that leave everything else in it as it is.

libvirt uses the first assignment of a key, so the first is edited; later ones of the same key become comments. A key
without an assignment is added below libvirt's own commented example of it. The new text is parsed by libvirt's
grammar: the edited keys must have the requested values, all other assignments must be unchanged.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ..errors import PlanError
from ..snapshot.model import Assignment, ConfProblem
from . import qemu_conf, qemu_conf_keys

SET, ADD, UNSET, DUPLICATE = "set", "add", "unset", "comment_out_duplicate"

#: A list that is longer is written on several lines.
_WIDTH = 100
_EXAMPLE_LINES = 100
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ENDS = re.compile(r"\r\n|\n|\r")
_BLANKS = " \t"
_NEXT_ON_LINE = re.compile(r"[ \t]*;[ \t]*(?=[^\s#])")


@dataclass(frozen=True)
class ConfEdit:
    """One edit of the text."""

    action: str
    key: str
    #: Line in the old text; 0 for a key that it did not have.
    line: int
    before: t.Any
    after: t.Any


def change(text: str, wanted: t.Mapping[str, t.Any], duplicates: bool = False) -> tuple[str, list[ConfEdit]]:
    """The text with these values (None: no assignment), and the edits; none when it has them already.

    Later assignments of these keys become comments; with ``duplicates``, those of all other keys too. Raises PlanError
    for a text that libvirt could not parse, a key that it does not know, and a value that it would not take.
    """
    assignments, problems = qemu_conf.parse(text)
    _check(wanted, assignments)
    _refuse_broken(problems)
    wrong = {problem.key for problem in problems if problem.kind in ("wrong_type", "bad_value")}
    edits: list[ConfEdit] = []
    changed = text
    seen = list(zip(assignments, qemu_conf.places(text), _firsts(assignments)))
    for item, place, first in reversed(seen):  # from the end: what stands before keeps its place
        edit = _edit_of(item, first, wanted, duplicates, item.key in wrong)
        if edit is None:
            continue
        edits.append(edit)
        if edit.action == SET:
            changed = changed[: place.value] + render(edit.after, _end_of_line(text)) + changed[place.end :]
        else:
            changed = _comment_out(changed, place)
    edits.reverse()
    present = {item.key for item in assignments}
    for key, value in wanted.items():
        if value is not None and key not in present:
            changed = _insert(changed, key, value)
            edits.append(ConfEdit(ADD, key, 0, None, value))
    _verify(assignments, changed, wanted, duplicates)
    return changed, edits


def render(value: t.Any, end: str = "\n") -> str:
    """A value as libvirt reads it. Raises PlanError for a text that its grammar cannot hold."""
    if isinstance(value, list):
        parts = [render(item) for item in value]
        line = f"[ {', '.join(parts)} ]" if parts else "[]"
        return line if len(line) <= _WIDTH else f"[{end}    " + f",{end}    ".join(parts) + f"{end}]"
    if isinstance(value, int):
        return str(int(value))
    if _CONTROLS.search(value) or ('"' in value and "'" in value):
        raise PlanError(
            f"a text of {len(value)} characters cannot stand in qemu.conf: give one without control characters and "
            "without both kinds of quotes",
            code="value_not_writable",
        )
    return f"'{value}'" if '"' in value else f'"{value}"'


def _check(wanted: t.Mapping[str, t.Any], present: list[Assignment]) -> None:
    """Refuse keys and values that libvirt does not accept, beside the present values of other keys."""
    for key in wanted:
        if not _NAME.match(key):
            raise PlanError(f"{key[:80]!r} is not the name of a key of qemu.conf", code="invalid_key")
    values = [Assignment(key, value, 0) for key, value in wanted.items() if value is not None]  # anything may be unset
    rest = [item for key, item in qemu_conf.effective(present).items() if key not in wanted]
    for problem in qemu_conf_keys.judge([*values, *rest]):
        if problem.key in wanted:
            raise PlanError(f"qemu.conf {problem.key}: {problem.message}", code=problem.kind)


def _refuse_broken(problems: list[ConfProblem]) -> None:
    for problem in problems:
        if problem.kind == "syntax":
            raise PlanError(
                f"qemu.conf does not parse, line {problem.line}: {problem.message}. libvirt reads nothing of it, and "
                "what was meant cannot be known: repair that line by hand",
                code="syntax",
            )


def _firsts(assignments: list[Assignment]) -> list[bool]:
    """Of each assignment whether it is the one that counts."""
    effective = qemu_conf.effective(assignments)
    return [effective[item.key] is item for item in assignments]


def _edit_of(
    item: Assignment, first: bool, wanted: t.Mapping[str, t.Any], duplicates: bool, wrong: bool
) -> ConfEdit | None:
    if not first:
        if item.key in wanted or duplicates:
            return ConfEdit(DUPLICATE, item.key, item.line, item.value, None)
        return None
    if item.key not in wanted:
        return None
    value = wanted[item.key]
    if value is None:
        return ConfEdit(UNSET, item.key, item.line, item.value, None)
    return ConfEdit(SET, item.key, item.line, item.value, value) if wrong or item.value != value else None


def _comment_out(text: str, place: qemu_conf.AssignmentPlace) -> str:
    """Make an assignment a comment; others on its lines move to lines of their own."""
    end = _end_of_line(text)
    line = max(text.rfind("\n", 0, place.start), text.rfind("\r", 0, place.start)) + 1
    head = end if text[line : place.start].strip(_BLANKS) else ""
    body = "#" + _ENDS.sub(lambda match: match.group() + "#", text[place.start : place.end])
    after = _NEXT_ON_LINE.match(text, place.end)
    if after:
        return text[: place.start] + head + body + end + text[after.end() :]
    return text[: place.start] + head + body + text[place.end :]


def _insert(text: str, key: str, value: t.Any) -> str:
    end = _end_of_line(text)
    line = f"{key} = {render(value, end)}"
    at = _after_example(text, key)
    if at is None:
        return text + (end if text and text[-1] not in "\r\n" else "") + line + end
    return text[:at] + end + line + (text[at:] or end)


def _after_example(text: str, key: str) -> int | None:
    """Where libvirt's commented example of a key ends, before the end of its line; None when there is none."""
    places = qemu_conf.places(text)
    for match in re.finditer(rf"(?:\A|(?<=[\r\n]))#{key}[ \t]*=[ \t]*([^\r\n]*)", text):
        if not any(place.start < match.start() < place.end for place in places):  # not inside a value
            return _end_of_example(text, match.end(), match.group(1))
    return None


def _end_of_example(text: str, end: int, value: str) -> int:
    if not value.startswith("[") or "]" in value:
        return end
    at = end
    for _line in range(_EXAMPLE_LINES):
        line = re.compile(r"(?:\r\n|\n|\r)#[^\r\n]*").match(text, at)
        if line is None:
            return end  # a list that was never closed; below its first line is still the right neighbourhood
        at = line.end()
        if "]" in line.group():
            return at
    return end


def _end_of_line(text: str) -> str:
    first = _ENDS.search(text)
    return "\r\n" if first and first.group() == "\r\n" else "\n"


def _verify(before: list[Assignment], text: str, wanted: t.Mapping[str, t.Any], duplicates: bool) -> None:
    """Check that the new text has the requested values and no other change."""
    after, problems = qemu_conf.parse(text)
    broken = [problem for problem in problems if problem.kind == "syntax" or problem.key in wanted]
    values = {key: value for key, value in wanted.items() if value is not None}
    written = {item.key: item.value for item in after if item.key in wanted}
    rest = [item for item, first in zip(before, _firsts(before)) if first or not duplicates]
    untouched = [(item.key, item.value) for item in rest if item.key not in wanted]
    if broken or written != values or untouched != [(item.key, item.value) for item in after if item.key not in wanted]:
        why = broken[0].message if broken else "other keys would change with it"
        raise PlanError(
            f"qemu.conf cannot be edited automatically and was left alone: {why}. Edit it by hand", code="not_editable"
        )
