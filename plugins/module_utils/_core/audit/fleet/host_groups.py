# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts whose guests can meet: by storage that they share, or since guests migrate between them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict

from ...facts.storage import Sharing


class Neighbours:
    """Each host's domain (hosts that shared storage or migration pools connect), by number."""

    def __init__(self, hosts: t.Sequence[str], sharing: Sharing, pools: t.Sequence[t.Sequence[str]] = ()) -> None:
        users: dict[str, list[str]] = defaultdict(list)
        for host in hosts:
            for key in sharing.keys_of(host):
                users[key].append(host)
        # What only one host has connects nothing.
        shared = [names for names in users.values() if len(names) > 1]
        known = set(hosts)
        self.pools = [sorted(known.intersection(pool)) for pool in pools]
        self._sharing = sharing
        self._shared_keys = {key for key, names in users.items() if len(names) > 1}
        self.domains = _components(hosts, [*shared, *self.pools])
        #: Hosts that the operator names as ones that guests migrate between.
        self.pooled = {host for pool in self.pools if len(pool) > 1 for host in pool}

    def members(self) -> dict[int, list[str]]:
        """Hosts by domain, in order."""
        found: dict[int, list[str]] = defaultdict(list)
        for host in sorted(self.domains):
            found[self.domains[host]].append(host)
        return found

    def can_move(self, host: str, files: t.Iterable[tuple[str, str]] | None) -> bool:
        """Whether a guest may migrate away: inside a pool always, else when other hosts have all its files too."""
        if host in self.pooled:
            return True
        shared = self._sharing.keys_of(host) & self._shared_keys
        if not shared or files is None:
            return bool(shared)
        return all(self._sharing.keys_of_files(host, [file]) & shared for file in files)


def _components(hosts: t.Iterable[str], groups: t.Iterable[t.Sequence[str]]) -> dict[str, int]:
    """A number for each host: the same for all hosts of a group, and for groups that have a host in common."""
    parent = {host: host for host in hosts}

    def root(host: str) -> str:
        while parent[host] != host:
            parent[host] = parent[parent[host]]
            host = parent[host]
        return host

    for group in groups:
        for other in group[1:]:
            one, two = sorted((root(group[0]), root(other)))
            parent[two] = one
    numbers = {name: number for number, name in enumerate(sorted({root(host) for host in parent}))}
    return {host: numbers[root(host)] for host in parent}
