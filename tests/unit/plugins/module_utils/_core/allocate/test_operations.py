# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The ledger's operations on tables that are plain values: what they decide, and which rows they write."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import operations
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_code import Code
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_domains import parse_domains
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.labels_in_use import HostUse
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import (
    NO_RANK,
    OBSERVED,
    PUBLISHED,
    QUARANTINED,
    RELEASED,
    RESERVED,
    STATES,
    Row,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.operations import (
    FleetRead,
    HostMemory,
    LedgerEvent,
    LedgerState,
    LedgerUpdate,
    Operation,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ranges import Slot
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.static_labels import LabelRequest
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage import host_storage
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.category_range import DaemonRange

from tests.unit.support.fleets import host as snapshot
from tests.unit.support.fleets import nfs
from tests.unit.support.labels import guest, row, sets, use, uuid

CODE = Code()
CODE_JSON = json.dumps(CODE.as_dict(), sort_keys=True)
FIRST, SECOND = "s0:c32,c280,c528,c776", "s0:c32,c280,c528,c777"
DAY = 86400.0


def label(number: int, state: str = OBSERVED, rank: int = 0, **parts: t.Any) -> Row:
    return row(number, rank, state, CODE, **parts)


def tables(*rows: Row, **parts: t.Any) -> LedgerState:
    """The ledger of domain prod, with these rows and its default tenant."""
    values: dict[str, t.Any] = {
        "tenants": {("prod", "default"): 0},
        "codes": {"prod": CODE_JSON},
        "domain_of": {"kvm1": "prod"},
        **parts,
    }
    return LedgerState(rows, **values)


def fleet(*uses: HostUse, unread: t.Collection[str] = (), **domain: t.Any) -> FleetRead:
    """These hosts, in the domain prod."""
    hosts = sorted({*(host.host for host in uses), *unread})
    named = parse_domains([{"name": "prod", "hosts": hosts, **domain}])
    return FleetRead(hosts, uses, unread=dict.fromkeys(unread, "unreachable"), named=named)


def auto(*uses: HostUse, hosts: t.Sequence[str] = ()) -> FleetRead:
    """These hosts, which share storage, in no named domain."""
    storage = [host_storage(host.host, snapshot(host.host, storage=[nfs("/vms", "nfs:filer:/vms")])) for host in uses]
    return FleetRead(sorted({*(host.host for host in uses), *hosts}), uses, storage)


def steps(operation: Operation) -> list[tuple[str, str, str]]:
    return [(change.action, change.old, change.new) for change in operation.result.changes]


def refused(operation: Operation) -> list[str]:
    return [note.subject for note in operation.result.refused]


def test_reserve_writes_code_tenant_row_memory_and_events() -> None:
    read = use("kvm1", guest(1))
    result = operations.reserve(LedgerState(), fleet(read), LabelRequest())
    new = Row("prod", uuid(1), "guest1", "kvm1", "default", 0, FIRST, RESERVED)
    assert result.update == LedgerUpdate(
        codes={"prod": CODE_JSON},
        tenants={("prod", "default"): 0},
        rows=[new],
        memories=[HostMemory("prod", read)],
        events=[
            LedgerEvent("prod", "tenant default", "tenant", "", "0"),
            LedgerEvent("prod", uuid(1), "reserve", "", FIRST),
        ],
    )
    assert result.result.before == dict.fromkeys(STATES, 0)
    assert result.result.after == {**dict.fromkeys(STATES, 0), RESERVED: 1}
    assert [order["guest"] for order in result.result.hosts["kvm1"]["guests"]] == [uuid(1)]


def test_reserve_writes_only_memory_when_all_guests_have_rows() -> None:
    read = use("kvm1", guest(1))
    result = operations.reserve(tables(label(1)), fleet(read), LabelRequest())
    assert result.update == LedgerUpdate(memories=[HostMemory("prod", read)])


def test_reserve_avoids_labels_remembered_of_an_unread_host() -> None:
    asked: list[str] = []

    def recall(host: str) -> HostUse:
        asked.append(host)
        return use(host, strangers=sets("c32,c280,c528,c776"))

    state = tables(domain_of={"kvm1": "prod", "kvm2": "prod"}, recall=recall)
    result = operations.reserve(state, fleet(use("kvm1", guest(1)), unread=["kvm2"]), LabelRequest())
    assert steps(result) == [("reserve", "", SECOND)]
    assert asked == ["kvm2"], "hosts that were read are not recalled"


@pytest.mark.parametrize(
    "read",
    [
        fleet(use("kvm1", guest(1)), unread=["kvm2"]),
        fleet(use("kvm1", guest(1)), use("kvm2", doubts=("containers: not root",))),
        auto(use("kvm1", guest(1)), hosts=["kvm2"]),
    ],
    ids=["unread", "read in part", "unread and of no domain"],
)
def test_reserve_gives_nothing_out_beside_a_host_never_read(read: FleetRead) -> None:
    result = operations.reserve(tables(), read, LabelRequest())
    assert (result.update.rows, len(result.result.refused)) == ([], 1)
    assert steps(operations.reserve(tables(), read, LabelRequest(allow_unread=True))) == [("reserve", "", FIRST)]


def test_reserve_does_not_remember_a_host_that_was_read_in_part() -> None:
    result = operations.reserve(LedgerState(), fleet(use("kvm1", doubts=("guests: libvirt is down",))), LabelRequest())
    assert result.update.memories == []
    assert result.result.unread == {"kvm1": "guests: libvirt is down"}


def test_reserve_moves_rows_to_a_domain_with_a_new_name() -> None:
    old = label(1, domain="auto-kvm1")
    state = tables(old, tenants={("auto-kvm1", "default"): 0}, codes={"auto-kvm1": CODE_JSON})
    result = operations.reserve(state, auto(use("kvm1", guest(1)), use("kvm0")), LabelRequest())
    assert steps(result) == [("move", "auto-kvm1", "auto-kvm0")]
    assert (result.update.moved, [new.domain for new in result.update.rows]) == ([old], ["auto-kvm0"])
    assert sum(result.result.after.values()) == 1


def test_an_unread_host_stays_in_its_domain() -> None:
    state = tables(domain_of={"kvm1": "auto-kvm1", "kvm2": "auto-kvm1"}, recall=use)
    result = operations.reserve(state, auto(use("kvm1"), hosts=["kvm2"]), LabelRequest())
    assert [domain["hosts"] for domain in result.result.domains] == [["kvm1", "kvm2"]]


def test_reserve_refuses_a_second_code_while_labels_of_the_first_are_left() -> None:
    read = fleet(use("kvm1", guest(2)), bands=[[40, 240], [280, 248], [528, 248], [776, 248]])
    result = operations.reserve(tables(label(1)), read, LabelRequest())
    assert (refused(result), result.update.rows, result.update.codes) == (["prod"], [], {})
    released = label(1, RELEASED)
    gone = Row(**{**vars(released), "rank": NO_RANK})
    result = operations.reserve(tables(gone), read, LabelRequest())
    assert steps(result) == [("reserve", "", "s0:c40,c280,c528,c776")]
    assert list(result.update.codes) == ["prod"]


def test_reserve_refuses_a_guest_that_no_snapshot_has() -> None:
    result = operations.reserve(tables(), fleet(use("kvm1", guest(1))), LabelRequest(guests={"guset1"}))
    assert (refused(result), steps(result)) == (["guset1"], [])


def test_reserve_says_when_an_empty_ledger_meets_labels_of_its_code() -> None:
    read = fleet(use("kvm1", guest(1, defined="c32,c280,c528,c999")))
    assert "if it was lost" in operations.reserve(LedgerState(), read, LabelRequest()).result.unknown[0]
    assert operations.reserve(tables(label(2)), read, LabelRequest()).result.unknown == []


def test_reserve_allots_ranges_and_writes_them() -> None:
    read = fleet(use("kvm1"), use("kvm2"), use("kvm3"), strategy="range", range_width=512)
    result = operations.reserve(tables(slots=[Slot("prod", "kvm1", 0, 511)]), read, LabelRequest())
    assert result.update.slots == [Slot("prod", "kvm2", 512, 1023)]
    assert [result.result.hosts[host]["range"] for host in ("kvm1", "kvm3")] == [{"low": 0, "high": 511}, None]
    assert (result.result.domains[0]["used"], result.result.domains[0]["capacity"]) == (2, 2)


def test_the_strategy_none_writes_no_labels() -> None:
    result = operations.reserve(LedgerState(), fleet(use("kvm1", guest(1)), strategy="none"), LabelRequest())
    assert (steps(result), result.update.codes) == ([], {})
    assert result.result.hosts == {"kvm1": {"range": None, "guests": []}}


@pytest.mark.parametrize(
    ("hosts", "guests", "published"),
    [((), (), [1, 2]), (("kvm2",), (), [2]), ((), ("guest1",), [1]), (("kvm2",), (uuid(1),), [])],
)
def test_publish_takes_reserved_rows_of_guests_and_hosts(
    hosts: tuple[str, ...], guests: tuple[str, ...], published: list[int]
) -> None:
    state = tables(label(1, RESERVED), label(2, RESERVED, 1, host="kvm2"), label(3, QUARANTINED, 2))
    result = operations.publish(state, hosts, guests)
    assert [(new.uuid, new.state) for new in result.update.rows] == [(uuid(number), PUBLISHED) for number in published]
    assert operations.publish(state, (), ["nobody"]).result.refused[0].subject == "nobody"


def test_observe_quarantines_a_guest_that_is_gone_from_all_hosts() -> None:
    result = operations.observe(tables(label(1)), fleet(use("kvm1")), 30, DAY)
    assert [(new.state, new.until) for new in result.update.rows] == [(QUARANTINED, 31 * DAY)]
    unread = tables(label(1), domain_of={"kvm1": "prod", "kvm2": "prod"}, recall=use)
    result = operations.observe(unread, fleet(use("kvm1"), unread=["kvm2"]), 30, DAY)
    assert (result.update.rows, [note.subject for note in result.result.pending]) == ([], [f"guest1 ({uuid(1)})"])


def test_observe_says_which_daemon_draws_from_another_range() -> None:
    read = fleet(use("kvm1", range=DaemonRange(0, 1023)), strategy="range")
    result = operations.observe(tables(slots=[Slot("prod", "kvm1", 0, 63)]), read, 30, DAY)
    assert [note.subject for note in result.result.pending] == ["kvm1"]


def test_release_frees_a_host_and_quarantines_its_guests() -> None:
    state = tables(label(1), label(2, rank=1, host="kvm2"), slots=[Slot("prod", "kvm1", 0, 63)])
    result = operations.release(state, ["kvm1"], [], 30, 0.0)
    assert steps(result) == [("quarantine", OBSERVED, QUARANTINED), ("free", "c0.c63", ""), ("forget", "prod", "")]
    assert (result.update.forgotten, [new.uuid for new in result.update.rows]) == (["kvm1"], [uuid(1)])
    assert [event.action for event in result.update.events] == ["quarantine", "free", "forget"]


def test_release_without_quarantine_takes_the_rank() -> None:
    result = operations.release(tables(label(1)), [], [uuid(1)], 0, DAY)
    assert [(new.state, new.rank) for new in result.update.rows] == [(RELEASED, NO_RANK)]


def test_listing_sorts_rows_and_writes_nothing() -> None:
    result = operations.listing(tables(label(2, rank=1), label(1)))
    assert [listed.name for listed in result.result.labels] == ["guest1", "guest2"]
    assert result.result.tenants == [{"domain": "prod", "tenant": "default", "shared": "s0:c32,c280"}]
    assert result.update == LedgerUpdate()


def test_repair_settles_only_when_asked() -> None:
    read = fleet(use("kvm1", guest(1, defined="c32,c280,c528,c777")), unread=["kvm3"])
    advice = operations.repair(LedgerState(), read, LabelRequest())
    assert (advice.update, advice.result.changes, advice.result.after) == (LedgerUpdate(), [], advice.result.before)
    assert [note.subject for note in advice.result.pending] == [f"guest1 ({uuid(1)})"]
    settled = operations.repair(LedgerState(), read, LabelRequest(), settle=True)
    assert [(new.level, new.state) for new in settled.update.rows] == [(SECOND, PUBLISHED)]
    for done in (advice, settled):
        assert [text.partition(":")[0] for text in done.result.unknown] == ["tenants", "quarantine", "unread hosts"]


def test_repair_refuses_conflicts_and_never_settles_them() -> None:
    read = fleet(use("kvm1", guest(1, defined="c32,c280,c528,c999")))
    result = operations.repair(tables(label(1)), read, LabelRequest(), settle=True)
    assert (refused(result), result.update.rows) == ([f"guest1 ({uuid(1)})"], [])


def test_unreleased_rows_are_those_held_or_in_quarantine() -> None:
    rows = [label(number, state, number) for number, state in enumerate(STATES)]
    assert [kept.state for kept in operations.unreleased(rows)] == [RESERVED, PUBLISHED, OBSERVED, QUARANTINED]
