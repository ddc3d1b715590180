# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connected parts: things that groups join, directly or by way of others (union-find).

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

Thing = t.TypeVar("Thing", str, int)


class Parts(t.Generic[Thing]):
    """Things in connected parts. Each part is known by its least member."""

    def __init__(self, groups: t.Iterable[t.Sequence[Thing]] = ()) -> None:
        self._above: dict[Thing, Thing] = {}
        for group in groups:
            for other in group[1:]:
                self.join(group[0], other)

    def join(self, one: Thing, other: Thing) -> None:
        """Put two things into one part."""
        first, second = sorted((self.part(one), self.part(other)))
        if first != second:
            self._above[second] = first

    def part(self, thing: Thing) -> Thing:
        """The least member of the thing's part."""
        while thing in self._above:
            above = self._above[thing]
            self._above[thing] = self._above.get(above, above)  # halve the way for the next call
            thing = above
        return thing

    def groups(self, things: t.Iterable[Thing]) -> list[tuple[Thing, ...]]:
        """The parts of these things, each sorted."""
        members: dict[Thing, list[Thing]] = {}
        for thing in sorted(set(things)):
            members.setdefault(self.part(thing), []).append(thing)
        return [tuple(group) for group in members.values()]
