# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of no guest, on storage that several hosts use: one host alone cannot tell, its own rule leaves them out.

Such a file is an orphan (IMG-005) when no guest of any host that uses the storage has it as its own. When one runs at
its level all the same, that guest can open it (class E2); one whose files are not all known may own it. To say
so, all those hosts must have been read; and when no other host that uses the storage was audited, nobody knows. The
repair takes the label off, which would take the disk from a guest on a host that nobody looked at.

Each file is reported once: where the comparison of guests has a group of the file's owner, or of the file itself, with
all guests that reach it, that group reports it (CAT-001, CAT-002). facts/orphans.py decides so for one host.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass, field, replace

from ...errors import LabelError
from ...facts.connected import DisjointSets
from ...facts.images import shared_with_hosts
from ...facts.orphans import by_reporter
from ...facts.sharing import Sharing
from ...facts.storage import FileName, file_name, file_path
from ...result import Reason
from ...selinux.context import parse_context
from ...snapshot.model import Orphan, Snapshot
from ...words import some
from ..finding import Finding, finding_of
from ..rules.image import ORPHAN, orphan_hit
from .labelled import FILE, Party
from .reach_now import Group

#: Member of a group of the comparison: its host, whether it is a file at rest, and the guest's name or file's path.
_Member = tuple[str, bool, str]

#: Guests in the evidence of one file.
_MAX_REACHED_BY = 20


@dataclass(frozen=True)
class Stock:
    """Orphans of a host, and its data for judging those of other hosts."""

    host: str
    orphans: tuple[Orphan, ...] = ()
    #: Guests that run here.
    guests: tuple[Party, ...] = ()
    #: Mount and path of the guests' own files that other hosts may have, also of guests that are off, by base name and
    #: inode.
    owned: t.Mapping[FileName, t.Sequence[tuple[str, str]]] = field(default_factory=dict)
    #: Running guests without any file of the host, by uuid.
    diskless: frozenset[str] = frozenset()
    #: The label of some guest was not read: any file may be its own.
    doubtful: bool = False


@dataclass
class Settled:
    """Findings, and files in doubt by host and reason."""

    findings: list[Finding] = field(default_factory=list)
    doubts: dict[str, dict[Reason, list[str]]] = field(default_factory=lambda: defaultdict(dict))

    def doubts_of(self, host: str) -> t.Iterator[Reason]:
        """The host's doubts, each with its files."""
        for doubt, paths in self.doubts.get(host, {}).items():
            yield doubt.about(f"{len(paths)} with a guest's label on shared storage, such as {min(paths)[:200]!r}")


def stock(host: str, snapshot: Snapshot, guests: tuple[Party, ...], doubtful: bool) -> Stock:
    """The host's part. ``host`` is its name in the inventory."""
    owned: dict[FileName, list[tuple[str, str]]] = defaultdict(list)
    storage = {entry.mount: entry for entry in snapshot.storage}
    for guest in snapshot.guests:
        for item in guest.resources:
            name, on = file_name(item), storage.get(item.file.mount or "")
            if name is not None and on is not None and shared_with_hosts(on, file_path(item)):
                owned[name].append((on.mount, file_path(item)))
    diskless = frozenset(guest.uuid for guest in snapshot.guests if not guest.resources and not guest.error)
    return Stock(host, by_reporter(snapshot).across_hosts, guests, owned, diskless, doubtful)


def settle(
    stocks: t.Sequence[Stock], sharing: Sharing, unread: t.Sequence[str], compared: t.Iterable[Group] = ()
) -> Settled:
    """Each orphan once, on the first host that sees it.

    ``unread`` are hosts that may own any orphan, ``compared`` the groups of the comparison of guests.
    """
    settled = Settled()
    by_host = {stock_.host: stock_ for stock_ in stocks}
    users: dict[str, list[Stock]] = defaultdict(list)
    for key, hosts in (sharing.sharers() if any(host_stock.orphans for host_stock in stocks) else {}).items():
        users[key] = [by_host[host] for host in hosts]
    judge = _Judge(sharing, unread, _Compared(compared))
    for group in _groups(stocks, sharing):
        reporter, orphan = group.seen[0]
        seers = {seer.host: seer for seer, _orphan in group.seen}
        here = {**seers, **{user.host: user for key in group.keys for user in users[key]}}
        verdict = judge.verdict(reporter, orphan, [here[host] for host in sorted(here)], group.keys)
        if isinstance(verdict, Finding):
            settled.findings.append(verdict)
        elif verdict is not None:
            settled.doubts[reporter.host].setdefault(verdict, []).append(orphan.path)
    return settled


@dataclass
class _Group:
    """One file under one label: its reports by hosts, and all keys of its storage."""

    seen: list[tuple[Stock, Orphan]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)


def _groups(stocks: t.Sequence[Stock], sharing: Sharing) -> t.Iterable[_Group]:
    """Orphans by file and label. A report with another label than others does not replace theirs."""
    parts: DisjointSets[int] = DisjointSets()
    entries: list[tuple[Stock, Orphan, set[str]]] = []
    first: dict[tuple[str, FileName, str], int] = {}
    for host_stock in sorted(stocks, key=lambda item: item.host):
        for orphan in host_stock.orphans:
            keys, name = sharing.keys_of_files(host_stock.host, [(orphan.mount or "", orphan.path)]), _name(orphan)
            if name is not None:
                for key in keys:
                    parts.join(first.setdefault((key, name, orphan.label), len(entries)), len(entries))
            entries.append((host_stock, orphan, keys))
    groups: dict[int, _Group] = defaultdict(_Group)
    for number, (host_stock, orphan, keys) in enumerate(entries):
        group = groups[parts.find(number)]
        group.seen.append((host_stock, orphan))
        group.keys |= keys
    return groups.values()


class _Compared:
    """Groups of the comparison of guests, by their members."""

    def __init__(self, groups: t.Iterable[Group]) -> None:
        self._groups = groups
        self._index: dict[_Member, list[set[_Member]]] | None = None

    def report(self, owned: t.Iterable[_Member], reaching: t.Iterable[Party]) -> bool:
        """Whether a group has the owner of a file, or the file, together with all guests that reach it."""
        required = {_member(guest) for guest in reaching}
        index = self._by_member()
        return any(required <= members for owner in owned for members in index.get(owner, ()))

    def _by_member(self) -> dict[_Member, list[set[_Member]]]:
        if self._index is None:  # few fleets need it, and large ones have many groups
            self._index = defaultdict(list)
            for group in self._groups:
                members = {_member(party) for party in group.members} if not group.containers else set()
                for member in members:
                    self._index[member].append(members)
        return self._index


class _Judge:
    """Judge orphans one at a time."""

    def __init__(self, sharing: Sharing, unread: t.Sequence[str], compared: _Compared) -> None:
        self._sharing = sharing
        self._unread = unread
        self._compared = compared
        self._open: dict[tuple[str, str], Reason | None] = {}

    def verdict(
        self, reporter: Stock, orphan: Orphan, users: t.Sequence[Stock], keys: set[str]
    ) -> Finding | Reason | None:
        """The finding, or why it is unknown; None: the file has an owner, or is in another finding."""
        name = _name(orphan)
        owners = [user.host for user in users if name is not None and self._owns(user, name, keys)]
        holders = [guest for user in users for guest in _holders(user, orphan)]
        if name is None and holders:
            return None  # cannot be distinguished from a file of the guest's own
        # A guest that reaches the file and does not own it reaches it whatever other hosts report.
        reaching = [
            guest
            for guest in holders
            if name not in guest.names and (guest.files is not None or _diskless(guest, users))
            if not self._may_have(guest, name, keys)
        ]
        if owners and (not reaching or self._compared.report(self._owned(name, users, keys), reaching)):
            return None
        # Storage whose labels other hosts do not see belongs to this host alone.
        doubt = self._doubt(reporter, orphan, users) if keys else None
        if doubt is None and owners:
            doubt = Reason("has_owner", f"a guest on {some(owners)} uses it")
        elif doubt is None:
            doubt = self._may_own(users, orphan, name, keys)
        if doubt and not reaching:
            return doubt
        return _finding(reporter.host, orphan, reaching, doubt)

    def _owned(self, name: FileName | None, users: t.Iterable[Stock], keys: set[str]) -> t.Iterator[_Member]:
        """Running guests that have the file, on the same storage, and the file itself on their hosts."""
        if name is None:
            return
        for user in users:
            files = [file for file in user.owned.get(name, ()) if self._sharing.keys_of_files(user.host, [file]) & keys]
            if files:
                yield from ((user.host, True, path) for _mount, path in files)
                yield from (_member(guest) for guest in user.guests if name in guest.names)

    def _owns(self, user: Stock, name: FileName, keys: set[str]) -> bool:
        """Whether a guest of the host has the file, on the same storage."""
        return any(self._sharing.keys_of_files(user.host, [file]) & keys for file in user.owned.get(name, ()))

    def _may_have(self, guest: Party, name: FileName | None, keys: set[str]) -> bool:
        """Whether a file of the guest on this storage has the base name, and its inode was not read."""
        if name is None or any(own[0] == name[0] for own in guest.names):
            return False
        alike = [file for file in guest.files or () if file[1].rpartition("/")[2] == name[0]]
        return bool(alike and self._sharing.keys_of_files(guest.host, alike) & keys)

    def _may_own(
        self, users: t.Sequence[Stock], orphan: Orphan, name: FileName | None, keys: set[str]
    ) -> Reason | None:
        """Why a guest that runs at the file's level may own it: not all of its files are known."""
        for user in users:
            for guest in _holders(user, orphan):
                unknown = guest.files is None and guest.uuid not in user.diskless
                if unknown or self._may_have(guest, name, keys):
                    owner = f"{guest.name[:80]!r} on {user.host}"
                    text = f"{owner} runs with its categories, and not all its files are known"
                    return Reason("guest_may_own_it", text)
        return None

    def _doubt(self, reporter: Stock, orphan: Orphan, users: t.Sequence[Stock]) -> Reason | None:
        """Why the owner is unknown, if it is."""
        doubtful = [user.host for user in users if user.doubtful]
        if self._unread:
            return Reason("hosts_unread", f"{some(self._unread)} could not be read")
        if doubtful:
            return Reason("label_unreadable", f"not all labels on {some(doubtful)} could be read")
        if len(users) < 2:
            return Reason("sharers_not_audited", "no other host that uses the storage was audited")
        return self._open_storage(reporter.host, orphan, {user.host for user in users})

    def _open_storage(self, host: str, orphan: Orphan, users: t.Container[str]) -> Reason | None:
        """Why it is unknown whether a host beside these users has the orphan's storage, if it is."""
        key = (host, orphan.mount or "")
        if key not in self._open:
            places = self._sharing.places_of_files(host, [(orphan.mount or "", orphan.path)])
            example = self._sharing.open_pair(host, places, users)
            text = (
                f"it is not known whether other hosts have its storage, such as {example}; name in svirt_storage which "
                "mounts are one storage and which are not"
            )
            self._open[key] = Reason("storage_unsettled", text) if example else None
        return self._open[key]


def _member(party: Party) -> _Member:
    is_file = party.kind == FILE and bool(party.files)
    return party.host, is_file, party.files[0][1] if is_file and party.files else party.name


def _diskless(guest: Party, users: t.Iterable[Stock]) -> bool:
    return any(user.host == guest.host and guest.uuid in user.diskless for user in users)


def _holders(user: Stock, orphan: Orphan) -> list[Party]:
    """Guests of the host whose categories include the file's."""
    try:
        level = parse_context(orphan.label).high
    except LabelError:
        return []  # no running guest has such a label
    return [guest for guest in user.guests if guest.level.dominates(level)]


def _finding(host: str, orphan: Orphan, holders: t.Sequence[Party], doubt: Reason | None) -> Finding:
    hit = orphan_hit(orphan)
    if not holders:
        return finding_of(ORPHAN, host, hit)
    reached_by = sorted((guest.evidence() for guest in holders), key=lambda entry: (entry["host"], entry["guest"]))
    evidence = {
        **hit.evidence,
        "reached_by": reached_by[:_MAX_REACHED_BY],
        "hosts": sorted({host, *(entry["host"] for entry in reached_by)}),
    }
    if doubt:
        hit = replace(hit, fix=f"Leave the file as it is until its owner is known: {doubt}.", cost="operator")
    return finding_of(ORPHAN, host, replace(hit, evidence=evidence, severity="critical"), "E2")


def _name(orphan: Orphan) -> FileName | None:
    return None if orphan.inode is None else (orphan.path.rpartition("/")[2], orphan.inode)
