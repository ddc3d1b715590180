# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules across hosts: which guests' categories let them at another guest's files.

libvirt keeps category pairs apart inside one daemon only. Here all running guests of the fleet are laid side by side.
A guest reaches another when its level dominates the other's (equal, or a superset) *and* it can come to the other's
files: on the same host (class E1), or on another host through storage that carries labels on both (class E2). What is
equal by chance, with no storage in common, is counted and told in one line (class E4).

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.

Labels of no guest on shared storage are settled here too: see orphans.py.

Findings are groups: one per dominating level and class (and host, for E1), never one per pair. Left out on purpose:

- guests without a constrained type or with fewer than two categories: rules about guests tell of them;
- the same guest seen on two hosts: that is a migration;
- block devices: their labels live in each host's own ``/dev``.

When two hosts share storage: see sharing.py. A guest is reached through storage only when it has a file there. A
guest whose files are not known, or lie on a mount that is not known, is taken to have files on all of it.
"""

from __future__ import annotations

import math
import typing as t
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import combinations

from . import finding as f
from . import orphans
from .errors import LabelError
from .label import CategorySet, Level, parse_context
from .orphans import Stock
from .rules.image import ORPHAN
from .sharing import HostStorage, Sharing, file_path, host_storage
from .snapshot import NOT_APPLICABLE, Guest, Snapshot

#: Pairs that libvirt can draw from c0 to c1023.
PAIRS = math.comb(1024, 2)
#: So many examples of guests that are equal by chance.
MAX_EXAMPLES = 20


def _across(_snapshot: Snapshot, _settings: f.Settings) -> t.Iterable[f.Hit | f.Unsure]:
    return ()  # no single host shows it: judge() below looks at all of them


SHARED = f.Rule(
    id="CAT-001",
    title="Guests on different hosts can open each other's files on shared storage",
    severity="critical",
    scope="fleet",
    why=(
        "The guests' categories are equal, or one has all of the other's, and their hosts mount the same labelled "
        "storage. SELinux then lets one guest's QEMU read and write the other's disks, as far as owner and mode do."
    ),
    fix=(
        "Give one guest of each pair another label. A dynamic guest draws a new one at its next power cycle; a static "
        "<seclabel> must be changed before. For good: a category range of its own for every host, or a label of its "
        "own for every guest."
    ),
    cost="guest_power_cycle",
    needs=("guests", "storage"),
    check=_across,
    references=("NIST SP 800-53 SC-4", "NIST SP 800-53 SC-39", "NIST SP 800-53 AC-4"),
)

LOCAL = f.Rule(
    id="CAT-002",
    title="Guests on one host can open each other's files",
    severity="critical",
    scope="fleet",
    why=(
        "The guests' categories are equal, or one has all of the other's, on the same host. libvirt checks neither "
        "static labels nor a dynamic draw against them, so nothing but owner and mode keeps these guests apart."
    ),
    fix=(
        "Give one guest of each pair another label: remove its static <seclabel>, or write one that contains no other "
        "guest's categories, then power-cycle it. A dynamic guest draws a new label at its next power cycle."
    ),
    cost="guest_power_cycle",
    needs=("guests",),
    check=_across,
    references=("NIST SP 800-53 SC-4", "NIST SP 800-53 SC-39", "NIST SP 800-53 AC-4"),
)

CHANCE = f.Rule(
    id="CAT-004",
    title="Guests on different hosts have equal categories, with no storage in common",
    severity="info",
    scope="fleet",
    why=(
        "Each host draws pairs on its own, so equal pairs are expected in a large fleet. They are harmless until the "
        "guests meet: on one host by migration, or on labelled storage that both hosts mount."
    ),
    fix="Nothing is urgent. Many more than expected point to labels that were copied; ranges per host end it.",
    cost="none",
    needs=("guests",),
    check=_across,
)

#: In the order of their ids. CAT-003 is kept for what a migration would make of static labels (class E3).
RULES = (SHARED, LOCAL, CHANCE)


@dataclass(frozen=True)
class Placed:
    """A running guest on a host: the little of it that is compared."""

    uuid: str
    name: str
    host: str
    level: Level
    #: Mount point and path of each of its files; None: not known, so anywhere on the host.
    files: tuple[tuple[str, str], ...] | None

    def told(self) -> dict[str, str]:
        """The guest in evidence."""
        return {"guest": self.name, "host": self.host, "level": str(self.level), "uuid": self.uuid}


@dataclass(frozen=True)
class View:
    """What comparing a host with others needs: small, so that a fleet's snapshots need not be held."""

    host: str
    guests: tuple[Placed, ...]
    storage: HostStorage
    stock: Stock
    #: Why guests here could not be compared; empty when all were.
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fleet:
    """What the rules across hosts say."""

    findings: tuple[f.Finding, ...] = ()
    #: By host, what could not be judged.
    outcomes: t.Mapping[str, tuple[f.Outcome, ...]] = field(default_factory=dict)
    #: Guests compared, each counted once.
    guests: int = 0
    equal_by_chance: int = 0
    expected_by_chance: float = 0.0


def view(host: str, snapshot: Snapshot) -> View:
    """The host's part in the comparison. ``host`` is its name in the inventory."""
    selinux = snapshot.coverage["selinux"].status
    off = snapshot.selinux.mode == "disabled" or selinux == NOT_APPLICABLE
    unconstrained = {entry.name for entry in snapshot.selinux.types if entry.constrained is False}
    placed: list[Placed] = []
    doubts: list[str] = []
    for guest in () if off else snapshot.guests:
        if not guest.active or guest.kind not in ("kvm", "qemu"):
            continue
        try:
            context = parse_context(guest.context or "")
        except LabelError as error:
            doubts.append(
                f"guest {guest.name[:80]!r} could not be compared: {error}"
                if guest.context
                else f"guest {guest.name[:80]!r} could not be compared: its process's label was not read"
            )
            continue
        if len(context.categories) >= 2 and context.type not in unconstrained:
            placed.append(Placed(guest.uuid, guest.name, host, context.high, _files(guest)))
    stock = orphans.stock(host, snapshot, (guest.level for guest in placed), bool(doubts))
    return View(host, tuple(placed), host_storage(host, snapshot), stock, tuple(doubts))


def judge(views: t.Sequence[View], unread: t.Sequence[str] = ()) -> Fleet:
    """Compare all running guests of all hosts. ``unread`` are hosts of the fleet that could not be read."""
    placed = [guest for one in views for guest in one.guests]
    sharing = Sharing([one.storage for one in views])
    reached, chance = _reaching(placed, sharing)
    settled = orphans.settle([one.stock for one in views], sharing, unread)
    findings = [*reached, *settled.findings]
    equal, expected = sum(math.comb(len({guest.uuid for guest in group}), 2) for group in chance), _expected(placed)
    if chance:
        findings.append(_by_chance(chance, equal, expected))
    guests = len({guest.uuid for guest in placed})
    return Fleet(tuple(sorted(findings, key=f.order)), _outcomes(views, settled), guests, equal, expected)


def _reaching(placed: t.Iterable[Placed], sharing: Sharing) -> tuple[list[f.Finding], list[list[Placed]]]:
    """Findings of the classes E1 and E2, and the groups that are equal by chance."""
    by_level: dict[Level, list[Placed]] = defaultdict(list)
    for guest in placed:
        by_level[guest.level].append(guest)
    below = _dominated(by_level.keys())
    findings: list[f.Finding] = []
    chance: list[list[Placed]] = []
    for level, holders in by_level.items():
        if not _several(holders) and level not in below:
            continue
        victims = holders + [guest for lower in below.get(level, ()) for guest in by_level[lower]]
        found = [*_same_host(level, holders, victims), *_shared_storage(level, holders, victims, sharing)]
        findings += found
        if not found and _several(holders):
            chance.append(holders)
    return findings, chance


def _outcomes(views: t.Iterable[View], settled: orphans.Settled) -> dict[str, tuple[f.Outcome, ...]]:
    outcomes: dict[str, tuple[f.Outcome, ...]] = {}
    for one in views:
        doubts = [(rule, one.doubts) for rule in (SHARED, LOCAL)]
        doubts.append((ORPHAN, settled.whys(one.host)))
        unknown = tuple(f.Outcome(rule.id, f.UNKNOWN, "; ".join(whys[:5])) for rule, whys in doubts if whys)
        if unknown:
            outcomes[one.host] = unknown
    return outcomes


def _several(group: t.Iterable[Placed]) -> bool:
    return len({guest.uuid for guest in group}) > 1


def _dominated(levels: t.Collection[Level]) -> dict[Level, list[Level]]:
    """For each level those in use that it strictly dominates, without comparing all with all.

    Labels of equal weight cannot contain one another, so only heavier ones are looked at: by trying their subsets
    when those are few, else by going through the lighter labels.
    """
    by_weight: dict[int, dict[CategorySet, list[Level]]] = defaultdict(lambda: defaultdict(list))
    for level in levels:
        by_weight[len(level.categories)][level.categories].append(level)
    found: dict[Level, list[Level]] = {}
    for level in levels:
        weight = len(level.categories)
        candidates = list(by_weight[weight][level.categories])  # one set of categories, another sensitivity
        for lighter, group in by_weight.items():
            if lighter < weight:
                candidates += [other for part in _subsets(level.categories, lighter, group) for other in group[part]]
        lower = [other for other in candidates if other != level and level.dominates(other)]
        if lower:
            found[level] = sorted(lower, key=str)
    return found


def _subsets(categories: CategorySet, weight: int, group: t.Mapping[CategorySet, object]) -> list[CategorySet]:
    """Those of the group that are subsets of these categories."""
    if math.comb(len(categories), weight) < len(group):
        return [part for part in map(CategorySet.of, combinations(categories, weight)) if part in group]
    return [part for part in group if categories.dominates(part)]


def _same_host(level: Level, holders: list[Placed], victims: list[Placed]) -> t.Iterator[f.Finding]:
    """Class E1: one finding per host."""
    here: dict[str, list[Placed]] = defaultdict(list)
    for guest in victims:
        here[guest.host].append(guest)
    for host in sorted({guest.host for guest in holders}):
        if _several(here[host]):
            reaching = [guest for guest in holders if guest.host == host]
            yield _group(LOCAL, "E1", host, level, reaching, here[host], {})


def _shared_storage(
    level: Level, holders: list[Placed], victims: list[Placed], sharing: Sharing
) -> t.Iterator[f.Finding]:
    """Class E2: one finding over all hosts, with the storage that the pairs meet on."""
    by_key: dict[str, list[Placed]] = defaultdict(list)
    for guest in victims:
        for key in sharing.keys_of_files(guest.host, guest.files):
            by_key[key].append(guest)
    reaching: set[Placed] = set()
    reached: set[Placed] = set()
    met: dict[str, str] = {}
    for key, owners in by_key.items():
        attackers = [guest for guest in holders if key in sharing.keys_of(guest.host)]
        hit = _with_another_elsewhere(owners, attackers)
        if hit:
            met[key] = sharing.proof(key)
            reached.update(hit)
            reaching.update(_with_another_elsewhere(attackers, hit))
    if met:
        yield _group(SHARED, "E2", "", level, list(reaching), list(reached), met)


def _with_another_elsewhere(guests: list[Placed], others: list[Placed]) -> list[Placed]:
    """Those of the guests for which there is another guest, on another host, among the others."""
    on: dict[str, set[str]] = defaultdict(set)
    for other in others:
        on[other.host].add(other.uuid)
    return [
        guest for guest in guests if any(host != guest.host and uuids != {guest.uuid} for host, uuids in on.items())
    ]


def _group(
    rule: f.Rule,
    reach: str,
    host: str,
    level: Level,
    reaching: list[Placed],
    reached: list[Placed],
    storage: t.Mapping[str, str],
) -> f.Finding:
    equal = _in_order({*reaching, *(guest for guest in reached if guest.level == level)})
    lower = _in_order({guest for guest in reached if guest.level != level})
    evidence: dict[str, t.Any] = {
        "decided_by": "algebra",
        "guests": [guest.told() for guest in equal],
        "hosts": sorted({guest.host for guest in (*equal, *lower)}),
        "level": str(level),
    }
    if lower:
        evidence["reaches"] = [guest.told() for guest in lower]
    if storage:
        evidence["storage"] = sorted(storage)
        evidence["shared_by"] = sorted(set(storage.values()))
    # Who is in the group is part of what the finding is: a waiver of today's pair must not cover tomorrow's third.
    members = sorted({guest.uuid for guest in (*equal, *lower)})
    return f.finding_of(rule, host, f.Hit(str(level), "\0".join([str(level), *members]), evidence), reach)


def _in_order(guests: t.Iterable[Placed]) -> list[Placed]:
    return sorted(guests, key=lambda guest: (guest.host, guest.name, guest.uuid))


def _by_chance(groups: list[list[Placed]], equal: int, expected: float) -> f.Finding:
    shown = sorted(groups, key=lambda group: str(group[0].level))[:MAX_EXAMPLES]
    evidence = {
        "equal_pairs": equal,
        "expected_pairs": round(expected, 2),
        "examples": [[guest.told() for guest in _in_order(group)[:MAX_EXAMPLES]] for group in shown],
    }
    return f.finding_of(CHANCE, "", f.Hit("fleet", "fleet", evidence), "E4")


def _expected(placed: t.Iterable[Placed]) -> float:
    """Equal pairs to expect on different hosts, when each host draws from all categories without repeating itself."""
    hosts = {guest.uuid: guest.host for guest in placed if len(guest.level.categories) == 2}
    apart = math.comb(len(hosts), 2) - sum(math.comb(count, 2) for count in Counter(hosts.values()).values())
    return apart / PAIRS


def _files(guest: Guest) -> tuple[tuple[str, str], ...] | None:
    """Where the guest's own files lie; None when that is not known of one of them."""
    own = [item for item in guest.resources if item.role == "image" and item.file.kind not in ("block", "char")]
    if guest.error or not guest.resources or any(item.file.mount is None for item in own if not item.in_namespace):
        return None
    return tuple((str(item.file.mount), file_path(item)) for item in own if item.file.mount is not None)
