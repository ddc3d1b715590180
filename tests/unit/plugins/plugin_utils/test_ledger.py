# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The ledger's operations, each through the database and back."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import static_labels as a
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_domains import parse_domains
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.labels_in_use import HostUse, label_use
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.operations import FleetRead, OperationResult
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage import host_storage
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.category_range import DaemonRange
from ansible_collections.svirt.fleet.plugins.plugin_utils import _ledger
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store

from tests.unit.support.errors import raised
from tests.unit.support.fleets import guest as seen
from tests.unit.support.fleets import host as snapshot
from tests.unit.support.fleets import nfs
from tests.unit.support.labels import BASE, guest, reasons, sets, use, uuid

FIRST = "s0:c32,c280,c528,c776"
DAY = 86400.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'fleet.db'}"


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


def fleet(*uses: HostUse, unread: t.Collection[str] = (), domain: t.Any = None, **parts: t.Any) -> FleetRead:
    """These hosts, in one domain named prod unless the test says otherwise."""
    hosts = sorted({*(one.host for one in uses), *unread})
    named = [{"name": "prod", "hosts": hosts, **(domain or {})}]
    reasons = dict.fromkeys(unread, "unreachable")
    return FleetRead(hosts, uses, unread=reasons, **{"named": parse_domains(named), **parts})


def auto(*uses: HostUse, hosts: t.Sequence[str] = (), storage: str = "nfs:filer:/vms") -> FleetRead:
    """These hosts, in a domain that nobody named: they share storage."""
    read = {one.host: snapshot(one.host, storage=[nfs("/vms", storage)]) for one in uses}
    mounts = [host_storage(name, one) for name, one in read.items()]
    return FleetRead(sorted({*read, *hosts}), uses, mounts)


def steps(result: OperationResult) -> list[tuple[str, str, str]]:
    return [(change.action, change.old, change.new) for change in result.changes]


def events(store: Store) -> list[tuple[t.Any, ...]]:
    with store.look() as transaction:
        return transaction.rows("SELECT action, subject, old, new FROM svirt_events ORDER BY number")


def test_a_label_from_its_reservation_to_its_release(store: Store) -> None:
    one = guest(1, "kvm1", running="c1,c2")
    made = _ledger.reserve(store, fleet(use("kvm1", one)), a.LabelRequest(), 1.0)
    assert steps(made) == [("reserve", "", FIRST)]
    assert made.hosts == {
        "kvm1": {
            "range": {"low": 0, "high": 31},
            "guests": [{"guest": uuid(1), "type": "static", "label": f"{BASE}:c32,c280,c528,c776"}],
        }
    }
    assert reasons(made.pending) == [("guest1", "runs_with_other_label")]
    assert (made.before["reserved"], made.after["reserved"]) == (0, 1)
    assert made.domains == [
        {"name": "prod", "strategy": "static", "hosts": ["kvm1"], "guests": 1, "capacity": 248**4, "used": 1}
    ]

    assert steps(_ledger.publish(store, set(), {"guest1"}, 2.0)) == [("publish", "reserved", "published")]
    written = guest(1, "kvm1", "c32,c280,c528,c776", "c1,c2")
    assert steps(_ledger.observe(store, fleet(use("kvm1", written)), 30, 3.0)) == []
    cycled = guest(1, "kvm1", "c32,c280,c528,c776", "c32,c280,c528,c776")
    assert steps(_ledger.observe(store, fleet(use("kvm1", cycled)), 30, 4.0)) == [("observe", "published", "observed")]
    assert _ledger.reserve(store, fleet(use("kvm1", cycled)), a.LabelRequest(), 5.0).hosts["kvm1"]["guests"] == []

    gone = fleet(use("kvm1"))
    assert steps(_ledger.observe(store, gone, 30, 6.0)) == [("quarantine", "observed", "quarantined")]
    assert steps(_ledger.observe(store, gone, 30, 29 * DAY)) == []
    assert steps(_ledger.observe(store, gone, 30, 31 * DAY)) == [("release", "quarantined", "released")]
    assert [entry[0] for entry in events(store)] == ["tenant", "reserve", "publish", "observe", "quarantine", "release"]


def test_a_second_run_changes_nothing(store: Store) -> None:
    read = fleet(use("kvm1", guest(1), guest(2)))
    first = _ledger.reserve(store, read, a.LabelRequest(), 1.0)
    again = _ledger.reserve(store, read, a.LabelRequest(), 2.0)
    assert (again.changes, again.hosts) == ([], first.hosts)
    assert len(events(store)) == 3


def test_a_check_predicts_the_same_and_writes_nothing(store: Store) -> None:
    read = fleet(use("kvm1", guest(1), guest(2)))
    foretold = _ledger.reserve(store, read, a.LabelRequest(), 1.0, check=True)
    assert not store.exists
    done = _ledger.reserve(store, read, a.LabelRequest(), 1.0)
    assert (foretold.changes, foretold.hosts, foretold.after) == (done.changes, done.hosts, done.after)
    more = fleet(use("kvm1", guest(1), guest(2), guest(3)))
    assert len(_ledger.reserve(store, more, a.LabelRequest(), 2.0, check=True).changes) == 1
    assert _ledger.release(store, set(), {uuid(1)}, 30, 2.0, check=True).after["quarantined"] == 1
    assert len(events(store)) == 3


def test_a_host_that_does_not_answer_keeps_its_labels(store: Store) -> None:
    both = fleet(use("kvm1", guest(1)), use("kvm2", guest(2, "kvm2"), strangers=sets("c32,c280,c528,c778")))
    _ledger.reserve(store, both, a.LabelRequest(), 1.0)
    alone = fleet(use("kvm1", guest(1), guest(3)), unread=["kvm2"])
    observed = _ledger.observe(store, alone, 30, 2.0)
    assert observed.changes == []
    assert ("guest2", "hosts_unread") in reasons(observed.pending)
    made = _ledger.reserve(store, alone, a.LabelRequest(), 3.0)
    assert steps(made) == [("reserve", "", "s0:c32,c280,c528,c779")]
    assert "kvm2" not in made.hosts


def test_a_host_that_was_never_read_stops_new_labels_in_its_domain(store: Store) -> None:
    read = fleet(use("kvm1", guest(1)), unread=["kvm2"])
    made = _ledger.reserve(store, read, a.LabelRequest(), 1.0)
    assert made.changes == []
    assert reasons(made.refused) == [("prod", "hosts_never_read")]
    assert made.hosts["kvm1"]["guests"] == []
    assert len(_ledger.reserve(store, read, a.LabelRequest(allow_unread=True), 1.0).changes) == 1


def test_a_host_that_was_read_in_part_counts_as_unread(store: Store) -> None:
    partly = fleet(use("kvm1", guest(1), doubts=("containers: not root",)))
    assert _ledger.reserve(store, partly, a.LabelRequest(), 1.0).changes == []
    whole = fleet(use("kvm1", guest(1)))
    assert len(_ledger.reserve(store, whole, a.LabelRequest(), 1.0).changes) == 1
    assert _ledger.observe(store, fleet(use("kvm1", doubts=("guests: libvirt is down",))), 30, 2.0).changes == []


def test_a_host_that_is_read_in_part_does_not_blot_out_what_is_remembered_of_it(store: Store) -> None:
    whole = fleet(use("kvm1", guest(1)), use("kvm2", strangers=sets("c32,c280,c528,c776")))
    assert steps(_ledger.reserve(store, whole, a.LabelRequest(), 1.0)) == [("reserve", "", "s0:c32,c280,c528,c777")]
    _ledger.reserve(store, fleet(use("kvm1", guest(1)), use("kvm2", doubts=("not root",))), a.LabelRequest(), 2.0)
    later = fleet(use("kvm1", guest(1), guest(2)), unread=["kvm2"])
    assert steps(_ledger.reserve(store, later, a.LabelRequest(), 3.0)) == [("reserve", "", "s0:c32,c280,c528,c778")]


def test_a_stranger_stops_only_domains_that_nobody_named(store: Store) -> None:
    made = _ledger.reserve(store, auto(use("kvm1", guest(1)), hosts=["kvm9"]), a.LabelRequest(), 1.0)
    assert made.changes == []
    assert reasons(made.refused) == [("auto-kvm1", "hosts_never_read")]
    named = fleet(use("kvm1", guest(1)))
    stranger = replace(named, hosts=["kvm1", "kvm9"])
    assert len(_ledger.reserve(store, stranger, a.LabelRequest(), 1.0).changes) == 1


def test_a_domain_of_unread_hosts_is_remembered(store: Store) -> None:
    _ledger.reserve(store, auto(use("kvm1", guest(1)), use("kvm2", guest(2, "kvm2"))), a.LabelRequest(), 1.0)
    one = auto(use("kvm1", guest(1)), hosts=["kvm2"])
    assert _ledger.observe(store, one, 30, 2.0).changes == []
    made = _ledger.reserve(store, one, a.LabelRequest(), 2.0)
    assert (made.changes, made.refused) == ([], [])
    assert made.domains[0]["hosts"] == ["kvm1", "kvm2"]
    none = _ledger.observe(store, FleetRead(["kvm1", "kvm2"]), 30, 3.0)
    assert none.changes == []
    assert len(none.pending) == 2


def test_a_host_that_joins_gives_an_unnamed_domain_its_name_and_rows_go_along(store: Store) -> None:
    _ledger.reserve(store, auto(use("kvm1", guest(1))), a.LabelRequest(), 1.0)
    made = _ledger.reserve(store, auto(use("kvm1", guest(1)), use("kvm0", guest(2, "kvm0"))), a.LabelRequest(), 2.0)
    assert steps(made) == [("move", "auto-kvm1", "auto-kvm0"), ("reserve", "", "s0:c32,c280,c528,c777")]
    rows = _ledger.listing(store).labels
    assert {(row.domain, row.level) for row in rows} == {("auto-kvm0", FIRST), ("auto-kvm0", "s0:c32,c280,c528,c777")}
    assert made.after["reserved"] == 2


def test_a_domain_with_a_new_name_keeps_its_unread_hosts_and_what_the_ledger_knows(store: Store) -> None:
    _ledger.reserve(store, auto(use("kvm1", guest(1)), use("kvm2", guest(2, "kvm2"))), a.LabelRequest(), 1.0)
    labelled = guest(3, "kvm0", defined="c32,c280,c528,c999")
    renamed = auto(use("kvm1", guest(1)), use("kvm0", labelled), hosts=["kvm2"])
    made = _ledger.reserve(store, renamed, a.LabelRequest(), 2.0)
    assert [one["hosts"] for one in made.domains] == [["kvm0", "kvm1", "kvm2"]]
    assert sorted(action for action, _old, _new in steps(made)) == ["adopt", "move"]
    assert made.unknown == [], "it was not lost"


def test_a_host_that_is_gone_for_good_is_released(store: Store) -> None:
    read = fleet(use("kvm1", guest(1)), use("kvm2", guest(2, "kvm2")))
    _ledger.reserve(store, read, a.LabelRequest(), 1.0)
    gone = _ledger.release(store, {"kvm2"}, set(), 30, 2.0)
    assert steps(gone) == [("quarantine", "reserved", "quarantined"), ("forget", "prod", "")]
    assert _ledger.release(store, set(), {"nobody"}, 30, 2.0).refused[0].subject == "nobody"
    assert steps(_ledger.release(store, set(), {uuid(1)}, 0, 3.0)) == [("release", "reserved", "released")]


def test_ranges_are_each_hosts_own_and_reported_when_they_run_out(store: Store) -> None:
    domain = {"strategy": "range", "range_width": 512}
    hosts = [use(f"kvm{number}", guest(number, f"kvm{number}", running="c600,c700")) for number in range(1, 4)]
    made = _ledger.reserve(store, fleet(*hosts, domain=domain), a.LabelRequest(), 1.0)
    assert steps(made) == [("range", "", "c0.c511"), ("range", "", "c512.c1023")]
    assert [made.hosts[f"kvm{number}"]["range"] for number in range(1, 4)] == [
        {"low": 0, "high": 511},
        {"low": 512, "high": 1023},
        None,
    ]
    assert all(one["guests"] == [] for one in made.hosts.values())
    assert reasons(made.refused) == [("prod", "no_range_left")]
    assert reasons(made.pending) == [("guest1", "pair_outside_range")]
    assert made.domains[0]["used"] == made.domains[0]["capacity"] == 2
    _ledger.release(store, {"kvm1"}, set(), 30, 2.0)
    again = _ledger.reserve(store, fleet(*hosts[1:], domain=domain), a.LabelRequest(), 3.0)
    assert steps(again) == [("range", "", "c0.c511")]


def test_the_strategy_none_does_nothing(store: Store) -> None:
    made = _ledger.reserve(store, fleet(use("kvm1", guest(1)), domain={"strategy": "none"}), a.LabelRequest(), 1.0)
    assert (made.changes, made.hosts) == ([], {"kvm1": {"range": None, "guests": []}})


def test_other_bands_under_one_name_are_refused(store: Store) -> None:
    _ledger.reserve(store, fleet(use("kvm1", guest(1))), a.LabelRequest(), 1.0)
    other = {"bands": [[40, 240], [280, 248], [528, 248], [776, 248]]}
    made = _ledger.reserve(store, fleet(use("kvm1", guest(1), guest(2)), domain=other), a.LabelRequest(), 2.0)
    assert (made.changes, made.hosts["kvm1"]["guests"]) == ([], [])
    assert reasons(made.refused) == [("prod", "bands_changed")]


def test_other_bands_are_taken_when_no_label_of_the_old_is_left(store: Store) -> None:
    _ledger.reserve(store, fleet(use("kvm1", guest(1))), a.LabelRequest(), 1.0)
    _ledger.release(store, set(), {uuid(1)}, 0, 2.0)
    other = {"bands": [[40, 240], [280, 248], [528, 248], [776, 248]]}
    made = _ledger.reserve(store, fleet(use("kvm1", guest(2)), domain=other), a.LabelRequest(), 3.0)
    assert steps(made) == [("reserve", "", "s0:c40,c280,c528,c776")]


def test_a_name_that_nobody_has_is_refused(store: Store) -> None:
    made = _ledger.reserve(store, fleet(use("kvm1", guest(1))), a.LabelRequest(guests={"guset1"}), 1.0)
    assert (made.changes, [note.subject for note in made.refused]) == ([], ["guset1"])


def test_the_list_has_labels_and_tenants(store: Store) -> None:
    request = a.LabelRequest({"guest2": "acme"})
    _ledger.reserve(store, fleet(use("kvm1", guest(1), guest(2))), request, 1.0)
    listed = _ledger.listing(store)
    assert [(row.name, row.tenant) for row in listed.labels] == [("guest1", "default"), ("guest2", "acme")]
    assert listed.tenants == [
        {"domain": "prod", "tenant": "acme", "shared": "s0:c32,c280"},
        {"domain": "prod", "tenant": "default", "shared": "s0:c32,c281"},
    ]


def test_a_lost_ledger_is_rebuilt_and_says_what_it_could_not_know(store: Store) -> None:
    label = "c32,c280,c530,c780"
    read = fleet(
        use("kvm1", guest(1, "kvm1", label, label), guest(2, "kvm1", "c32,c280,c531,c781")),
        use("kvm2", guest(3, "kvm2", "c33,c280,c528,c776"), guest(4, "kvm2", "c33,c280,c528,c776")),
        unread=["kvm3"],
    )
    with raised("store_missing"):
        _ledger.repair(store, read, a.LabelRequest(), 1.0)
    assert len(_ledger.repair(store, read, a.LabelRequest(), 1.0, settle=True, check=True).changes) == 2
    made = _ledger.repair(store, read, a.LabelRequest(), 1.0, settle=True)
    assert [(change.action, change.new) for change in made.changes] == [
        ("rebuild", f"s0:{label}"),
        ("rebuild", "s0:c32,c280,c531,c781"),
    ]
    assert [text.partition(":")[0] for text in made.unknown] == ["tenants", "quarantine", "unread hosts"]
    assert "s0:c33,c280,c528,c776" in [note.subject for note in made.refused]
    again = _ledger.repair(store, read, a.LabelRequest(), 2.0, settle=True)
    assert (again.changes, again.unknown) == ([], [])


def test_ranges_are_rebuilt_from_what_daemons_draw_from(store: Store) -> None:
    hosts = [use("kvm1", range=DaemonRange(64, 127)), use("kvm2", range=DaemonRange(64, 127)), use("kvm3")]
    hosts.append(use("kvm4", range=DaemonRange(0, 1023)))
    made = _ledger.repair(store, fleet(*hosts, domain={"strategy": "range"}), a.LabelRequest(), 1.0, settle=True)
    assert steps(made) == [("rebuild", "", "c64.c127")]
    assert [note.subject for note in made.refused] == ["kvm2"]
    drifted = [use("kvm1", range=DaemonRange(0, 1023))]
    told = _ledger.repair(store, fleet(*drifted, domain={"strategy": "range"}), a.LabelRequest(), 2.0)
    assert [note.subject for note in told.refused] == ["kvm1"]


def test_repair_only_reports_unless_it_may_settle(store: Store) -> None:
    _ledger.reserve(store, fleet(use("kvm1", guest(1))), a.LabelRequest(), 1.0)
    read = fleet(use("kvm1", guest(1, defined="c32,c280,c528,c999"), guest(2, defined="c32,c280,c528,c998")))
    made = _ledger.repair(store, read, a.LabelRequest(), 2.0)
    assert (made.changes, made.before, made.after) == ([], made.after, made.before)
    assert [note.subject for note in made.refused] == [f"guest1 ({uuid(1)})"]
    assert [note.subject for note in made.pending] == [f"guest2 ({uuid(2)})"]
    assert len(events(store)) == 2


def test_a_ledger_that_knew_nothing_says_so_when_guests_keep_labels(store: Store) -> None:
    read = fleet(use("kvm1", guest(1, defined="c32,c280,c528,c999")))
    assert "if it was lost" in _ledger.reserve(store, read, a.LabelRequest(), 1.0).unknown[0]
    assert _ledger.reserve(store, read, a.LabelRequest(), 2.0).unknown == []


def test_rows_for_the_analysis_leave_out_what_was_released(url: str, store: Store) -> None:
    with raised("store_missing"):
        _ledger.ledger_rows(url)
    _ledger.reserve(store, fleet(use("kvm1", guest(1), guest(2), guest(3))), a.LabelRequest(), 1.0)
    _ledger.release(store, set(), {uuid(1)}, 0, 2.0)
    _ledger.release(store, set(), {uuid(2)}, 30, 2.0)
    assert sorted((row.uuid, row.state) for row in _ledger.ledger_rows(url)) == [
        (uuid(2), "quarantined"),
        (uuid(3), "reserved"),
    ]


def test_a_damaged_memory_is_an_error(store: Store) -> None:
    both = fleet(use("kvm1", guest(1)), use("kvm2"))
    _ledger.reserve(store, both, a.LabelRequest(), 1.0)
    with store.write() as transaction:
        transaction.run("UPDATE svirt_hosts SET sets = :sets", [{"sets": b"\x00"}])
    with raised("row_damaged", "svirt_hosts", "kvm2"):
        _ledger.reserve(store, fleet(use("kvm1"), unread=["kvm2"]), a.LabelRequest(), 2.0)


def test_names_that_no_database_takes_are_written_as_escapes(store: Store) -> None:
    strange = seen(uuid(1), "s0:c1,c2", name="a\udcff\0b" + "x" * 999)
    read = label_use("kvm1", snapshot("kvm1", [strange]))
    _ledger.reserve(store, fleet(read), a.LabelRequest(), 1.0)
    assert _ledger.listing(store).labels[0].name.startswith("a\\udcff\\0bxxx")
