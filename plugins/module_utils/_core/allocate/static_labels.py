# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static labels for the guests of a domain.

A guest with a row in the ledger keeps its label. A guest whose definition has a label of the code already, of its
tenant and of nobody else, keeps that. Every other guest gets the lowest number of its tenant whose label neither
dominates nor is dominated by any set in use in the domain: on a host that was read, on one that was read before, or in
the ledger, quarantine included.

No new label is assigned in a domain with a host that was never read: any label may be in use there.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from ..result import Reason, Refusal
from ..selinux.context import CategorySet, Level, parse_level
from ..words import some
from .conflicts import CategorySetIndex
from .label_code import Code
from .label_domains import LabelDomain
from .labels_in_use import GuestUse, HostUse
from .ledger import NO_RANK, PUBLISHED, QUARANTINED, RELEASED, RESERVED, LedgerChange, LedgerPlan, Row

_KINDS = ("kvm", "qemu")
#: Holder of a label that several guests use, or something that is no guest.
_OTHERS = ""


@dataclass(frozen=True)
class DomainLedger:
    """Content of the ledger for a domain."""

    rows: t.Sequence[Row] = ()
    #: Rows of other domains whose guest was last seen on a host of this domain.
    foreign_rows: t.Sequence[Row] = ()
    #: Names of all domains of the fleet.
    domains: t.Collection[str] = frozenset()
    tenants: t.Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DomainUse:
    """A domain, and the labels in use on its hosts."""

    domain: LabelDomain
    uses: t.Sequence[HostUse] = ()
    #: Labels in use on unread hosts, when they were last read.
    remembered: t.Sequence[HostUse] = ()
    #: Hosts that were never read.
    unknown: t.Sequence[str] = ()


@dataclass(frozen=True)
class LabelRequest:
    """The operator's choices for labels."""

    #: Tenant by name or uuid of a guest.
    tenants: t.Mapping[str, str] = field(default_factory=dict)
    default_tenant: str = "default"
    #: Names or uuids of the guests to label; empty: all.
    guests: t.Collection[str] = frozenset()
    #: Assign labels although a host of the domain was never read.
    allow_unread: bool = False

    def tenant(self, guest: GuestUse) -> str:
        """The guest's tenant. An entry for the uuid wins over one for the name."""
        return self.tenants.get(guest.uuid, self.tenants.get(guest.name, self.default_tenant))

    def about(self, guest: GuestUse) -> bool:
        """Whether the operator named the guest, or no guest at all."""
        return not self.guests or guest.uuid in self.guests or guest.name in self.guests


def level_of(categories: CategorySet) -> str:
    """The text of a label's level in the ledger."""
    return str(Level(0, categories))


def homes(uses: t.Iterable[HostUse]) -> dict[str, list[GuestUse]]:
    """Guests by uuid, sorted; each with its places, the one where it runs first."""
    guests: dict[str, list[GuestUse]] = defaultdict(list)
    for use in uses:
        for guest in use.guests:
            guests[guest.uuid].append(guest)
    for places in guests.values():
        places.sort(key=lambda guest: (not guest.active, guest.host))
    return dict(sorted(guests.items()))


def allocate(usage: DomainUse, ledger: DomainLedger, request: LabelRequest) -> LedgerPlan:
    """Assign labels to the guests of a domain of strategy static."""
    return _Allocation(usage, ledger, request).plan()


def rebuild(usage: DomainUse, ledger: DomainLedger, request: LabelRequest) -> LedgerPlan:
    """Add rows for guests that have a label of the code and no row, after the ledger was lost."""
    return _Allocation(usage, ledger, replace(request, allow_unread=True)).rebuilt()


class LabelsInUse:
    """Category sets in use in a domain: labels of the code by rank with their holder, and all other sets."""

    def __init__(self, code: Code, tenants: t.Mapping[str, int]) -> None:
        self.code = code
        self.others = CategorySetIndex(code)
        self._holder: dict[int, str] = {}
        self._files: set[int] = set()
        self._shared = {code.shared(number) for number in tenants.values() if number < code.tenants}

    def see(self, usage: DomainUse, rows: t.Iterable[Row]) -> None:
        """Add all sets that a domain's hosts and rows use."""
        for use in (*usage.uses, *usage.remembered):
            for guest in use.guests:
                self._take(guest.held, guest.uuid)
                self._take(guest.files - self._shared, guest.uuid)
            self._take(use.strangers, _OTHERS)
            # A file with a guest's label is that guest's, seen from another host, or a copy.
            self._take_files(use.files - self._shared)
        for row in rows:
            if row.rank != NO_RANK:
                self.take(row)

    def take(self, row: Row) -> None:
        """Add a row's label, of this code or another."""
        self._take([parse_level(row.level).categories], row.uuid)

    def free(self, rank: int) -> bool:
        """Whether neither the label nor any set that it dominates, or that dominates it, is in use."""
        return rank not in self._holder and rank not in self._files and self.clear(rank)

    def alone(self, rank: int, uuid: str) -> bool:
        """As ``free``, but the guest may use the label itself."""
        return self._holder.get(rank, uuid) == uuid and self.clear(rank)

    def clear(self, rank: int) -> bool:
        """Whether the label dominates no other set in use, and none dominates it."""
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
    """Assignment of labels in one domain."""

    def __init__(self, usage: DomainUse, ledger: DomainLedger, request: LabelRequest) -> None:
        self._domain = usage.domain
        self._code = usage.domain.code
        self._unknown = [] if request.allow_unread else sorted(usage.unknown)
        self._request = request
        self._homes = homes(usage.uses)
        self._rows = {row.uuid: row for row in ledger.rows}
        self._foreign = {row.uuid: row for row in ledger.foreign_rows if row.rank != NO_RANK}
        self._domains = ledger.domains
        self._tenants = dict(ledger.tenants)
        self._in_use = LabelsInUse(self._code, ledger.tenants)
        self._in_use.see(usage, [*ledger.rows, *ledger.foreign_rows])
        self._cursor: dict[str, int] = {}
        self._full: Counter[str] = Counter()
        self._plan = LedgerPlan()

    def plan(self) -> LedgerPlan:
        """Plan labels for all guests that have none."""
        new = [guest for guest in self._wanted() if not self._has_row(guest)]
        if new and self._unknown:
            self._plan.refuse(self._domain.name, "hosts_never_read", _unread(self._unknown, len(new)))
            new = []
        rest = [guest for guest in self._by_tenant(new) if not self._keeps(guest)]
        for guest in rest:
            self._reserve(guest)
        for tenant, count in sorted(self._full.items()):
            self._plan.refuse(f"tenant {tenant}", "no_label_left", self._no_label(count))
        return self._plan

    def rebuilt(self) -> LedgerPlan:
        """Plan rows for labels that guests have; assign none."""
        rows = self._rows
        unknown = [guest for guest in self._wanted() if guest.uuid not in rows or rows[guest.uuid].state == RELEASED]
        labelled = [guest for guest in unknown if self._candidate(guest) is not None]
        for guest in self._by_tenant(labelled):
            if not self._keeps(guest, "rebuild"):
                why = (
                    f"its label {guest.defined.range if guest.defined else ''} is of the code, but not in the ledger: "
                    f"another guest, container or file uses it or a part of it, or it is of another tenant than "
                    f"{self._request.tenant(guest)}; reserve gives it a label of its own"
                )
                self._plan.refuse(guest.subject, "label_not_free", why)
        return self._plan

    def _wanted(self) -> t.Iterator[GuestUse]:
        """Guests that can have a label, each at its first place."""
        for every in self._homes.values():
            places = [guest for guest in every if self._request.about(guest) and guest.kind in _KINDS]
            able = [guest for guest in places if _why_not(guest) is None]
            # A uuid is no identity: what one host reports of a guest takes nothing from the same guest of another host.
            reason = _tenant_unclear(able, self._request) if able else _why_not(places[0]) if places else None
            if reason is not None:
                self._plan.refused.append(Refusal((able or places)[0].subject, reason))
            elif able:
                yield able[0]

    def _has_row(self, guest: GuestUse) -> bool:
        row = self._rows.get(guest.uuid)
        if row is None or row.state == RELEASED:
            return False
        tenant = self._request.tenant(guest)
        if tenant != row.tenant:
            why = f"the ledger has it for tenant {row.tenant}, it is to be of {tenant}; "
            why += (
                "its old label is in quarantine: reserve again when that is over"
                if row.state == QUARANTINED
                else "release it, then reserve a label of the other tenant when the quarantine is over"
            )
            self._plan.refuse(guest.subject, "tenant_differs", why)
        elif row.state == QUARANTINED:
            self._revive(guest, row)
        return True

    def _revive(self, guest: GuestUse, row: Row) -> None:
        if self._in_use.alone(row.rank, guest.uuid):
            self._change("revive", guest, row, replace(row, state=RESERVED, until=None, host=guest.host))
            return
        why = (
            f"its label {row.level} was in quarantine and is now in use by another; it gets a new one when the "
            "quarantine is over"
        )
        self._plan.refuse(guest.subject, "quarantined_label_taken", why)

    # -- tenants ---------------------------------------------------------------------------------------------------

    def _by_tenant(self, guests: t.Sequence[GuestUse]) -> list[GuestUse]:
        """Guests whose tenant has a number; assigns numbers to tenants without one."""
        of: dict[str, list[GuestUse]] = defaultdict(list)
        for guest in guests:
            of[self._request.tenant(guest)].append(guest)
        for tenant in sorted(of):
            if tenant in self._tenants:
                continue
            number = self._number(of[tenant])
            if number is None:
                why = f"all {self._code.tenants} numbers of tenants are in use in domain {self._domain.name}; give the "
                why += "tenant bands more categories, under a new name of the domain"
                self._plan.refuse(f"tenant {tenant}", "no_tenant_number_left", why)
            else:
                self._tenants[tenant] = self._plan.tenants[tenant] = number
        return [guest for guest in guests if self._request.tenant(guest) in self._tenants]

    def _number(self, guests: t.Sequence[GuestUse]) -> int | None:
        """The number in the labels of most of the tenant's guests, else the lowest free one."""
        used: Counter[int] = Counter()
        for guest in guests:
            numbers = self._candidate(guest)
            if numbers is not None and self._in_use.alone(self._code.rank(*numbers), guest.uuid):
                used[numbers[0]] += 1
        assigned = set(self._tenants.values())
        common = sorted(used, key=lambda number: (-used[number], number))
        lowest = (
            number
            for number in range(self._code.tenants)
            if self._in_use.others.tenant_conflict(self._code.shared(number)) is None
        )
        free = (number for numbers in (common, lowest) for number in numbers if number not in assigned)
        return next(free, None)

    def _candidate(self, guest: GuestUse) -> tuple[int, int] | None:
        """Tenant and guest number of the label in its definitions, or in its row of another domain."""
        foreign = self._foreign.get(guest.uuid)
        if foreign is not None:
            numbers = self._code.unrank(foreign.rank)
            return numbers if numbers[0] < self._code.tenants and self._level(*numbers) == foreign.level else None
        places = self._homes[guest.uuid]
        defined = {place.defined.categories for place in places if place.defined is not None}
        return self._code.ranks(next(iter(defined))) if len(defined) == 1 else None

    # -- labels ----------------------------------------------------------------------------------------------------

    def _keeps(self, guest: GuestUse, action: str = "adopt") -> bool:
        """Plan to keep the label that the guest has; False: it cannot be kept."""
        numbers = self._candidate(guest)
        tenant = self._request.tenant(guest)
        if numbers is None or numbers[0] != self._tenants[tenant]:
            return False
        rank = self._code.rank(*numbers)
        foreign = self._foreign.get(guest.uuid)
        if not self._in_use.alone(rank, guest.uuid) or (foreign is not None and foreign.tenant != tenant):
            return False
        row = self._row(guest, rank, PUBLISHED if foreign is None else RESERVED)
        self._in_use.take(row)
        # An existing domain keeps its row until the guest is seen to be gone from it.
        moves = foreign is not None and foreign.domain not in self._domains
        self._change("move" if moves else action, guest, foreign if moves else self._rows.get(guest.uuid), row)
        return True

    def _reserve(self, guest: GuestUse) -> None:
        tenant = self._request.tenant(guest)
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
        tenant, level = self._request.tenant(guest), self._level(*self._code.unrank(rank))
        return Row(self._domain.name, guest.uuid, guest.name, guest.host, tenant, rank, level, state)

    def _level(self, tenant: int, guest: int) -> str:
        return level_of(self._code.label(tenant, guest))

    def _change(self, action: str, guest: GuestUse, before: Row | None, row: Row) -> None:
        old = before.domain if action == "move" and before is not None else ""
        if action in ("reserve", "adopt", "rebuild") and guest.defined is not None:
            old = level_of(guest.defined.categories)
        new = self._domain.name if action == "move" else row.level
        self._plan.changes.append(LedgerChange(action, guest.subject, old, new, row, before))

    def _no_label(self, count: int) -> str:
        return (
            f"{count} of its guests get no label in domain {self._domain.name}: of its {self._code.guests} labels none "
            "is left that neither dominates nor is dominated by one in use; make two tenants of it, let libvirt's "
            "dynamic guests draw from the domain's dynamic band only, or give the guest bands more categories, under a "
            "new name of the domain"
        )


def _tenant_unclear(places: t.Sequence[GuestUse], request: LabelRequest) -> Reason | None:
    tenants = {request.tenant(guest): guest for guest in places}
    if len(tenants) < 2:
        return None
    names = ", ".join(f"{guest.name[:80]!r} on {guest.host}" for _tenant, guest in sorted(tenants.items())[:3])
    why = f"its hosts give it names of different tenants: {names}; name its uuid in the table of tenants"
    return Reason("tenant_unclear", why)


def _why_not(guest: GuestUse) -> Reason | None:
    if guest.error:
        return Reason("guest_unread", f"it could not be read on {guest.host}: {guest.error[:200]}")
    if not guest.persistent:
        why = f"it has no persistent definition on {guest.host} that a label could be written to; define it first"
        return Reason("transient", why)
    return None


def _unread(hosts: t.Sequence[str], guests: int) -> str:
    return (
        f"{guests} guests get no label: {some(hosts, 5)} was never read wholly, and labels in use there are not known; "
        "let the probe read it as root, take it out of hosts and domains when it is gone, or set allow_unread"
    )
