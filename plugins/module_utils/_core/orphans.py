# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of no guest, on storage that several hosts use: one host alone cannot tell, its own rule leaves them out.

Such a file is an orphan (IMG-005) when no guest of any host that uses the storage runs at its level or has it as its
own. To say so, all those hosts must have been read; and when no other host that uses the storage was audited, nobody
knows. Its repair takes the label off, which would take the disk from a guest on a host that nobody looked at.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass, field

from .errors import LabelError
from .finding import Finding, finding_of
from .label import Level, parse_context
from .rules.image import ORPHAN, orphan_hit, shared_orphans
from .sharing import Sharing, file_path
from .snapshot import Orphan, Snapshot


@dataclass(frozen=True)
class Stock:
    """What of one host bears on orphans."""

    host: str
    orphans: tuple[Orphan, ...] = ()
    #: Levels of the guests that run here.
    levels: frozenset[Level] = frozenset()
    #: Base name and inode of the guests' own files, also of those that are off.
    owned: frozenset[tuple[str, int]] = frozenset()
    #: Guests here whose label was not read: any file may be theirs.
    doubtful: bool = False


@dataclass
class Settled:
    """What came out. Doubts are by host and reason, each with the files that it is about."""

    findings: list[Finding] = field(default_factory=list)
    doubts: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))

    def whys(self, host: str) -> tuple[str, ...]:
        """The host's doubts in words."""
        return tuple(
            f"{len(paths)} with a guest's label on shared storage, such as {min(paths)[:200]!r}: {why}"
            for why, paths in self.doubts.get(host, {}).items()
        )


def stock(host: str, snapshot: Snapshot, levels: t.Iterable[Level], doubtful: bool) -> Stock:
    """The host's part. ``host`` is its name in the inventory."""
    owned = frozenset(
        (file_path(item).rpartition("/")[2], item.file.inode)
        for guest in snapshot.guests
        for item in guest.resources
        if item.file.inode is not None
    )
    return Stock(host, tuple(shared_orphans(snapshot)), frozenset(levels), owned, doubtful)


def settle(stocks: t.Sequence[Stock], sharing: Sharing, unread: t.Sequence[str]) -> Settled:
    """Each orphan once, on the first host that sees it. ``unread`` are hosts that may own any of them."""
    settled = Settled()
    users: dict[str, list[Stock]] = defaultdict(list)
    for one in stocks:
        for key in sharing.keys_of(one.host):
            users[key].append(one)
    told: set[tuple[str, tuple[str, int]]] = set()
    for one in sorted(stocks, key=lambda item: item.host):
        for orphan in one.orphans:
            keys = sharing.keys_of_files(one.host, [(orphan.mount or "", orphan.path)])
            here = {user.host: user for key in keys for user in users[key]} or {one.host: one}
            name = _name(orphan)
            marks = {(key, name) for key in keys} if name else set()
            if marks & told or any(_owns(user, orphan) for user in here.values()):
                continue
            why = _doubt([here[host] for host in sorted(here)], unread) if keys else ""
            if why:
                settled.doubts[one.host].setdefault(why, []).append(orphan.path)
                continue
            told |= marks
            settled.findings.append(finding_of(ORPHAN, one.host, orphan_hit(orphan)))
    return settled


def _owns(user: Stock, orphan: Orphan) -> bool:
    if _name(orphan) in user.owned:
        return True
    try:
        return parse_context(orphan.label).high in user.levels
    except LabelError:
        return False  # such a label is no running guest's


def _name(orphan: Orphan) -> tuple[str, int] | None:
    return None if orphan.inode is None else (orphan.path.rpartition("/")[2], orphan.inode)


def _doubt(users: t.Sequence[Stock], unread: t.Sequence[str]) -> str:
    """Why it cannot be told, if so."""
    doubtful = [user.host for user in users if user.doubtful]
    if unread:
        return f"{_some(unread)} could not be read"
    if doubtful:
        return f"not all labels on {_some(doubtful)} could be read"
    if len(users) < 2:
        return "no other host that uses the storage was audited"
    return ""


def _some(names: t.Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
