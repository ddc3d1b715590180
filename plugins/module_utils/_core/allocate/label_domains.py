# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label domains: the hosts within which no two guests may have labels that reach one another.

Labels of two hosts meet where both write them on the same storage, and where guests migrate between them. So a domain
is a connected part of the fleet by labelled storage that is shared, or of which that is open (facts/sharing.py), or
what the operator named. Nothing is given out in a named domain that shares storage with another one, nor on hosts
outside of it that share storage with it: nobody would keep their labels apart.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from collections import defaultdict
from dataclasses import dataclass, replace

from ..errors import CodeError, LabelDomainError
from ..facts.connected import DisjointSets
from ..facts.sharing import OpenPair, Sharing
from ..facts.storage import HostStorage
from ..facts.storage_statements import NOTHING, StorageStatements
from ..libvirt.category_range import MIN_CATEGORIES
from ..result import Reason
from ..selinux.context import MAX_CATEGORY
from .label_code import Band, Code

STATIC = "static"
RANGE = "range"
NONE = "none"
STRATEGIES = (STATIC, RANGE, NONE)

#: Categories of a host's slot in a domain of strategy range, where the operator does not say.
RANGE_WIDTH = 64
#: Prefix of the names of derived domains; the name of their first host follows.
AUTO = "auto-"
FIELDS = ("name", "hosts", "strategy", "range_width", "migration", "bands", "dynamic")

_CODE = Code()
#: More are no domains that a person wrote.
_MAX_DOMAINS = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True)
class NamedDomain:
    """A domain as the operator named it."""

    name: str
    #: Names in the inventory, sorted.
    hosts: tuple[str, ...]
    strategy: str = STATIC
    #: Categories of each host's slot, where the strategy is range.
    range_width: int = RANGE_WIDTH
    #: Guests migrate between these hosts.
    migration: bool = True
    code: Code = _CODE


@dataclass(frozen=True)
class LabelDomain:
    """Hosts whose guests' labels are kept apart from one another."""

    #: As the operator named it, or ``auto-`` and its first host.
    name: str
    #: Names in the inventory, sorted.
    hosts: tuple[str, ...]
    strategy: str
    #: Guests migrate between these hosts, as the operator says; not only shared storage.
    pool: bool
    code: Code = _CODE
    range_width: int = RANGE_WIDTH
    #: Why no label may be allocated here; None: labels may.
    refusal: Reason | None = None
    #: Hosts outside whose labels meet those of the domain: a new label keeps clear of theirs.
    beside: tuple[str, ...] = ()
    #: Example of storage that joins hosts here although it is unknown whether it is shared; empty: there is none.
    joined_by: str = ""


def parse_domains(items: t.Any, strategy: str = STATIC, hosts: t.Collection[str] | None = None) -> list[NamedDomain]:
    """Parse the operator's domains; sorted by name. Raises LabelDomainError for the first that is wrong.

    ``strategy`` is that of entries without one. ``hosts`` are all hosts of the inventory: others are refused. None
    accepts any, where only a part of the inventory is known.
    """
    _known_strategy(strategy, "strategy")
    if not isinstance(items, (list, tuple)) or len(items) > _MAX_DOMAINS:
        kind = f"{len(items)} entries" if isinstance(items, (list, tuple)) else _kind(items)
        raise LabelDomainError(f"domains: expected a list of at most {_MAX_DOMAINS} domains, found {kind}")
    named = [_parse_domain(f"domains[{index}]", item, strategy) for index, item in enumerate(items)]
    _require_disjoint(named)
    for index, domain in enumerate(named):
        unknown = [host for host in domain.hosts if hosts is not None and host not in hosts]
        if unknown:
            raise LabelDomainError(
                f"domains[{index}] {domain.name}: the inventory has no host {_some(unknown)}; correct the name, or "
                "take it out when the host is gone"
            )
    return sorted(named, key=lambda domain: domain.name)


def derive(
    storage: t.Sequence[HostStorage],
    named: t.Sequence[NamedDomain] = (),
    strategy: str = STATIC,
    statements: StorageStatements = NOTHING,
) -> list[LabelDomain]:
    """All domains of the hosts with this storage, sorted by name; each host is in exactly one.

    Hosts of a named domain that were not read belong to it all the same. Raises StorageStatementError where a proof
    contradicts a statement about storage.
    """
    _known_strategy(strategy, "strategy")
    _require_disjoint(named)
    sharing = Sharing(storage, statements)
    owner = {host: item.name for item in named for host in item.hosts}
    shared = sharing.shared_groups()
    free = [entry.host for entry in storage if entry.host not in owner]
    parts = DisjointSets([host for host in group if host not in owner] for group in (*shared, *sharing.open_groups()))
    surely = DisjointSets([host for host in group if host not in owner] for group in shared)
    domains = [
        LabelDomain(item.name, item.hosts, item.strategy, item.migration, item.code, item.range_width) for item in named
    ]
    for hosts in parts.groups(free):
        joined = len({surely.find(host) for host in hosts}) > 1
        example = str(_example(sharing, hosts, surely) or "") if joined else ""
        domains.append(LabelDomain(AUTO + hosts[0], hosts, strategy, pool=False, joined_by=example))
    return sorted(_with_conflicts(domains, sharing, owner) if named else domains, key=lambda domain: domain.name)


def _example(sharing: Sharing, hosts: t.Sequence[str], surely: DisjointSets[str]) -> OpenPair | None:
    """Storage of two hosts that are joined only because it is unknown whether it is shared."""
    for host in hosts:
        sharers = {peer for peer in hosts if surely.find(peer) == surely.find(host)}
        example = sharing.open_pair(host, sharing.places_of(host), besides=sharers)
        if example is not None:
            return example
    return None


def _with_conflicts(
    domains: t.Iterable[LabelDomain], sharing: Sharing, owner: t.Mapping[str, str]
) -> list[LabelDomain]:
    """The domains, each with its conflicts with other domains that have its storage."""
    domains = list(domains)
    sides = [_DomainStorage.of(domain, sharing) for domain in domains]
    named = {place for place, domain in enumerate(domains) if domain.name in set(owner.values())}
    refusals: dict[int, Reason] = {}
    beside: dict[int, set[str]] = defaultdict(set)
    for first in sorted(named):
        for second in range(len(domains)):
            if second == first or (second in named and second < first):
                continue
            why = _conflict(domains[first], domains[second], sides[first], sides[second], sharing)
            if why is None:
                continue
            refusals.setdefault(second, why)
            if second in named:
                refusals.setdefault(first, why)
            beside[first].update(domains[second].hosts)
            beside[second].update(domains[first].hosts)
    return [
        replace(domain, refusal=refusals.get(place), beside=tuple(sorted(beside[place])))
        for place, domain in enumerate(domains)
    ]


@dataclass(frozen=True)
class _DomainStorage:
    """Storage of a domain: its keys, and the numbers of its mounts and exports, each with a host that has it."""

    keys: dict[str, str]
    numbers: dict[int, str]

    @classmethod
    def of(cls, domain: LabelDomain, sharing: Sharing) -> _DomainStorage:
        keys: dict[str, str] = {}
        numbers: dict[int, str] = {}
        for host in domain.hosts:
            if sharing.knows(host):
                keys.update((key, host) for key in sharing.keys_of_files(host, None) | sharing.keys_of(host))
                numbers.update((number, host) for number in sharing.numbers_of(host))
        return cls(keys, numbers)


def _conflict(
    first: LabelDomain, second: LabelDomain, first_side: _DomainStorage, second_side: _DomainStorage, sharing: Sharing
) -> Reason | None:
    """Why the labels of two domains meet, if they do or may."""
    common = min(first_side.keys.keys() & second_side.keys.keys(), default=None)
    if common is not None:
        return Reason(
            "storage_shared",
            f"{first_side.keys[common]} of domain {first.name} and {second_side.keys[common]} of domain "
            f"{second.name} share the labelled storage {common} ({sharing.proof(common)}), where their guests' labels "
            "meet; name both hosts in one domain, or end the sharing",
        )
    for first_number, first_host in sorted(first_side.numbers.items()):
        for second_number, second_host in sorted(second_side.numbers.items()):
            if sharing.is_open(first_number, second_number):
                example = sharing.pair(first_host, first_number, second_host, second_number)
                return Reason(
                    "storage_open",
                    f"it is not known whether domain {first.name} shares storage with domain {second.name}, where "
                    f"their guests' labels would meet, such as {example}; name in svirt_storage which mounts are one "
                    "storage and which are not",
                )
    return None


def by_host(domains: t.Iterable[LabelDomain]) -> dict[str, LabelDomain]:
    """The domain of each host."""
    return {host: domain for domain in domains for host in domain.hosts}


def _require_disjoint(named: t.Sequence[NamedDomain]) -> None:
    """Refuse equal names, and a host in two domains."""
    names: set[str] = set()
    owner: dict[str, str] = {}
    for domain in named:
        if domain.name in names:
            raise LabelDomainError(f"two domains have the name {domain.name}; give each a name of its own")
        names.add(domain.name)
        for host in domain.hosts:
            if host in owner:
                raise LabelDomainError(
                    f"host {host} is in the domains {owner[host]} and {domain.name}; a host is in one domain, so take "
                    "it out of the other, or make one domain of both"
                )
            owner[host] = domain.name


def _parse_domain(location: str, item: t.Any, strategy: str) -> NamedDomain:
    if not isinstance(item, dict):
        raise LabelDomainError(f"{location}: expected a domain with name and hosts, found {_kind(item)}")
    name = item.get("name")
    if not isinstance(name, str) or not _NAME.match(name) or name.startswith(AUTO):
        raise LabelDomainError(
            f"{location}: name is {_shown(name)}; give at most 64 letters, digits, '.', '_' and '-', not starting with "
            f"{AUTO}, which is kept for domains that nobody named"
        )
    location = f"{location} {name}"
    unknown = sorted(str(field) for field in item if field not in FIELDS)
    if unknown:
        raise LabelDomainError(f"{location}: unknown field {_shown(unknown[0])}; known are {', '.join(FIELDS)}")
    values = {field: value for field, value in item.items() if value is not None}
    return NamedDomain(
        name,
        _hosts(location, values.get("hosts")),
        _known_strategy(values.get("strategy", strategy), f"{location}: strategy"),
        _width(location, values.get("range_width", RANGE_WIDTH)),
        _bool(location, values.get("migration", True)),
        _code(location, values),
    )


def _hosts(location: str, value: t.Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(host, str) and host for host in value):
        raise LabelDomainError(f"{location}: hosts is {_shown(value)}; give a list of names in the inventory")
    twice = sorted({host for host in value if value.count(host) > 1}) if len(set(value)) < len(value) else []
    if twice:
        raise LabelDomainError(f"{location}: host {_some(twice)} is named twice; name it once")
    return tuple(sorted(value))


def _known_strategy(value: t.Any, location: str) -> str:
    if value not in STRATEGIES:
        raise LabelDomainError(f"{location} is {_shown(value)}; choose one of {', '.join(STRATEGIES)}")
    return str(value)


def _width(location: str, value: t.Any) -> int:
    if not _is_number(value) or not MIN_CATEGORIES <= value <= MAX_CATEGORY + 1:
        raise LabelDomainError(
            f"{location}: range_width is {_shown(value)}; give {MIN_CATEGORIES} to {MAX_CATEGORY + 1} categories: "
            f"libvirt draws from no fewer than {MIN_CATEGORIES}"
        )
    return int(value)


def _bool(location: str, value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise LabelDomainError(f"{location}: migration is {_shown(value)}; give true or false")
    return value


def _code(location: str, values: t.Mapping[str, t.Any]) -> Code:
    bands = values.get("bands")
    if "bands" in values and (not isinstance(bands, (list, tuple)) or len(bands) != len(_CODE.bands)):
        raise LabelDomainError(f"{location}: bands is {_shown(bands)}; give four bands, each as [first, size]")
    try:
        first, second, third, fourth = [
            _band(f"{location}: bands[{index}]", band) for index, band in enumerate(bands or ())
        ] or _CODE.bands
        dynamic = _band(f"{location}: dynamic", values["dynamic"]) if "dynamic" in values else _CODE.dynamic
        return Code((first, second, third, fourth), dynamic)
    except CodeError as error:
        raise LabelDomainError(f"{location}: {error}") from error


def _band(location: str, value: t.Any) -> Band:
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(_is_number(number) for number in value):
        raise LabelDomainError(f"{location} is {_shown(value)}; give it as [first, size], such as [32, 248]")
    return Band(value[0], value[1])


def _is_number(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: t.Any) -> str:
    return f"{type(value).__name__} {_shown(value)}"


def _shown(value: t.Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _some(names: t.Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
