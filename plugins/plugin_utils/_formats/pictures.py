# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of the report, as places and texts for the page's SVG: who can open whose disk, and the category map.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import math
import re
import typing as t
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...module_utils._core.audit.report_model import Report, ReportedCategories, ReportedFinding
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


#: Categories there are, and the side of the map in pixels.
_CATEGORIES, _SIDE = 1024, 512
_SCALE = _SIDE / _CATEGORIES
#: Shades of cells, by number of guests.
_SHADES = 5
#: Ranges that are drawn.
_MAX_RANGES = 300
_PAIR = re.compile(r"s\d+:c(\d+),c(\d+)\Z")


@dataclass(frozen=True)
class CategoryPicture:
    """The map: paths for the SVG, by their class, and the numbers for its caption."""

    side: int
    paths: tuple[tuple[str, str], ...]
    guests: int
    four: int
    others: int
    collisions: int
    ranges: int


def category_picture(report: Report) -> CategoryPicture | None:
    """Every pair of categories as a place: the lower one to the right, the higher one down."""
    seen = report.categories
    if seen is None:
        return None
    own = [entry for entry in seen.ranges if entry[1] - entry[0] < _CATEGORIES - 1]
    clashes = sorted(set(_clashes(report)))
    paths = [("range", _triangle(low, high)) for low, high, _hosts in own[:_MAX_RANGES]]
    paths += [(f"pair{shade}", path) for shade, path in _shaded(seen, seen.pairs)]
    paths += [(f"tenant{shade}", path) for shade, path in _shaded(seen, seen.tenants)]
    paths += [("clash", "".join(_cross(low, high) for low, high in clashes))] if clashes else []
    return CategoryPicture(
        _SIDE, tuple(paths), _guests(seen.pairs), _guests(seen.tenants), seen.others, len(clashes), len(own)
    )


def _guests(cells: Iterable[list[int]]) -> int:
    return sum(number for _low, _high, number in cells)


def _clashes(report: Report) -> Iterator[tuple[int, int]]:
    """Pairs of categories by which guests reach one another."""
    for finding in report.findings:
        match = _PAIR.match(finding.subject) if finding.reach in _MEANING else None
        if match:
            yield int(match[1]), int(match[2])


def _shaded(seen: ReportedCategories, cells: list[list[int]]) -> Iterator[tuple[int, str]]:
    """One path for each shade. The shade grows with the logarithm of the number."""
    most = math.log(1 + max((number for _low, _high, number in cells), default=0)) or 1.0
    paths: dict[int, list[str]] = {}
    side = f"{seen.cell * _SCALE:g}"
    for low, high, number in cells:
        shade = max(1, math.ceil(_SHADES * math.log(1 + number) / most))
        place = f"M{low * seen.cell * _SCALE:g} {high * seen.cell * _SCALE:g}h{side}v{side}h-{side}z"
        paths.setdefault(shade, []).append(place)
    for shade, places in sorted(paths.items()):
        yield shade, "".join(places)


def _triangle(low: int, high: int) -> str:
    start, end = f"{low * _SCALE:g}", f"{(high + 1) * _SCALE:g}"
    return f"M{start} {start}V{end}H{end}z"


def _cross(low: int, high: int) -> str:
    return f"M{low * _SCALE - 4:g} {high * _SCALE - 4:g}l8 8m0 -8l-8 8"
