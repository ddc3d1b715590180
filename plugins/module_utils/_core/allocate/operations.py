# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations of the ledger: reserve, publish, observe, release and repair, and its list, without the database.

Each takes the content of the tables (``LedgerState``) and returns its result and the rows to write (``LedgerUpdate``).
The SQL is in plugin_utils/_ledger.py. static_labels.py assigns labels, ranges.py ranges, lifecycle.py states.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from ..facts.storage import HostStorage
from ..facts.storage_statements import NOTHING, StorageStatements
from ..result import Pending, Reason, Refusal, Result
from ..words import some
from . import ledger_check, lifecycle, ranges
from .clock import DAY, LedgerTime, ledger_time
from .host_orders import orders
from .label_code import Code
from .label_domains import NONE, RANGE, STATIC, LabelDomain, NamedDomain, derive
from .labels_in_use import HostUse
from .ledger import NO_RANK, RELEASED, STATES, LedgerChange, LedgerPlan, Row
from .static_labels import DomainLedger, DomainUse, LabelRequest, allocate, homes, level_of, rebuild


@dataclass(frozen=True)
class FleetRead:
    """The labels in use by the snapshots, and the operator's label domains."""

    hosts: t.Sequence[str]
    uses: t.Sequence[HostUse] = ()
    storage: t.Sequence[HostStorage] = ()
    #: Reasons for unread hosts.
    unread: t.Mapping[str, str] = field(default_factory=dict)
    named: t.Sequence[NamedDomain] = ()
    strategy: str = STATIC
    #: The operator's statements about storage.
    statements: StorageStatements = NOTHING


def _nothing_remembered(host: str) -> HostUse:
    raise KeyError(host)


@dataclass(frozen=True)
class LedgerState:
    """Content of the ledger's tables before an operation."""

    rows: t.Sequence[Row] = ()
    slots: t.Sequence[ranges.Slot] = ()
    #: Numbers of tenants by (domain, name).
    tenants: t.Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: Label codes by domain, as JSON.
    codes: t.Mapping[str, str] = field(default_factory=dict)
    #: Domain of each host when it was last read.
    domain_of: t.Mapping[str, str] = field(default_factory=dict)
    #: Latest time of all writers; None: there was none.
    latest: float | None = None
    #: Returns the labels in use on a host of ``domain_of`` when it was last read. Called for unread hosts only.
    recall: t.Callable[[str], HostUse] = _nothing_remembered


@dataclass(frozen=True)
class LedgerEvent:
    """Entry of the event log."""

    domain: str
    subject: str
    action: str
    old: str
    new: str


@dataclass(frozen=True)
class HostMemory:
    """Labels in use on a host, kept for runs that cannot read it."""

    domain: str
    use: HostUse


@dataclass
class LedgerUpdate:
    """Rows to write. Deletions precede insertions."""

    codes: dict[str, str] = field(default_factory=dict)
    #: New numbers of tenants by (domain, name).
    tenants: dict[tuple[str, str], int] = field(default_factory=dict)
    #: Rows to delete: they are in ``rows`` under another domain.
    moved: list[Row] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    #: Hosts whose range and memory to delete.
    forgotten: list[str] = field(default_factory=list)
    slots: list[ranges.Slot] = field(default_factory=list)
    memories: list[HostMemory] = field(default_factory=list)
    events: list[LedgerEvent] = field(default_factory=list)
    #: Latest time of all writers; None: it stays.
    latest: float | None = None


@dataclass
class OperationResult:
    """Effects of an operation, for the operator."""

    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    changes: list[LedgerChange] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    domains: list[dict[str, t.Any]] = field(default_factory=list)
    hosts: dict[str, dict[str, t.Any]] = field(default_factory=dict)
    labels: list[Row] = field(default_factory=list)
    tenants: list[dict[str, t.Any]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, plan: LedgerPlan) -> None:
        """Append a plan's changes, refusals and waits."""
        self.changes += plan.changes
        self.refused += plan.refused
        self.pending += plan.pending

    def refuse(self, subject: str, code: str, text: str) -> None:
        """Append a refusal."""
        self.refused.append(Refusal(subject, Reason(code, text)))

    def shown(self, most: int) -> Result:
        """The result as a module returns it, with at most so many steps, refusals and waits."""
        return Result(
            self.before,
            self.after,
            [change.step() for change in self.changes[:most]],
            self.pending[:most],
            self.refused[:most],
        )


@dataclass(frozen=True)
class Operation:
    """Result of an operation, and the rows that put it into effect."""

    result: OperationResult
    update: LedgerUpdate


def reserve(state: LedgerState, fleet: FleetRead, request: LabelRequest) -> Operation:
    """Assign labels and ranges to guests and hosts without one, and compute each host's orders."""
    work = _Work(state)
    for usage in work.usages(fleet):
        _reserve(work, usage, request)
    work.refuse_unseen(fleet, request)
    work.remember(fleet)
    return work.done()


def observe(state: LedgerState, fleet: FleetRead, days: float, now: float, confirm_clock: bool = False) -> Operation:
    """Update states and hosts of rows from the snapshots; quarantine labels of guests that no longer exist."""
    work = _Work(state)
    usages = work.usages(fleet)
    observed = lifecycle.Observations(
        homes(fleet.uses),
        {use.host for use in fleet.uses if use.complete},
        {usage.domain.name: frozenset(usage.domain.hosts) for usage in usages},
        {host: usage.domain.name for usage in usages for host in usage.domain.hosts},
    )
    time = ledger_time(state.latest, now, confirm_clock)
    work.apply("", lifecycle.observe(work.all_rows(), observed, days * DAY, time))
    for usage in usages:
        name = usage.domain.name
        work.result.pending += orders(usage.uses, work.rows(name)).pending
        work.result.pending += [
            Pending(refusal.subject, "daemon_restart", refusal.reason)
            for refusal in ledger_check.compare_ranges(usage.uses, work.slots(name).values())
        ]
    work.remember(fleet)
    return work.done(time)


def publish(state: LedgerState, hosts: t.Collection[str], guests: t.Collection[str]) -> Operation:
    """Mark reserved labels as handed out to be written: of these guests (empty: all) on these hosts (empty: all)."""
    work = _Work(state)
    work.refuse_unlisted(guests)
    work.apply("", lifecycle.publish(work.all_rows(), guests or None, hosts or None))
    return work.done()


def release(
    state: LedgerState,
    hosts: t.Collection[str],
    guests: t.Collection[str],
    days: float,
    now: float,
    confirm_clock: bool = False,
) -> Operation:
    """Quarantine the labels of guests and hosts that were removed for good, and free the hosts' ranges."""
    work = _Work(state)
    work.refuse_unlisted(guests)
    time = ledger_time(state.latest, now, confirm_clock)
    work.apply("", lifecycle.release(work.all_rows(), guests, hosts, days * DAY, time))
    if time.ahead is None:
        work.forget(hosts)
    return work.done(time)


def listing(state: LedgerState) -> Operation:
    """List all rows and tenants."""
    work = _Work(state)
    work.result.labels = sorted(work.all_rows(), key=lambda row: (row.domain, row.name, row.uuid))
    work.result.tenants = work.tenants()
    return work.done()


def repair(state: LedgerState, fleet: FleetRead, request: LabelRequest, settle: bool = False) -> Operation:
    """Compare ledger and fleet. With ``settle``, add rows for labels of the fleet that have none."""
    work = _Work(state)
    for usage in work.usages(fleet):
        _repair(work, usage, request)
    if work.result.changes:
        work.result.unknown += _not_known(fleet)
    return work.done() if settle else work.advice()


def with_time(state: LedgerState, operation: Operation, now: float) -> Operation:
    """The operation that also writes the time of its controller, unless that may be wrong."""
    if operation.update.latest is None:
        operation.update.latest = ledger_time(state.latest, now).latest
    return operation


def unreleased(rows: t.Iterable[Row]) -> list[Row]:
    """Rows whose label a guest has or that rest in quarantine."""
    return [row for row in rows if row.state != RELEASED]


# -- shared by the operations ------------------------------------------------------------------------------------------


class _Work:
    """The ledger during one operation."""

    def __init__(self, state: LedgerState) -> None:
        self._state = state
        self._rows: dict[str, dict[str, Row]] = defaultdict(dict)
        self._at: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for row in state.rows:
            self._put(row)
        self._slots: dict[str, dict[str, ranges.Slot]] = defaultdict(dict)
        for slot in state.slots:
            self._slots[slot.domain][slot.host] = slot
        self._tenants: dict[str, dict[str, int]] = defaultdict(dict)
        for (domain, name), number in state.tenants.items():
            self._tenants[domain][name] = number
        self._codes = dict(state.codes)
        self._home: dict[str, str] = {}
        self._names: frozenset[str] = frozenset()
        self._update = LedgerUpdate()
        self.result = OperationResult(before=_counts(self.all_rows()))

    def all_rows(self) -> list[Row]:
        """The rows of all domains."""
        return [row for rows in self._rows.values() for row in rows.values()]

    def rows(self, domain: str) -> dict[str, Row]:
        """The rows of a domain by uuid."""
        return self._rows.get(domain, {})

    def slots(self, domain: str) -> dict[str, ranges.Slot]:
        """The ranges of a domain by host."""
        return self._slots.get(domain, {})

    def ledger(self, domain: LabelDomain) -> DomainLedger:
        """The ledger's part for a domain. Rows of vanished domains belong to the domain of their guest's host."""
        hosts = (*domain.hosts, *domain.beside)
        keys = sorted(key for host in hosts for key in self._at.get(host, ()) if key[0] != domain.name)
        foreign_rows = [self._rows[name][uuid] for name, uuid in keys]
        rows = list(self.rows(domain.name).values())
        return DomainLedger(rows, foreign_rows, self._names, self._tenants[domain.name])

    def usages(self, fleet: FleetRead) -> list[DomainUse]:
        """The domains of the fleet, sorted by name, with the labels in use on their hosts."""
        known = self._state.domain_of
        read = {use.host: use for use in fleet.uses}
        doubts = {use.host: "; ".join(use.doubts) for use in fleet.uses if not use.complete}
        self.result.unread = {**fleet.unread, **doubts}
        domains = _with_unread(derive(fleet.storage, fleet.named, fleet.strategy, fleet.statements), fleet, known)
        self._home = {host: domain.name for domain in domains for host in domain.hosts}
        self._names = frozenset(self._home.values())
        named = {domain.name for domain in fleet.named}
        homeless = sorted(host for host in fleet.hosts if host not in self._home)
        usages = []
        for domain in domains:
            missing = [host for host in domain.hosts if host not in read or not read[host].complete]
            unknown = [host for host in missing if host not in known]
            # A host that is neither read nor named may share storage with any domain that is not named.
            unknown += homeless if domain.name not in named else []
            uses = [read[host] for host in domain.hosts if host in read]
            remembered = [self._state.recall(host) for host in missing if host in known]
            remembered += [read[host] for host in domain.beside if host in read]
            remembered += [self._state.recall(host) for host in domain.beside if host not in read and host in known]
            usages.append(DomainUse(domain, uses, remembered, unknown))
        return usages

    def agrees(self, domain: LabelDomain) -> bool:
        """Whether a domain's labels in the ledger follow its code. Without labels, the ledger stores the code."""
        code = json.dumps(domain.code.as_dict(), sort_keys=True)
        known = self._codes.get(domain.name)
        if known not in (None, code) and any(row.rank != NO_RANK for row in self.rows(domain.name).values()):
            why = (
                f"its labels in the ledger are of {known}, it is configured with {code}: labels of both could meet; "
                "give the bands back, or give the domain another name to begin anew"
            )
            self.result.refuse(domain.name, "bands_changed", why)
            return False
        if known != code:
            self._update.codes[domain.name] = self._codes[domain.name] = code
        return True

    def apply(self, domain: str, plan: LedgerPlan) -> None:
        """Apply a plan to rows, tenants and ranges, with an event for each step."""
        self.result.add(plan)
        for tenant, number in plan.tenants.items():
            self._tenants[domain][tenant] = self._update.tenants[domain, tenant] = number
            self._event(domain, f"tenant {tenant}", "tenant", "", str(number))
        for change in plan.changes:
            if change.range is not None:
                self._slots[domain][change.host] = ranges.Slot(domain, change.host, *change.range)
            row = change.row
            if row is None:
                self._event(domain, change.subject, change.action, change.old, change.new)
                continue
            if change.before is not None:
                self._drop(change.before)
            self._put(row)
            self._event(row.domain, row.uuid, change.action, change.old, change.new)

    def remember(self, fleet: FleetRead) -> None:
        """Keep the labels in use on hosts that were read, for runs that cannot read them."""
        for use in fleet.uses:
            if use.complete:
                self._update.memories.append(HostMemory(self._home.get(use.host, ""), use))

    def forget(self, hosts: t.Collection[str]) -> None:
        """Free the ranges of removed hosts, and delete the stored labels in use there."""
        known = self._state.domain_of
        for domain, slots in self._slots.items():
            for host in sorted(set(hosts) & set(slots)):
                slot = slots.pop(host)
                self.result.changes.append(LedgerChange("free", host, str(slot), "", host=host))
                self._event(domain, host, "free", str(slot), "")
        for host in sorted(set(hosts) & set(known)):
            self.result.changes.append(LedgerChange("forget", host, known[host], "", host=host))
            self._event(known[host], host, "forget", known[host], "")
        self._update.forgotten += hosts

    def refuse_unseen(self, fleet: FleetRead, request: LabelRequest) -> None:
        """Refuse the operator's guests that no snapshot has."""
        seen = {name for use in fleet.uses for guest in use.guests for name in (guest.uuid, guest.name)}
        for name in sorted(set(request.guests) - seen):
            self.result.refuse(name[:80], "guest_not_seen", "no guest of this name or uuid was seen; correct it")

    def refuse_unlisted(self, guests: t.Iterable[str]) -> None:
        """Refuse the operator's guests that the ledger does not have."""
        known = {name for row in self.all_rows() for name in (row.uuid, row.name)}
        for name in sorted(set(guests) - known):
            why = "the ledger has no guest of this name or uuid; correct it"
            self.result.refuse(name[:80], "guest_not_in_ledger", why)

    def tenants(self) -> list[dict[str, t.Any]]:
        """All tenants, each with the level of its shared files."""
        codes = {domain: Code.from_dict(json.loads(code)) for domain, code in self._codes.items()}
        return [
            {"domain": domain, "tenant": name, "shared": level_of(codes[domain].shared(number))}
            for domain, tenants in sorted(self._tenants.items())
            for name, number in sorted(tenants.items())
        ]

    def done(self, time: LedgerTime | None = None) -> Operation:
        """The operation with all its rows to write. ``time``: of an operation that ends quarantines."""
        changes, update = self.result.changes, self._update
        if time is not None:
            update.latest = time.latest
            self.result.warnings += [reason.text for reason in (time.ahead, time.behind) if reason is not None]
        self.result.after = _counts(self.all_rows())
        update.moved = [change.before for change in changes if change.action == "move" and change.before is not None]
        update.rows = [change.row for change in changes if change.row is not None]
        slots = {host: slot for of_domain in self._slots.values() for host, slot in of_domain.items()}
        update.slots = [slots[change.host] for change in changes if change.range is not None]
        return Operation(self.result, update)

    def advice(self) -> Operation:
        """Report only: turn planned changes into advice, and write nothing."""
        for change in self.result.changes:
            why = f"it has the label {change.new}, which the ledger does not know; repair: true adds it"
            self.result.pending.append(Pending(change.subject, "repair", Reason("not_in_ledger", why)))
        self.result.changes = []
        self.result.after = dict(self.result.before)
        return Operation(self.result, LedgerUpdate())

    def _put(self, row: Row) -> None:
        self._rows[row.domain][row.uuid] = row
        self._at[row.host].add((row.domain, row.uuid))

    def _drop(self, row: Row) -> None:
        self._rows[row.domain].pop(row.uuid, None)
        self._at[row.host].discard((row.domain, row.uuid))

    def _event(self, domain: str, subject: str, action: str, old: str, new: str) -> None:
        self._update.events.append(LedgerEvent(domain, subject, action, old, new))


def _reserve(work: _Work, usage: DomainUse, request: LabelRequest) -> None:
    domain, result = usage.domain, work.result
    if domain.refusal is not None and domain.strategy != NONE:
        result.refused.append(Refusal(domain.name, domain.refusal))
    agrees = domain.strategy == NONE or (domain.refusal is None and work.agrees(domain))
    if domain.joined_by:
        result.unknown.append(_joined(domain))
    ledger = work.ledger(domain)
    if agrees and domain.strategy == STATIC:
        plan = allocate(usage, ledger, request)
        result.unknown += _first_sight(domain, ledger, plan)
        work.apply(domain.name, plan)
    elif agrees and domain.strategy == RANGE:
        slots = list(work.slots(domain.name).values())
        work.apply(domain.name, ranges.allot(usage, slots, [*ledger.rows, *ledger.foreign_rows]))
    rows = work.rows(domain.name) if agrees and domain.strategy == STATIC else {}
    host_orders = orders(usage.uses, rows)
    result.refused += host_orders.refused
    result.pending += host_orders.pending
    for use in usage.uses:
        slot = work.slots(domain.name).get(use.host)
        result.hosts[use.host] = {"range": _range(domain, slot), "guests": host_orders.guests.get(use.host, [])}
    result.domains.append(_summary(usage, work))


def _joined(domain: LabelDomain) -> str:
    return (
        f"domain {domain.name} has {len(domain.hosts)} hosts because it is not known whether their storage is shared, "
        f"such as {domain.joined_by}; name in svirt_storage which mounts are one storage and which are not"
    )


def _repair(work: _Work, usage: DomainUse, request: LabelRequest) -> None:
    domain, result = usage.domain, work.result
    if domain.strategy == NONE or not work.agrees(domain):
        return
    ledger, slots = work.ledger(domain), list(work.slots(domain.name).values())
    result.refused += ledger_check.compare(domain.code, usage.uses, [*ledger.rows, *ledger.foreign_rows])
    result.refused += ledger_check.compare_ranges(usage.uses, slots)
    static = domain.strategy == STATIC
    work.apply(domain.name, rebuild(usage, ledger, request) if static else ranges.rebuild(usage, slots))
    result.domains.append(_summary(usage, work))


def _range(domain: LabelDomain, slot: ranges.Slot | None) -> dict[str, int] | None:
    if domain.strategy == STATIC:
        return {"low": domain.code.dynamic.first, "high": domain.code.dynamic.last}
    return {"low": slot.low, "high": slot.high} if domain.strategy == RANGE and slot is not None else None


def _summary(usage: DomainUse, work: _Work) -> dict[str, t.Any]:
    domain = usage.domain
    capacity, used = 0, 0
    if domain.strategy == STATIC:
        capacity = domain.code.tenants * domain.code.guests
        used = sum(row.state != RELEASED for row in work.rows(domain.name).values())
    elif domain.strategy == RANGE:
        capacity, used = ranges.capacity(domain.range_width), len(work.slots(domain.name))
    return {
        "name": domain.name,
        "strategy": domain.strategy,
        "hosts": list(domain.hosts),
        "guests": len(homes(usage.uses)),
        "capacity": capacity,
        "used": used,
    }


def _with_unread(domains: t.Sequence[LabelDomain], fleet: FleetRead, known: t.Mapping[str, str]) -> list[LabelDomain]:
    """Keep unread, unnamed hosts in their last domain, under the name that its other hosts have now."""
    home = {host: domain.name for domain in domains for host in domain.hosts}
    now = {known[host]: name for host, name in home.items() if host in known}
    added: dict[str, list[str]] = defaultdict(list)
    for host in sorted(set(fleet.hosts) - set(home)):
        if host in known:
            added[now.get(known[host], known[host])].append(host)
    by_name = {domain.name: domain for domain in domains}
    for name, hosts in added.items():
        domain = by_name.get(name) or LabelDomain(name, (), fleet.strategy, pool=False)
        by_name[name] = replace(domain, hosts=tuple(sorted({*domain.hosts, *hosts})))
    return [by_name[name] for name in sorted(by_name)]


def _first_sight(domain: LabelDomain, ledger: DomainLedger, plan: LedgerPlan) -> list[str]:
    adopted = sum(change.action == "adopt" for change in plan.changes)
    if ledger.rows or ledger.foreign_rows or not adopted:
        return []
    why = (
        f"the ledger knew nothing of domain {domain.name}, but {adopted} guests there have labels of its code and keep "
        "them: if it was lost, labels in quarantine are not known any more"
    )
    return [why]


def _not_known(fleet: FleetRead) -> list[str]:
    lost = [
        "tenants: guests that the table of tenants does not name count as the default tenant's; check it",
        "quarantine: labels of guests that were gone before are free again, though backups may carry them",
    ]
    if fleet.unread:
        names = sorted(fleet.unread)
        lost.append(f"unread hosts: labels in use on {some(names, 5)}; run repair again when they can be read")
    return lost


def _counts(rows: t.Iterable[Row]) -> dict[str, int]:
    counts = Counter(row.state for row in rows)
    return {state: counts[state] for state in STATES}
