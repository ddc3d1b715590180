# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts whose guests can meet: by storage that they share, or since guests migrate between them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict

from ...facts.connected import DisjointSets
from ...facts.sharing import Sharing


class HostGroups:
    """Groups of hosts that shared storage or migration pools connect."""

    def __init__(self, hosts: t.Sequence[str], sharing: Sharing, pools: t.Sequence[t.Sequence[str]] = ()) -> None:
        known = set(hosts)
        self.pools = [sorted(known.intersection(pool)) for pool in pools]
        sharers = sharing.sharers()
        self.sharing = sharing
        self._shared_keys = {key for key, names in sharers.items() if len(names) > 1}
        parts = DisjointSets([*(names for names in sharers.values() if len(names) > 1), *self.pools])
        numbers: dict[str, int] = {}
        #: Number of each host's group.
        self.domains = {host: numbers.setdefault(parts.find(host), len(numbers)) for host in sorted(hosts)}
        #: Hosts of the operator's migration pools.
        self.pooled = {host for pool in self.pools if len(pool) > 1 for host in pool}

    def members(self) -> dict[int, list[str]]:
        """Sorted hosts by group."""
        members: dict[int, list[str]] = defaultdict(list)
        for host in sorted(self.domains):
            members[self.domains[host]].append(host)
        return members

    def can_move(self, host: str, files: t.Iterable[tuple[str, str]] | None) -> bool:
        """Whether a guest may migrate away: inside a pool always, else when other hosts have all its files too."""
        if host in self.pooled:
            return True
        shared = self.sharing.keys_of_files(host, None) & self._shared_keys
        if not shared or files is None:
            return bool(shared)
        return all(self.sharing.keys_of_files(host, [file]) & self._shared_keys for file in files)
