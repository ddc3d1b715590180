# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of labels in the store. Each operation is one transaction: it reads, plans by the core, and writes it all.

A check does everything but the writing, so that it foretells what would be done.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ..module_utils._core.allocate import ledger_check, lifecycle, ranges
from ..module_utils._core.allocate import static_labels as a
from ..module_utils._core.allocate.host_orders import orders
from ..module_utils._core.allocate.label_code import Code
from ..module_utils._core.allocate.label_domains import NONE, RANGE, STATIC, LabelDomain, Named, derive
from ..module_utils._core.allocate.labels_in_use import HostUse, recalled, stored
from ..module_utils._core.allocate.ledger import NO_RANK, RELEASED, STATES, Change, Note, Plan, Row
from ..module_utils._core.errors import LabelError, StoreError
from ..module_utils._core.facts.storage import HostStorage
from ._store import Store, Transaction, packed, unpacked

_ROWS = "SELECT domain, uuid, name, host, tenant, rank, level, state, until FROM svirt_labels"
_ROW = (
    "INSERT INTO svirt_labels (domain, uuid, name, host, tenant, rank, level, state, until) VALUES (:domain, :uuid, "
    ":name, :host, :tenant, :rank, :level, :state, :until) ON CONFLICT (domain, uuid) DO UPDATE SET name = "
    "excluded.name, host = excluded.host, tenant = excluded.tenant, rank = excluded.rank, level = excluded.level, "
    "state = excluded.state, until = excluded.until"
)
_EVENT = (
    "INSERT INTO svirt_events (at, domain, subject, action, old, new) VALUES (:at, :domain, :subject, :action, :old, "
    ":new)"
)


@dataclass(frozen=True)
class FleetRead:
    """What the snapshots say, and how the operator divides the fleet."""

    hosts: t.Sequence[str]
    uses: t.Sequence[HostUse] = ()
    storage: t.Sequence[HostStorage] = ()
    #: Why hosts could not be read.
    unread: t.Mapping[str, str] = field(default_factory=dict)
    named: t.Sequence[Named] = ()
    strategy: str = STATIC


@dataclass
class Result:
    """What an operation did, or would do."""

    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    refused: list[Note] = field(default_factory=list)
    pending: list[Note] = field(default_factory=list)
    domains: list[dict[str, t.Any]] = field(default_factory=list)
    hosts: dict[str, dict[str, t.Any]] = field(default_factory=dict)
    labels: list[Row] = field(default_factory=list)
    tenants: list[dict[str, t.Any]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    def add(self, plan: Plan) -> None:
        """Take a plan in."""
        self.changes += plan.changes
        self.refused += plan.refused
        self.pending += plan.pending


def reserve(store: Store, fleet: FleetRead, wishes: a.Wishes, now: float, check: bool = False) -> Result:
    """Labels and ranges for all that have none, and what is to be applied on each host."""
    with _work(store, now, check) as work:
        for scene in work.scenes(fleet):
            _reserve(work, scene, wishes)
        work.unmatched(fleet, wishes)
        work.remember(fleet)
        return work.result


def observe(store: Store, fleet: FleetRead, days: float, now: float, check: bool = False) -> Result:
    """What the snapshots show of the ledger's labels: states, places, guests that are gone."""
    store.demand()
    with _work(store, now, check) as work:
        scenes = work.scenes(fleet)
        sight = lifecycle.Sight(
            a.homes(fleet.uses),
            {use.host for use in fleet.uses if use.complete},
            {scene.domain.name: frozenset(scene.domain.hosts) for scene in scenes},
            {host: scene.domain.name for scene in scenes for host in scene.domain.hosts},
        )
        work.apply("", lifecycle.observe(work.all_rows(), sight, now + days * lifecycle.DAY, now))
        for scene in scenes:
            name = scene.domain.name
            work.result.pending += orders(scene.uses, work.rows(name)).pending
            work.result.pending += ledger_check.compare_ranges(scene.uses, work.slots(name).values())
        work.remember(fleet)
        return work.result


def publish(
    store: Store, hosts: t.Collection[str], guests: t.Collection[str], now: float, check: bool = False
) -> Result:
    """Reserved labels were handed out to be written: those of these guests (none: all) on these hosts (none: all)."""
    store.demand()
    with _work(store, now, check) as work:
        work.unmatched_rows(guests)
        work.apply("", lifecycle.publish(work.all_rows(), guests or None, hosts or None))
        return work.result


def release(
    store: Store, hosts: t.Collection[str], guests: t.Collection[str], days: float, now: float, check: bool = False
) -> Result:
    """Guests and hosts that are gone for good. Their labels rest in quarantine; the hosts' ranges are free at once."""
    store.demand()
    with _work(store, now, check) as work:
        work.unmatched_rows(guests)
        work.apply("", lifecycle.release(work.all_rows(), guests, hosts, now + days * lifecycle.DAY, now))
        work.forget(hosts)
        return work.result


def listing(store: Store) -> Result:
    """All rows of the ledger."""
    store.demand()
    with _work(store, 0.0, check=True) as work:
        work.result.labels = sorted(work.all_rows(), key=lambda row: (row.domain, row.name, row.uuid))
        work.result.tenants = work.tenants()
        return work.result


def repair(
    store: Store, fleet: FleetRead, wishes: a.Wishes, now: float, settle: bool = False, check: bool = False
) -> Result:
    """Where ledger and fleet differ. With ``settle``, rows for labels of the fleet that the ledger does not know."""
    if not settle:
        store.demand()
    with _work(store, now, check or not settle) as work:
        scenes = work.scenes(fleet)
        for scene in scenes:
            _repair(work, scene, wishes)
        if work.result.changes:
            work.result.unknown += _not_known(fleet)
        if not settle:
            work.only_told()
        return work.result


def ledger_rows(url: str) -> list[Row]:
    """The labels that guests of the ledger have or that rest in quarantine. Raises StoreError."""
    store = Store(url)
    store.demand()
    try:
        with store.look() as transaction:
            return [row for row in _rows(transaction) if row.state != RELEASED]
    finally:
        store.close()


# -- what the operations share -----------------------------------------------------------------------------------------


class _Work:
    """The ledger within one transaction."""

    def __init__(self, transaction: Transaction, now: float) -> None:
        self._transaction = transaction
        self._now = now
        self._rows: dict[str, dict[str, Row]] = defaultdict(dict)
        self._at: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for row in _rows(transaction):
            self._put(row)
        self._slots: dict[str, dict[str, ranges.Slot]] = defaultdict(dict)
        for domain, host, low, high in transaction.rows("SELECT domain, host, low, high FROM svirt_ranges"):
            self._slots[domain][host] = ranges.Slot(domain, host, low, high)
        self._tenants: dict[str, dict[str, int]] = defaultdict(dict)
        for domain, name, number in transaction.rows("SELECT domain, name, number FROM svirt_tenants"):
            self._tenants[domain][name] = number
        self._codes: dict[str, str] = dict(transaction.rows("SELECT name, code FROM svirt_domains"))
        #: The domain that each host was in when it was last read.
        self._known: dict[str, str] = dict(transaction.rows("SELECT host, domain FROM svirt_hosts"))
        self._home: dict[str, str] = {}
        self._names: frozenset[str] = frozenset()
        self._new_domains: dict[str, str] = {}
        self._new_tenants: list[dict[str, t.Any]] = []
        self._remembered: list[dict[str, t.Any]] = []
        self._forgotten: list[str] = []
        self._events: list[dict[str, t.Any]] = []
        self._only_told = False
        self.result = Result(before=_counts(self.all_rows()))

    def all_rows(self) -> list[Row]:
        """The rows of all domains."""
        return [row for rows in self._rows.values() for row in rows.values()]

    def rows(self, domain: str) -> dict[str, Row]:
        """The rows of a domain by uuid."""
        return self._rows.get(domain, {})

    def slots(self, domain: str) -> dict[str, ranges.Slot]:
        """The ranges of a domain by host."""
        return self._slots.get(domain, {})

    def ledger(self, domain: LabelDomain) -> a.Ledger:
        """What is known of a domain. Rows of domains that are no more come to where their guest is."""
        keys = sorted(key for host in domain.hosts for key in self._at.get(host, ()) if key[0] != domain.name)
        strays = [self._rows[name][uuid] for name, uuid in keys]
        rows = list(self.rows(domain.name).values())
        return a.Ledger(rows, strays, self._names, self._tenants[domain.name])

    def scenes(self, fleet: FleetRead) -> list[a.Scene]:
        """The domains of the fleet, by name, and what is known of their hosts."""
        read = {use.host: use for use in fleet.uses}
        doubts = {use.host: "; ".join(use.doubts) for use in fleet.uses if not use.complete}
        self.result.unread = {**fleet.unread, **doubts}
        domains = _with_unread(derive(fleet.storage, fleet.named, fleet.strategy), fleet, self._known)
        self._home = {host: domain.name for domain in domains for host in domain.hosts}
        self._names = frozenset(self._home.values())
        named = {one.name for one in fleet.named}
        lost = sorted(host for host in fleet.hosts if host not in self._home)
        scenes = []
        for domain in domains:
            missing = [host for host in domain.hosts if host not in read or not read[host].complete]
            unknown = [host for host in missing if host not in self._known]
            # A host that nobody read and nobody named may share storage with any domain that nobody named.
            unknown += lost if domain.name not in named else []
            uses = [read[host] for host in domain.hosts if host in read]
            scenes.append(
                a.Scene(domain, uses, [self._recall(host) for host in missing if host in self._known], unknown)
            )
        return scenes

    def agrees(self, domain: LabelDomain) -> bool:
        """Whether the domain's labels in the ledger are of its code; one without labels takes the code that it has."""
        code = json.dumps(domain.code.told(), sort_keys=True)
        known = self._codes.get(domain.name)
        if known not in (None, code) and any(row.rank != NO_RANK for row in self.rows(domain.name).values()):
            why = (
                f"its labels in the ledger are of {known}, it is configured with {code}: labels of both could meet; "
                "give the bands back, or give the domain another name to begin anew"
            )
            self.result.refused.append(Note(domain.name, why))
            return False
        if known != code:
            self._new_domains[domain.name] = self._codes[domain.name] = code
        return True

    def apply(self, domain: str, plan: Plan) -> None:
        """Take a plan in: rows, tenants, ranges and an event for each step."""
        self.result.add(plan)
        for tenant, number in plan.tenants.items():
            self._tenants[domain][tenant] = number
            self._new_tenants.append({"domain": domain, "name": tenant, "number": number})
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
        """Keep what is in use on the hosts that were read, for when they cannot be."""
        for use in fleet.uses:
            if use.complete:
                sets = packed(json.dumps(stored(use), separators=(",", ":")).encode())
                home = self._home.get(use.host, "")
                self._remembered.append({"host": use.host, "domain": home, "read_at": self._now, "sets": sets})

    def forget(self, hosts: t.Collection[str]) -> None:
        """Hosts that are gone: their ranges are free, and what was in use there is no more."""
        for domain, slots in self._slots.items():
            for host in sorted(set(hosts) & set(slots)):
                slot = slots.pop(host)
                self.result.changes.append(Change("free", host, str(slot), "", host=host))
                self._event(domain, host, "free", str(slot), "")
        for host in sorted(set(hosts) & set(self._known)):
            self.result.changes.append(Change("forget", host, self._known[host], "", host=host))
            self._event(self._known[host], host, "forget", self._known[host], "")
        self._forgotten += hosts

    def unmatched(self, fleet: FleetRead, wishes: a.Wishes) -> None:
        """Tell of guests that the operator named and nobody saw."""
        seen = {name for use in fleet.uses for guest in use.guests for name in (guest.uuid, guest.name)}
        for name in sorted(set(wishes.guests) - seen):
            self.result.refused.append(Note(name[:80], "no guest of this name or uuid was seen; correct it"))

    def unmatched_rows(self, guests: t.Iterable[str]) -> None:
        """Tell of guests that the operator named and the ledger does not know."""
        known = {name for row in self.all_rows() for name in (row.uuid, row.name)}
        for name in sorted(set(guests) - known):
            self.result.refused.append(Note(name[:80], "the ledger has no guest of this name or uuid; correct it"))

    def only_told(self) -> None:
        """Nothing is to be done: what would be is only told."""
        for change in self.result.changes:
            why = f"it has the label {change.new}, which the ledger does not know; repair: true takes it over"
            self.result.pending.append(Note(change.subject, why))
        self.result.changes = []
        self._only_told = True

    def finish(self) -> None:
        """Count what there is now."""
        self.result.after = dict(self.result.before) if self._only_told else _counts(self.all_rows())

    def tenants(self) -> list[dict[str, t.Any]]:
        """All tenants, each with the level of what its guests share."""
        codes = {domain: Code.of(json.loads(told)) for domain, told in self._codes.items()}
        return [
            {"domain": domain, "tenant": name, "shared": a.level_of(codes[domain].shared(number))}
            for domain, tenants in sorted(self._tenants.items())
            for name, number in sorted(tenants.items())
        ]

    def write(self) -> None:
        """Write all of it down."""
        write = self._transaction.run
        write(
            "INSERT INTO svirt_domains (name, code) VALUES (:name, :code) ON CONFLICT (name) DO UPDATE SET code = "
            "excluded.code",
            [{"name": name, "code": code} for name, code in self._new_domains.items()],
        )
        write("INSERT INTO svirt_tenants (domain, number, name) VALUES (:domain, :number, :name)", self._new_tenants)
        moved = [
            change.before for change in self.result.changes if change.action == "move" and change.before is not None
        ]
        keys = [{"domain": row.domain, "uuid": row.uuid} for row in moved]
        write("DELETE FROM svirt_labels WHERE domain = :domain AND uuid = :uuid", keys)
        rows = [change.row for change in self.result.changes if change.row is not None]
        write(_ROW, [{**vars(row), "rank": None if row.rank == NO_RANK else row.rank} for row in rows])
        hosts = [{"host": host} for host in self._forgotten]
        write("DELETE FROM svirt_ranges WHERE host = :host", hosts)
        write("DELETE FROM svirt_hosts WHERE host = :host", hosts)
        slots = {host: slot for of_domain in self._slots.values() for host, slot in of_domain.items()}
        write(
            "INSERT INTO svirt_ranges (domain, slot, host, low, high) VALUES (:domain, :low, :host, :low, :high)",
            [vars(slots[change.host]) for change in self.result.changes if change.range is not None],
        )
        write(
            "INSERT INTO svirt_hosts (host, domain, read_at, sets) VALUES (:host, :domain, :read_at, :sets) "
            "ON CONFLICT (host) DO UPDATE SET domain = excluded.domain, read_at = excluded.read_at, "
            "sets = excluded.sets",
            self._remembered,
        )
        write(_EVENT, self._events)

    def _put(self, row: Row) -> None:
        self._rows[row.domain][row.uuid] = row
        self._at[row.host].add((row.domain, row.uuid))

    def _drop(self, row: Row) -> None:
        self._rows[row.domain].pop(row.uuid, None)
        self._at[row.host].discard((row.domain, row.uuid))

    def _recall(self, host: str) -> HostUse:
        content = self._transaction.rows("SELECT sets FROM svirt_hosts WHERE host = :host", host=host)[0][0]
        try:
            return recalled(host, json.loads(unpacked(bytes(content))))
        except (ValueError, AttributeError, KeyError, LabelError) as error:
            raise StoreError(f"the store's memory of host {host} is damaged ({error}); restore a backup") from error

    def _event(self, domain: str, subject: str, action: str, old: str, new: str) -> None:
        event = {"at": self._now, "domain": domain, "subject": subject, "action": action, "old": old, "new": new}
        self._events.append(event)


@contextmanager
def _work(store: Store, now: float, check: bool) -> Iterator[_Work]:
    with store.look() if check else store.write() as transaction:
        work = _Work(transaction, now)
        yield work
        work.finish()
        if not check:
            work.write()


def _reserve(work: _Work, scene: a.Scene, wishes: a.Wishes) -> None:
    domain, result = scene.domain, work.result
    agrees = domain.strategy == NONE or work.agrees(domain)
    ledger = work.ledger(domain)
    if agrees and domain.strategy == STATIC:
        plan = a.allocate(scene, ledger, wishes)
        result.unknown += _first_sight(domain, ledger, plan)
        work.apply(domain.name, plan)
    elif agrees and domain.strategy == RANGE:
        slots = list(work.slots(domain.name).values())
        work.apply(domain.name, ranges.allot(scene, slots, [*ledger.rows, *ledger.strays]))
    rows = work.rows(domain.name) if agrees and domain.strategy == STATIC else {}
    made = orders(scene.uses, rows)
    result.refused += made.refused
    result.pending += made.pending
    for use in scene.uses:
        slot = work.slots(domain.name).get(use.host)
        result.hosts[use.host] = {"range": _range(domain, slot), "guests": made.guests.get(use.host, [])}
    result.domains.append(_summary(scene, work))


def _repair(work: _Work, scene: a.Scene, wishes: a.Wishes) -> None:
    domain, result = scene.domain, work.result
    if domain.strategy == NONE or not work.agrees(domain):
        return
    ledger, slots = work.ledger(domain), list(work.slots(domain.name).values())
    result.refused += ledger_check.compare(domain.code, scene.uses, [*ledger.rows, *ledger.strays])
    result.refused += ledger_check.compare_ranges(scene.uses, slots)
    static = domain.strategy == STATIC
    work.apply(domain.name, a.rebuild(scene, ledger, wishes) if static else ranges.rebuild(scene, slots))
    result.domains.append(_summary(scene, work))


def _range(domain: LabelDomain, slot: ranges.Slot | None) -> dict[str, int] | None:
    if domain.strategy == STATIC:
        return {"low": domain.code.dynamic.first, "high": domain.code.dynamic.last}
    return {"low": slot.low, "high": slot.high} if domain.strategy == RANGE and slot is not None else None


def _summary(scene: a.Scene, work: _Work) -> dict[str, t.Any]:
    domain = scene.domain
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
        "guests": len(a.homes(scene.uses)),
        "capacity": capacity,
        "used": used,
    }


def _with_unread(domains: t.Sequence[LabelDomain], fleet: FleetRead, known: t.Mapping[str, str]) -> list[LabelDomain]:
    """Hosts that cannot be read and nobody named stay where they were: their domain is told by who else was in it."""
    home = {host: domain.name for domain in domains for host in domain.hosts}
    now = {known[host]: name for host, name in home.items() if host in known}
    added: dict[str, list[str]] = defaultdict(list)
    for host in sorted(set(fleet.hosts) - set(home)):
        if host in known:
            added[now.get(known[host], known[host])].append(host)
    found = {domain.name: domain for domain in domains}
    for name, hosts in added.items():
        domain = found.get(name) or LabelDomain(name, (), fleet.strategy, pool=False)
        found[name] = replace(domain, hosts=tuple(sorted({*domain.hosts, *hosts})))
    return [found[name] for name in sorted(found)]


def _first_sight(domain: LabelDomain, ledger: a.Ledger, plan: Plan) -> list[str]:
    adopted = sum(change.action == "adopt" for change in plan.changes)
    if ledger.rows or ledger.strays or not adopted:
        return []
    why = (
        f"the ledger knew nothing of domain {domain.name}, but {adopted} guests there have labels of its code and keep "
        "them: if it was lost, labels that rested in quarantine are not known any more"
    )
    return [why]


def _not_known(fleet: FleetRead) -> list[str]:
    found = [
        "tenants: guests that the table of tenants does not name count as the default tenant's; check it",
        "quarantine: labels of guests that were gone before are free again, though backups may carry them",
    ]
    if fleet.unread:
        names = sorted(fleet.unread)
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        found.append(f"unread hosts: labels in use on {some}; run repair again when they can be read")
    return found


def _rows(transaction: Transaction) -> list[Row]:
    return [
        Row(domain, uuid, name, host, tenant, NO_RANK if rank is None else rank, level, state, until)
        for domain, uuid, name, host, tenant, rank, level, state, until in transaction.rows(_ROWS)
    ]


def _counts(rows: t.Iterable[Row]) -> dict[str, int]:
    found = Counter(row.state for row in rows)
    return {state: found[state] for state in STATES}
