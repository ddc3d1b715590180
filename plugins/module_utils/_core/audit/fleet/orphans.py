# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of no guest, on storage that several hosts use: one host alone cannot tell, its own rule leaves them out.

Such a file is an orphan (IMG-005) when no guest of any host that uses the storage has it as its own. When one runs at
its level all the same, that guest can open it (class E2); one whose files are not all known may own it. To say
so, all those hosts must have been read; and when no other host that uses the storage was audited, nobody knows. The
repair takes the label off, which would take the disk from a guest on a host that nobody looked at.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass, field, replace

from ...errors import LabelError
from ...facts.images import shared_orphans
from ...facts.storage import Sharing, file_path
from ...selinux.context import parse_context
from ...snapshot.model import Orphan, Snapshot
from ...words import some
from ..finding import Finding, finding_of
from ..rules.image import ORPHAN, orphan_hit
from .labelled import Placed

#: So many guests are named that reach one file.
_MAX_TOLD = 20


@dataclass(frozen=True)
class Stock:
    """What of one host bears on orphans."""

    host: str
    orphans: tuple[Orphan, ...] = ()
    #: The guests that run here.
    guests: tuple[Placed, ...] = ()
    #: Base name and inode of the guests' own files, also of those that are off.
    owned: frozenset[tuple[str, int]] = frozenset()
    #: Running guests without any file of the host, by uuid.
    diskless: frozenset[str] = frozenset()
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


def stock(host: str, snapshot: Snapshot, guests: tuple[Placed, ...], doubtful: bool) -> Stock:
    """The host's part. ``host`` is its name in the inventory."""
    owned = frozenset(
        (file_path(item).rpartition("/")[2], item.file.inode)
        for guest in snapshot.guests
        for item in guest.resources
        if item.file.inode is not None
    )
    diskless = frozenset(item.uuid for item in snapshot.guests if not item.resources and not item.error)
    return Stock(host, tuple(shared_orphans(snapshot)), guests, owned, diskless, doubtful)


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
            holders = [guest for user in here.values() for guest in _holders(user, orphan)]
            if marks & told or any(name in user.owned for user in here.values()):
                continue
            if name is None and holders:
                continue  # nothing tells this file from one of the guest's own
            why = _doubt([here[host] for host in sorted(here)], unread) if keys else ""
            why = why or _may_own([here[host] for host in sorted(here)], orphan)
            if why:
                settled.doubts[one.host].setdefault(why, []).append(orphan.path)
                continue
            told |= marks
            settled.findings.append(_finding(one.host, orphan, holders))
    return settled


def _holders(user: Stock, orphan: Orphan) -> list[Placed]:
    """Guests of the host that run at the file's level."""
    try:
        level = parse_context(orphan.label).high
    except LabelError:
        return []  # such a label is no running guest's
    return [guest for guest in user.guests if guest.level == level]


def _may_own(users: t.Sequence[Stock], orphan: Orphan) -> str:
    """Why a guest that runs at the file's level may own it: not all of its files are known."""
    for user in users:
        for guest in _holders(user, orphan):
            if guest.files is None and guest.uuid not in user.diskless:
                return f"{guest.name[:80]!r} on {user.host} runs with its categories, and not all its files are known"
    return ""


def _finding(host: str, orphan: Orphan, holders: t.Sequence[Placed]) -> Finding:
    hit = orphan_hit(orphan)
    if not holders:
        return finding_of(ORPHAN, host, hit)
    told = sorted((guest.told() for guest in holders), key=lambda one: (one["host"], one["guest"]))
    evidence = {**hit.evidence, "reached_by": told[:_MAX_TOLD], "hosts": sorted({host, *(one["host"] for one in told)})}
    return finding_of(ORPHAN, host, replace(hit, evidence=evidence), "E2")


def _name(orphan: Orphan) -> tuple[str, int] | None:
    return None if orphan.inode is None else (orphan.path.rpartition("/")[2], orphan.inode)


def _doubt(users: t.Sequence[Stock], unread: t.Sequence[str]) -> str:
    """Why it cannot be told, if so."""
    doubtful = [user.host for user in users if user.doubtful]
    if unread:
        return f"{some(unread)} could not be read"
    if doubtful:
        return f"not all labels on {some(doubtful)} could be read"
    if len(users) < 2:
        return "no other host that uses the storage was audited"
    return ""
