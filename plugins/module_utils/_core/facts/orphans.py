# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that carry the label of no guest of their host, by reporter: each is reported once.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..snapshot.model import Orphan, Snapshot
from .images import RunningGuests, shared_with_hosts


@dataclass(frozen=True)
class OrphansByReporter:
    """The orphans of a host."""

    #: On storage that other hosts use too: their guest may run there, so they are judged across hosts (IMG-005).
    across_hosts: tuple[Orphan, ...]
    #: A running guest of the host has their categories: the comparison of guests reports them (CAT-002).
    reached: tuple[Orphan, ...]
    #: The rest, which the host's own rule reports (IMG-005).
    alone: tuple[Orphan, ...]


def by_reporter(snapshot: Snapshot) -> OrphansByReporter:
    """The orphans of a host, each with one reporter."""
    running = RunningGuests(snapshot)
    across_hosts = [orphan for orphan in snapshot.orphans if _on_shared_storage(snapshot, orphan)]
    here = [orphan for orphan in snapshot.orphans if not _on_shared_storage(snapshot, orphan)]
    return OrphansByReporter(
        tuple(across_hosts),
        tuple(orphan for orphan in here if running.reach(orphan.label)),
        tuple(orphan for orphan in here if not running.reach(orphan.label)),
    )


def _on_shared_storage(snapshot: Snapshot, orphan: Orphan) -> bool:
    storage = next((entry for entry in snapshot.storage if entry.mount == orphan.mount), None)
    return storage is not None and shared_with_hosts(storage, orphan.path)
