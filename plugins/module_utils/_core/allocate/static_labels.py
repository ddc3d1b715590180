# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which guest of a label domain gets which label for life.

A guest that has a row in the ledger keeps its label. One whose definition has a label of the code already, of its
tenant and of nobody else, keeps that. Every other guest gets the lowest number of its tenant whose label neither holds
nor lies within any set in use in the domain: on a host that was read, on one that was read before, or in the ledger,
quarantine included.

Nothing new is given out in a domain with a host that nobody ever read: any label may be in use there.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from ..selinux.context import CategorySet, Level, parse_level
from .conflicts import Taken
from .label_code import Code
from .label_domains import LabelDomain
from .labels_in_use import GuestUse, HostUse
from .ledger import NO_RANK, PUBLISHED, QUARANTINED, RELEASED, RESERVED, Change, Note, Plan, Row

_KINDS = ("kvm", "qemu")
#: In place of a uuid: more than one guest, or something that is no guest.
_OTHERS = ""


@dataclass(frozen=True)
class Ledger:
    """What the ledger knows of a domain."""

    rows: t.Sequence[Row] = ()
    #: Rows of other domains, of guests last seen on a host that is of this one now.
    strays: t.Sequence[Row] = ()
    #: Names of all domains that there are today.
    domains: t.Collection[str] = frozenset()
    tenants: t.Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """A domain, and what is known of its hosts."""

    domain: LabelDomain
    uses: t.Sequence[HostUse] = ()
    #: What was in use on hosts that cannot be read now, when they last could.
    remembered: t.Sequence[HostUse] = ()
    #: Hosts that were never read.
    unknown: t.Sequence[str] = ()


@dataclass(frozen=True)
class Wishes:
    """What the operator says about labels."""

    #: Tenant by name or uuid of a guest.
    tenants: t.Mapping[str, str] = field(default_factory=dict)
    default_tenant: str = "default"
    #: Names or uuids of the guests that it is about; empty: all.
    guests: t.Collection[str] = frozenset()
    #: Give out labels though a host of the domain was never read.
    allow_unread: bool = False

    def tenant(self, guest: GuestUse) -> str:
        """The guest's tenant. A uuid says more than a name."""
        return self.tenants.get(guest.uuid, self.tenants.get(guest.name, self.default_tenant))

    def about(self, guest: GuestUse) -> bool:
        """Whether the operator named the guest, or no guest at all."""
        return not self.guests or guest.uuid in self.guests or guest.name in self.guests


def level_of(categories: CategorySet) -> str:
    """The text of a label's level in the ledger."""
    return str(Level(0, categories))


def homes(uses: t.Iterable[HostUse]) -> dict[str, list[GuestUse]]:
    """Guests by uuid, sorted; each with the places where it is, that where it runs first."""
    found: dict[str, list[GuestUse]] = defaultdict(list)
    for use in uses:
        for guest in use.guests:
            found[guest.uuid].append(guest)
    for places in found.values():
        places.sort(key=lambda guest: (not guest.active, guest.host))
    return dict(sorted(found.items()))


def allocate(scene: Scene, ledger: Ledger, wishes: Wishes) -> Plan:
    """Labels for the guests of a domain whose strategy is static."""
    return _Allocation(scene, ledger, wishes).plan()


def rebuild(scene: Scene, ledger: Ledger, wishes: Wishes) -> Plan:
    """Rows for the guests that have a label of the code and no row: what is left of a ledger that was lost."""
    return _Allocation(scene, ledger, replace(wishes, allow_unread=True)).rebuilt()


class InUse:
    """All sets in use in a domain: labels of the code by rank, with their holder, and everything else."""

    def __init__(self, code: Code, tenants: t.Mapping[str, int]) -> None:
        self.code = code
        self.others = Taken(code)
        self._holder: dict[int, str] = {}
        self._files: set[int] = set()
        self._shared = {code.shared(number) for number in tenants.values() if number < code.tenants}

    def see(self, scene: Scene, rows: t.Iterable[Row]) -> None:
        """Take everything that a domain's hosts and rows use."""
        for use in (*scene.uses, *scene.remembered):
            for guest in use.guests:
                self._take(guest.held, guest.uuid)
                self._take(guest.files - self._shared, guest.uuid)
            self._take(use.strangers, _OTHERS)
            # A file with a guest's label is that guest's, seen from another host, or a copy of it.
            self._take_files(use.files - self._shared)
        for row in rows:
            if row.rank != NO_RANK:
                self.take(row)

    def take(self, row: Row) -> None:
        """Take a row's label, be it of this code or of another."""
        self._take([parse_level(row.level).categories], row.uuid)

    def free(self, rank: int) -> bool:
        """Whether nobody uses the label, nor anything that it holds or that holds it."""
        return rank not in self._holder and rank not in self._files and self.clear(rank)

    def alone(self, rank: int, uuid: str) -> bool:
        """The same, but this guest may use the label itself."""
        return self._holder.get(rank, uuid) == uuid and self.clear(rank)

    def clear(self, rank: int) -> bool:
        """Whether the label holds nothing that is in use, and nothing holds it."""
        return self.others.conflict(self.code.label(*self.code.unrank(rank))) is None

    def _take(self, sets: t.Iterable[CategorySet], holder: str) -> None:
        for categories in sets:
            numbers = self.code.ranks(categories)
            if numbers is None:
                self.others.add(categories)
            else:
                self._hold(self.code.rank(*numbers), holder)

    def _take_files(self, sets: t.Iterable[CategorySet]) -> None:
        for categories in sets:
            numbers = self.code.ranks(categories)
            if numbers is None:
                self.others.add(categories)
            else:
                self._files.add(self.code.rank(*numbers))

    def _hold(self, rank: int, holder: str) -> None:
        if self._holder.setdefault(rank, holder) != holder:
            self._holder[rank] = _OTHERS


class _Allocation:
    """One run over a domain."""

    def __init__(self, scene: Scene, ledger: Ledger, wishes: Wishes) -> None:
        self._domain = scene.domain
        self._code = scene.domain.code
        self._unknown = [] if wishes.allow_unread else sorted(scene.unknown)
        self._wishes = wishes
        self._homes = homes(scene.uses)
        self._rows = {row.uuid: row for row in ledger.rows}
        self._strays = {row.uuid: row for row in ledger.strays if row.rank != NO_RANK}
        self._domains = ledger.domains
        self._tenants = dict(ledger.tenants)
        self._in_use = InUse(self._code, ledger.tenants)
        self._in_use.see(scene, [*ledger.rows, *ledger.strays])
        self._cursor: dict[str, int] = {}
        self._full: Counter[str] = Counter()
        self._plan = Plan()

    def plan(self) -> Plan:
        """The whole plan."""
        new = [guest for guest in self._wanted() if not self._has_row(guest)]
        if new and self._unknown:
            self._plan.refused.append(Note(self._domain.name, _unread(self._unknown, len(new))))
            new = []
        rest = [guest for guest in self._by_tenant(new) if not self._keeps(guest)]
        for guest in rest:
            self._reserve(guest)
        for tenant, count in sorted(self._full.items()):
            self._plan.refused.append(Note(f"tenant {tenant}", self._no_label(count)))
        return self._plan

    def rebuilt(self) -> Plan:
        """The plan of what there is only: nothing is given out."""
        rows = self._rows
        unknown = [guest for guest in self._wanted() if guest.uuid not in rows or rows[guest.uuid].state == RELEASED]
        had = [guest for guest in unknown if self._candidate(guest) is not None]
        for guest in self._by_tenant(had):
            if not self._keeps(guest, "rebuild"):
                why = (
                    f"its label {guest.defined.range if guest.defined else ''} is of the code, but not in the ledger: "
                    f"another guest, container or file uses it or a part of it, or it is of another tenant than "
                    f"{self._wishes.tenant(guest)}; reserve gives it a label of its own"
                )
                self._plan.refused.append(Note(guest.subject, why))
        return self._plan

    def _wanted(self) -> t.Iterator[GuestUse]:
        """Guests that can have a label, each where it runs."""
        for places in self._homes.values():
            guest = places[0]
            if not self._wishes.about(guest) or guest.kind not in _KINDS:
                continue
            why = _why_not(guest)
            if why:
                self._plan.refused.append(Note(guest.subject, why))
            else:
                yield guest

    def _has_row(self, guest: GuestUse) -> bool:
        row = self._rows.get(guest.uuid)
        if row is None or row.state == RELEASED:
            return False
        tenant = self._wishes.tenant(guest)
        if tenant != row.tenant:
            why = f"the ledger has it for tenant {row.tenant}, it is to be of {tenant}; "
            why += (
                "its old label rests in quarantine: reserve again when that is over"
                if row.state == QUARANTINED
                else "release it, then reserve a label of the other tenant when the quarantine is over"
            )
            self._plan.refused.append(Note(guest.subject, why))
        elif row.state == QUARANTINED:
            self._revive(guest, row)
        return True

    def _revive(self, guest: GuestUse, row: Row) -> None:
        if self._in_use.alone(row.rank, guest.uuid):
            self._change("revive", guest, row, replace(row, state=RESERVED, until=None, host=guest.host))
            return
        why = (
            f"its label {row.level} rested in quarantine, and is in use by another meanwhile; it gets a new one when "
            "the quarantine is over"
        )
        self._plan.refused.append(Note(guest.subject, why))

    # -- tenants ---------------------------------------------------------------------------------------------------

    def _by_tenant(self, guests: t.Sequence[GuestUse]) -> list[GuestUse]:
        """Those whose tenant has a number, which it gets here when it had none."""
        of: dict[str, list[GuestUse]] = defaultdict(list)
        for guest in guests:
            of[self._wishes.tenant(guest)].append(guest)
        for tenant in sorted(of):
            if tenant in self._tenants:
                continue
            number = self._number(of[tenant])
            if number is None:
                why = f"all {self._code.tenants} numbers of tenants are in use in domain {self._domain.name}; give the "
                why += "tenant bands more categories, under a new name of the domain"
                self._plan.refused.append(Note(f"tenant {tenant}", why))
            else:
                self._tenants[tenant] = self._plan.tenants[tenant] = number
        return [guest for guest in guests if self._wishes.tenant(guest) in self._tenants]

    def _number(self, guests: t.Sequence[GuestUse]) -> int | None:
        """That which most of the tenant's guests have in their labels already, else the lowest that is free."""
        had: Counter[int] = Counter()
        for guest in guests:
            numbers = self._candidate(guest)
            if numbers is not None and self._in_use.alone(self._code.rank(*numbers), guest.uuid):
                had[numbers[0]] += 1
        given = set(self._tenants.values())
        common = sorted(had, key=lambda number: (-had[number], number))
        lowest = (
            number
            for number in range(self._code.tenants)
            if self._in_use.others.tenant_conflict(self._code.shared(number)) is None
        )
        free = (number for numbers in (common, lowest) for number in numbers if number not in given)
        return next(free, None)

    def _candidate(self, guest: GuestUse) -> tuple[int, int] | None:
        """Tenant and guest number of the label that its definitions have, or the ledger under another name."""
        stray = self._strays.get(guest.uuid)
        if stray is not None:
            numbers = self._code.unrank(stray.rank)
            return numbers if numbers[0] < self._code.tenants and self._level(*numbers) == stray.level else None
        places = self._homes[guest.uuid]
        defined = {place.defined.categories for place in places if place.defined is not None}
        return self._code.ranks(next(iter(defined))) if len(defined) == 1 else None

    # -- labels ----------------------------------------------------------------------------------------------------

    def _keeps(self, guest: GuestUse, action: str = "adopt") -> bool:
        """Whether the guest keeps a label that it has."""
        numbers = self._candidate(guest)
        tenant = self._wishes.tenant(guest)
        if numbers is None or numbers[0] != self._tenants[tenant]:
            return False
        rank = self._code.rank(*numbers)
        stray = self._strays.get(guest.uuid)
        if not self._in_use.alone(rank, guest.uuid) or (stray is not None and stray.tenant != tenant):
            return False
        row = self._row(guest, rank, PUBLISHED if stray is None else RESERVED)
        self._in_use.take(row)
        # A domain that is still there keeps its row until the guest is seen to be gone from it.
        moves = stray is not None and stray.domain not in self._domains
        self._change("move" if moves else action, guest, stray if moves else self._rows.get(guest.uuid), row)
        return True

    def _reserve(self, guest: GuestUse) -> None:
        tenant = self._wishes.tenant(guest)
        number = self._tenants[tenant]
        for own in range(self._cursor.get(tenant, 0), self._code.guests):
            rank = self._code.rank(number, own)
            if self._in_use.free(rank):
                self._cursor[tenant] = own + 1
                self._change("reserve", guest, self._rows.get(guest.uuid), self._row(guest, rank, RESERVED))
                return
        self._cursor[tenant] = self._code.guests
        self._full[tenant] += 1

    def _row(self, guest: GuestUse, rank: int, state: str) -> Row:
        tenant, level = self._wishes.tenant(guest), self._level(*self._code.unrank(rank))
        return Row(self._domain.name, guest.uuid, guest.name, guest.host, tenant, rank, level, state)

    def _level(self, tenant: int, guest: int) -> str:
        return level_of(self._code.label(tenant, guest))

    def _change(self, action: str, guest: GuestUse, before: Row | None, row: Row) -> None:
        old = before.domain if action == "move" and before is not None else ""
        if action in ("reserve", "adopt", "rebuild") and guest.defined is not None:
            old = level_of(guest.defined.categories)
        new = self._domain.name if action == "move" else row.level
        self._plan.changes.append(Change(action, guest.subject, old, new, row, before))

    def _no_label(self, count: int) -> str:
        return (
            f"{count} of its guests get no label in domain {self._domain.name}: of its {self._code.guests} labels none "
            "is left that keeps clear of what is in use; make two tenants of it, let libvirt's dynamic guests draw "
            "from the domain's dynamic band only, or give the guest bands more categories, under a new name of the "
            "domain"
        )


def _why_not(guest: GuestUse) -> str:
    if guest.error:
        return f"it could not be read on {guest.host}: {guest.error[:200]}"
    if not guest.persistent:
        return f"it has no persistent definition on {guest.host} that a label could be written to; define it first"
    return ""


def _unread(hosts: t.Sequence[str], guests: int) -> str:
    some = ", ".join(hosts[:5]) + (f" and {len(hosts) - 5} more" if len(hosts) > 5 else "")
    return (
        f"{guests} guests get no label: {some} was never read wholly, and labels in use there are not known; let the "
        "probe read it as root, take it out of hosts and domains when it is gone, or set allow_unread"
    )
