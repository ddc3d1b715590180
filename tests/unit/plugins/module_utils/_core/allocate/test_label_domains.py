# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import label_domains as d
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_code import Band, Code
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import LabelDomainError
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage import HostStorage, host_storage
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.fleets import host, nfs

PROD = {"name": "prod", "hosts": ["kvm2", "kvm1"]}


def stored(name: str, *mounts: str, storage: t.Sequence[s.Storage] = ()) -> HostStorage:
    """A host that mounts these exports of a filer."""
    result = [nfs(f"/mnt/{export}", f"nfs:filer:/{export}") for export in mounts]
    return host_storage(name, host(name, storage=[*result, *storage]))


def told(domains: t.Iterable[d.LabelDomain]) -> list[tuple[str, tuple[str, ...]]]:
    return [(domain.name, domain.hosts) for domain in domains]


# -- what the operator writes ----------------------------------------------------------------------------------------


def test_name_and_hosts_are_enough() -> None:
    assert d.parse_domains([PROD]) == [d.NamedDomain("prod", ("kvm1", "kvm2"), "static", 64, True, Code())]
    assert d.parse_domains([PROD], "range")[0].strategy == "range"
    assert d.parse_domains([]) == []


def test_every_field_counts() -> None:
    whole = {
        **PROD,
        "strategy": "none",
        "range_width": 8,
        "migration": False,
        "bands": [[16, 10], [26, 10], [36, 10], [46, 10]],
        "dynamic": [0, 16],
    }
    code = Code((Band(16, 10), Band(26, 10), Band(36, 10), Band(46, 10)), Band(0, 16))
    assert d.parse_domains([whole]) == [d.NamedDomain("prod", ("kvm1", "kvm2"), "none", 8, False, code)]


def test_what_is_null_is_not_given() -> None:
    nothing = dict.fromkeys(("strategy", "range_width", "migration", "bands", "dynamic"))
    assert d.parse_domains([{**nothing, **PROD}]) == d.parse_domains([PROD])


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"name": "prod"}, "domains: expected a list of at most 10000 domains, found dict"),
        ([7], "domains[0]: expected a domain with name and hosts, found int 7"),
        ([{"hosts": ["kvm1"]}], "domains[0]: name is None; give at most 64 letters"),
        ([{"name": "a b", "hosts": ["kvm1"]}], "domains[0]: name is 'a b'"),
        ([{"name": "auto-kvm1", "hosts": ["kvm1"]}], "not starting with auto-"),
        ([{**PROD, "width": 3}], "domains[0] prod: unknown field 'width'; known are name, hosts"),
        ([{"name": "prod"}], "domains[0] prod: hosts is None; give a list of names in the inventory"),
        ([{"name": "prod", "hosts": "kvm1"}], "domains[0] prod: hosts is 'kvm1'"),
        ([{"name": "prod", "hosts": []}], "domains[0] prod: hosts is []"),
        ([{"name": "prod", "hosts": ["kvm1", 2]}], "domains[0] prod: hosts is ['kvm1', 2]"),
        ([{"name": "prod", "hosts": ["kvm1", "kvm1"]}], "domains[0] prod: host kvm1 is named twice; name it once"),
        ([{**PROD, "strategy": "dynamic"}], "prod: strategy is 'dynamic'; choose one of static, range, none"),
        ([{**PROD, "strategy": ["static"]}], "prod: strategy is ['static']"),
        ([{**PROD, "range_width": 7}], "prod: range_width is 7; give 8 to 1024 categories"),
        ([{**PROD, "range_width": 1025}], "prod: range_width is 1025"),
        ([{**PROD, "range_width": True}], "prod: range_width is True"),
        ([{**PROD, "migration": "yes"}], "prod: migration is 'yes'; give true or false"),
        ([{**PROD, "bands": [[32, 248]]}], "prod: bands is [[32, 248]]; give four bands, each as [first, size]"),
        ([{**PROD, "bands": [[32, 8], [40, 8], [48, 8], 5]}], "prod: bands[3] is 5; give it as [first, size]"),
        ([{**PROD, "dynamic": [0]}], "prod: dynamic is [0]; give it as [first, size]"),
        ([{**PROD, "dynamic": [0, 40]}], "domains[0] prod: "),
        ([PROD, PROD], "two domains have the name prod"),
        ([PROD, {"name": "test", "hosts": ["kvm1"]}], "host kvm1 is in the domains prod and test; a host is in one"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(items: t.Any, message: str) -> None:
    with pytest.raises(LabelDomainError, match=re.escape(message)):
        d.parse_domains(items)


def test_a_wrong_default_strategy_is_refused() -> None:
    with pytest.raises(LabelDomainError, match="strategy is 'both'; choose one of"):
        d.parse_domains([], "both")
    with pytest.raises(LabelDomainError, match="strategy is 'both'; choose one of"):
        d.derive([], [], "both")


def test_a_host_that_the_inventory_lacks_is_refused_unless_nobody_can_know() -> None:
    with pytest.raises(LabelDomainError, match=r"domains\[0\] prod: the inventory has no host kvm2; correct the name"):
        d.parse_domains([PROD], hosts=["kvm1"])
    assert d.parse_domains([PROD], hosts=["kvm1", "kvm2", "kvm3"]) == d.parse_domains([PROD])


# -- what the storage says -------------------------------------------------------------------------------------------


def test_hosts_that_share_labelled_storage_are_one_domain_however_long_the_chain() -> None:
    storage = [stored("kvm4"), stored("kvm3", "b"), stored("kvm2", "a", "b"), stored("kvm1", "a")]
    domains = d.derive(storage, [], "range")
    assert told(domains) == [("auto-kvm1", ("kvm1", "kvm2", "kvm3")), ("auto-kvm4", ("kvm4",))]
    assert {(domain.strategy, domain.pool) for domain in domains} == {("range", False)}


def test_storage_without_labels_joins_nobody() -> None:
    plain = nfs("/plain", "nfs:filer:/plain", labelled=False)
    storage = [stored("kvm1", storage=[plain]), stored("kvm2", storage=[plain])]
    assert told(d.derive(storage)) == [("auto-kvm1", ("kvm1",)), ("auto-kvm2", ("kvm2",))]


def test_a_named_domain_wins_and_holds_hosts_that_were_not_read() -> None:
    named = d.parse_domains([{"name": "pool", "hosts": ["kvm1", "kvm9"], "strategy": "range", "range_width": 16}])
    domains = d.derive([stored("kvm1"), stored("kvm2")], named)
    assert told(domains) == [("auto-kvm2", ("kvm2",)), ("pool", ("kvm1", "kvm9"))]
    pool = d.by_host(domains)["kvm9"]
    assert (pool.strategy, pool.pool, pool.range_width) == ("range", True, 16)


def test_a_domain_without_migration_is_no_pool() -> None:
    named = d.parse_domains([{**PROD, "migration": False}])
    assert [domain.pool for domain in d.derive([stored("kvm1")], named)] == [False]


@pytest.mark.parametrize(
    "named",
    [
        [{"name": "one", "hosts": ["kvm1"]}, {"name": "two", "hosts": ["kvm2"]}],
        [{"name": "one", "hosts": ["kvm1"]}],
        [{"name": "two", "hosts": ["kvm2"]}],
    ],
)
def test_nothing_is_given_out_where_a_named_domain_parts_hosts_whose_labels_meet(named: t.Any) -> None:
    domains = d.derive([stored("kvm1", "a"), stored("kvm2", "a"), stored("kvm3")], d.parse_domains(named))
    refused = {domain.name for domain in domains if domain.refusal is not None}
    given = {entry["name"] for entry in named}
    assert refused == (
        given if len(given) == 2 else {domain.name for domain in domains if "auto" in domain.name} - {"auto-kvm3"}
    )
    (reason,) = {domain.refusal for domain in domains if domain.refusal is not None}
    assert reason.code == "storage_shared"
    assert "kvm1" in reason.text
    assert "kvm2" in reason.text
    beside = {host: domain.beside for domain in domains for host in domain.hosts}
    assert beside == {"kvm1": ("kvm2",), "kvm2": ("kvm1",), "kvm3": ()}


def test_the_exporter_belongs_to_its_clients() -> None:
    root = s.Storage("/", "ext4", "/dev/vda1", True, exports=["/srv/a"], labelled_exports=["/srv/a"])
    client = stored("kvm2", storage=[nfs("/mnt", "nfs:kvm1:/srv/a")])
    assert told(d.derive([stored("kvm1", storage=[root]), client])) == [("auto-kvm1", ("kvm1", "kvm2"))]


# -- against brute force ---------------------------------------------------------------------------------------------

MOUNTS = st.dictionaries(
    st.sampled_from([f"kvm{number}" for number in range(8)]), st.sets(st.sampled_from("abcdef"), max_size=3)
)


@given(MOUNTS)
def test_domains_are_the_connected_parts(mounts: dict[str, set[str]]) -> None:
    domains = d.derive([stored(name, *exports) for name, exports in mounts.items()])
    domain = d.by_host(domains)
    assert sorted(host for one in domains for host in one.hosts) == sorted(mounts)
    connected = {name: {name} for name in mounts}
    for _round in mounts:
        for one, exports in mounts.items():
            for other, theirs in mounts.items():
                if exports & theirs:
                    connected[one] |= connected[other]
    assert {name: set(domain[name].hosts) for name in mounts} == connected


@given(MOUNTS, st.dictionaries(st.sampled_from([f"kvm{number}" for number in range(8)]), st.sampled_from("xy")))
def test_a_derivation_keeps_named_domains_whole_or_refuses(mounts: dict[str, set[str]], owner: dict[str, str]) -> None:
    items = [
        {"name": name, "hosts": [host for host, its in owner.items() if its == name]}
        for name in sorted(set(owner.values()))
    ]
    storage = [stored(name, *exports) for name, exports in mounts.items()]
    parted = [
        (one, other)
        for one in mounts
        for other in mounts
        if mounts[one] & mounts[other] and owner.get(one) != owner.get(other)
    ]
    domains = d.derive(storage, d.parse_domains(items))
    domain = d.by_host(domains)
    assert {host: domain[host].name for host in owner} == owner
    assert all(domain[host].name.startswith(d.AUTO) for host in mounts if host not in owner)
    for one, other in parted:
        assert domain[one].refusal is not None or domain[other].refusal is not None
        assert other in domain[one].beside
    if not parted:
        assert all(entry.refusal is None for entry in domains)
