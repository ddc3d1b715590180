# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connected components of groups that have members in common (union-find).

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

Member = t.TypeVar("Member", str, int)


class DisjointSets(t.Generic[Member]):
    """Union-find: disjoint sets, each represented by its least member."""

    def __init__(self, groups: t.Iterable[t.Sequence[Member]] = ()) -> None:
        self._parent: dict[Member, Member] = {}
        for group in groups:
            for member in group[1:]:
                self.join(group[0], member)

    def join(self, first: Member, second: Member) -> None:
        """Join the sets of two members."""
        least, larger = sorted((self.find(first), self.find(second)))
        if least != larger:
            self._parent[larger] = least

    def find(self, member: Member) -> Member:
        """The least member of the member's set."""
        while member in self._parent:
            parent = self._parent[member]
            self._parent[member] = self._parent.get(parent, parent)  # shorten the path for the next call
            member = parent
        return member

    def groups(self, members: t.Iterable[Member]) -> list[tuple[Member, ...]]:
        """The sets of these members, each sorted."""
        groups: dict[Member, list[Member]] = {}
        for member in sorted(set(members)):
            groups.setdefault(self.find(member), []).append(member)
        return [tuple(group) for group in groups.values()]
