# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of the report: who can open whose disk, a line for each group, as places and texts for the page's SVG.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from dataclasses import dataclass

from ...module_utils._core.audit.report_model import Report, ReportedFinding
from ...module_utils._core.audit.text import cut, visible_text
from .answer import many

#: Groups that are drawn; the table of findings has all.
MAX_GROUPS = 12
#: Columns of a text in a box, and names in it.
_WIDTH, _NAMES = 34, 3
_HEIGHT, _GAP = 76, 12
_MEANING = {
    "E1": "on one host, now",
    "E2": "by shared storage, now",
    "E3": "once they meet",
}


@dataclass(frozen=True)
class Box:
    """A group of guests: its place, its head, and names."""

    x: int
    y: int
    head: str
    names: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Arrow:
    """Who opens whose disks. Without ``target`` the members of a group open one another's."""

    y: int
    reach: str
    words: str
    source: Box
    target: Box | None


@dataclass(frozen=True)
class ReachGraph:
    """The picture."""

    arrows: tuple[Arrow, ...]
    height: int
    left_out: int


def reach(report: Report) -> ReachGraph:
    """Groups of guests that reach others, worst first."""
    found = [finding for finding in report.findings if finding.reach in _MEANING]
    arrows = tuple(_arrow(number, finding) for number, finding in enumerate(found[:MAX_GROUPS]))
    return ReachGraph(arrows, len(arrows) * (_HEIGHT + _GAP), max(0, len(found) - MAX_GROUPS))


def _arrow(number: int, finding: ReportedFinding) -> Arrow:
    top = number * (_HEIGHT + _GAP)
    reached = list(_members(finding, "reaches"))
    source = _box(10, top, finding.subject, list(_members(finding, "guests")))
    target = _box(550, top, "", reached) if reached else None
    return Arrow(top, str(finding.reach), _MEANING[str(finding.reach)], source, target)


def _box(x: int, y: int, level: str, names: list[str]) -> Box:
    shown = [cut(visible_text(name), _WIDTH, "…") for name in names[:_NAMES]]
    if len(names) > _NAMES:
        shown[-1] = f"and {len(names) - _NAMES + 1:,} more"
    head = many(len(names), "guest") + (f" at {level}" if level else "")
    lines = tuple((y + 36 + 15 * place, name) for place, name in enumerate(shown))
    return Box(x, y, cut(visible_text(head), _WIDTH, "…"), lines)


def _members(finding: ReportedFinding, key: str) -> Iterator[str]:
    """Names of the parties that evidence lists."""
    listed: t.Any = finding.evidence.get(key)
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict):
            yield f"{entry.get('guest')} on {entry.get('host')}"
