# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the steps of a run refused or could not do, as one message at its end.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..module_utils._core.errors import PlanError

#: Return values of modules and actions that list what was not done, and their key in ``sizes`` where they are bounded.
_LISTS = {"refused": "refused", "not_made": "", "failed_entries": ""}
#: Refusals that a message names; the others are counted.
_MAX_SHOWN = 100


@dataclass(frozen=True)
class Refused:
    """An object that a step left as it is. ``host`` is empty where the step worked for the whole fleet."""

    host: str
    subject: str
    why: str

    def __str__(self) -> str:
        text = f"{self.subject}: {self.why}"
        return f"{self.host}: {text}" if self.host else text


@dataclass(frozen=True)
class Refusals:
    """Refusals of several steps: those that they list, and how many there are."""

    listed: tuple[Refused, ...] = ()
    total: int = 0

    @classmethod
    def of(cls, results: t.Iterable[t.Any], host: str = "") -> Refusals:
        """Of registered results; one without such a list refused nothing. Raises PlanError."""
        listed: dict[Refused, None] = {}
        unlisted = 0
        for result in results:
            if not isinstance(result, t.Mapping):
                raise PlanError("a result is no result of a task: give what the task registered", "no_result")
            for name, size in _LISTS.items():
                entries = [_refused(host, entry) for entry in result.get(name) or ()]
                listed.update(dict.fromkeys(entries))
                unlisted += max(_size(result, size) - len(entries), 0)
        return cls(tuple(listed), len(listed) + unlisted)

    def __add__(self, other: Refusals) -> Refusals:
        return Refusals((*self.listed, *other.listed), self.total + other.total)

    def message(self) -> str:
        """The refusals, one to a line; empty for none."""
        if not self.total:
            return ""
        lines = [str(refused) for refused in self.listed[:_MAX_SHOWN]]
        more = self.total - len(lines)
        count = "1 object was" if self.total == 1 else f"{self.total} objects were"
        return "\n".join([f"{count} refused or not changed:", *lines, *([f"and {more} more"] if more else [])])


def _refused(host: str, entry: t.Any) -> Refused:
    if not isinstance(entry, t.Mapping):
        return Refused(host, str(entry), "refused")
    return Refused(host, str(entry.get("subject")), str(entry.get("why")))


def _size(result: t.Mapping[str, t.Any], name: str) -> int:
    sizes = result.get("sizes")
    size = sizes.get(name) if name and isinstance(sizes, t.Mapping) else 0
    return size if isinstance(size, int) else 0
