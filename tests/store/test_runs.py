# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Runs in the store, on each of its databases."""

from __future__ import annotations

import json
import multiprocessing
import typing as t
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.run import HostReading
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import decode_snapshot
from ansible_collections.svirt.fleet.plugins.plugin_utils import _migrations, _runs
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store, Stored, packed

from tests.unit.support.errors import raised
from tests.unit.support.fleets import guest, host

REPORT = json.dumps({"verdict": "pass"}).encode()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    made = Store(url, patience=5)
    yield made
    made.close()


def began(store: Store, run: str = "", kind: str = "audit", inventory: str = "prod", now: float = 1.0) -> str:
    return store.run(lambda transaction: _runs.begin(transaction, kind, inventory, now, "1.0.0", run)).id


def joined(store: Store, run: str = "", inventory: str = "prod", oldest: float = 0.0, kind: str = "audit") -> str:
    return store.run(lambda each: _runs.joined(each, kind, inventory, 5.0, "1.0.0", run, oldest)).id


def add(store: Store, run: str, name: str, received: float, why: str = "", text: str = "a") -> list[HostReading]:
    content = _runs.content_of(host(name, [guest(text, "s0:c1,c2")]))
    reading = HostReading(name, received, why=why) if why else HostReading(name, received, received, content.digest)
    return store.run(lambda each: _runs.add(each, run, [reading], {content.digest: content.content}))


def count(store: Store, table: str) -> int:
    with store.look() as transaction:
        return int(transaction.rows(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - of this test


def test_a_run_comes_back_with_its_report_snapshots_and_orders(store: Store) -> None:
    run = began(store, "audit-1")
    add(store, run, "kvm1", 2.0)
    add(store, run, "kvm2", 2.0, why="no route")
    with store.write() as transaction:
        _runs.put_orders(transaction, run, "allocation", {"kvm1": {"range": [0, 31]}})
        _runs.close(transaction, run, 9.0, "fail", {"high": 3}, REPORT)
    with store.look() as transaction:
        found = _runs.find(transaction, run)
        assert (found.kind, found.inventory, found.begun_at, found.ended_at) == ("audit", "prod", 1.0, 9.0)
        assert (found.state, found.verdict, found.counts, found.collection) == ("closed", "fail", {"high": 3}, "1.0.0")
        assert _runs.report_of(transaction, run) == {"verdict": "pass"}
        reading = _runs.reading_of(transaction, run, "kvm1")
        assert reading is not None
        snapshot = decode_snapshot(_runs.document_of(transaction, reading))
        assert (snapshot.host.name, snapshot.taken_at) == ("kvm1", 2.0)
        unread = _runs.reading_of(transaction, run, "kvm2")
        assert unread == HostReading("kvm2", 2.0, why="no route")
        assert _runs.reading_of(transaction, run, "kvm3") is None
        assert _runs.orders_of(transaction, run, "allocation", ["kvm1", "kvm2"]) == {"kvm1": {"range": [0, 31]}}


def test_a_snapshot_that_did_not_change_is_stored_once(store: Store) -> None:
    for number in range(3):
        run = began(store)
        add(store, run, "kvm1", float(number))
        add(store, run, "kvm2", float(number), text=str(number))
        store.run(lambda each, run=run: _runs.close(each, run, 1.0))  # type: ignore[misc]
    assert (count(store, "svirt_run_hosts"), count(store, "svirt_blobs")) == (6, 4)


def test_jobs_find_their_common_run(store: Store) -> None:
    first = joined(store)
    assert joined(store) == first
    assert joined(store, inventory="test") != first
    assert joined(store, kind="allocate") != first
    assert joined(store, oldest=6.0) != first  # begun too long ago
    named = joined(store, "workflow-7")
    assert (named, joined(store, "workflow-7")) == ("workflow-7", "workflow-7")


def test_a_run_that_was_judged_takes_no_more_hosts(store: Store) -> None:
    run = joined(store, "one")
    store.run(lambda each: _runs.close(each, run, 3.0, "pass", {}, REPORT))
    assert joined(store) != run
    with raised("run_closed", run):
        joined(store, run)
    with raised("run_closed", run):
        add(store, run, "kvm1", 2.0)


def test_a_run_of_another_inventory_or_playbook_is_not_joined(store: Store) -> None:
    joined(store, "one")
    with raised("run_of_other", "one", "test"):
        joined(store, "one", inventory="test")
    with raised("run_of_other", "one", "allocate"):
        joined(store, "one", kind="allocate")


@pytest.mark.parametrize("name", ["a b", "-x", "x" * 101, "é", "a/b", "a\n"])
def test_an_id_that_is_none_is_refused(store: Store, name: str) -> None:
    with raised("run_id"):
        joined(store, name)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
def test_of_a_host_in_two_slices_the_newest_snapshot_counts(store: Store, order: tuple[int, ...]) -> None:
    run = began(store)
    steps: tuple[dict[str, t.Any], ...] = (
        {"received": 5.0, "text": "old"},
        {"received": 6.0, "text": "new"},
        {"received": 7.0, "why": "no route"},
    )
    known = [add(store, run, "kvm1", **steps[number]) for number in order]
    assert [len(old) for old in known] == [0, 1, 1]
    with store.look() as transaction:
        reading = _runs.reading_of(transaction, run, "kvm1")
    assert reading is not None
    assert (reading.received_at, bool(reading.digest)) == (6.0, True)


def test_old_runs_are_removed_with_what_only_they_had(store: Store) -> None:
    runs = [began(store, f"r{number}") for number in range(5)]
    for number, run in enumerate(runs):
        add(store, run, "kvm1", 1.0, text=str(number))
        add(store, run, "kvm2", 1.0)
        store.run(lambda each, run=run: _runs.put_orders(each, run, "allocation", {"kvm1": 1}))  # type: ignore[misc]
    assert store.run(lambda each: _runs.prune(each, 2)) == ["r0", "r1", "r2"]
    assert (count(store, "svirt_runs"), count(store, "svirt_blobs"), count(store, "svirt_run_hosts")) == (2, 3, 4)
    assert count(store, "svirt_run_orders") == 4
    with raised("run_missing", "r1", "r4"):
        store.run(lambda each: _runs.report_of(each, "r1"), keep=False)
    with raised("run_missing", "r1"):
        add(store, "r1", "kvm1", 1.0)


def test_the_newest_run_of_each_inventory_and_playbook_stays(store: Store) -> None:
    for name, kind, inventory in (("a", "allocate", "prod"), ("b", "audit", "test"), ("c", "audit", "prod")):
        began(store, name, kind, inventory)
    began(store, "d")
    assert store.run(lambda each: _runs.prune(each, 1)) == ["c"]
    assert store.run(lambda each: _runs.prune(each, 0)) == []


def test_the_newest_run_by_what_it_has(store: Store) -> None:
    for name in ("a", "b", "c"):
        began(store, name, now={"a": 1.0, "b": 2.0, "c": 3.0}[name])
    store.run(lambda each: _runs.close(each, "a", 3.0, "pass", {}, REPORT))
    store.run(lambda each: _runs.put_orders(each, "b", "allocation", {}))
    began(store, "d", inventory="test")
    with store.look() as transaction:
        assert _id(_runs.newest(transaction)) == "d"
        assert _id(_runs.newest(transaction, "prod")) == "c"
        assert _id(_runs.newest(transaction, "prod", before=3)) == "b"
        assert _id(_runs.newest(transaction, judged=True)) == "a"
        assert _id(_runs.newest(transaction, orders="allocation")) == "b"
        assert _id(_runs.newest(transaction, state="closed")) == "a"
        assert _runs.newest(transaction, "prod", oldest=4.0) is None


def _id(run: _runs.StoredRun | None) -> str:
    assert run is not None
    return run.id


def test_a_run_without_a_report_or_orders_says_what_is_missing(store: Store) -> None:
    run = began(store)
    with raised("run_without_report", run):
        store.run(lambda each: _runs.report_of(each, run), keep=False)
    with raised("no_run", run, "allocation"):
        store.run(lambda each: _runs.orders_of(each, run, "allocation", ["kvm1"]), keep=False)


@pytest.mark.parametrize("content", [b"", b"x", packed(b"{}")])
def test_a_snapshot_that_is_not_what_was_stored_is_damage(store: Store, content: bytes) -> None:
    run = began(store)
    add(store, run, "kvm1", 1.0)
    with store.write() as transaction:
        transaction.run("UPDATE svirt_blobs SET content = :content", [{"content": content}])
        reading = _runs.reading_of(transaction, run, "kvm1")
        assert reading is not None
        with raised("store_damaged"):
            _runs.document_of(transaction, reading)


def _join(url: str, name: str) -> None:
    made = Store(url)
    add(made, joined(made), name, 1.0)
    made.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_slices_that_begin_at_once_have_one_run(url: str, store: Store) -> None:
    context = multiprocessing.get_context("fork")
    slices = [context.Process(target=_join, args=(url, f"kvm{number}")) for number in range(6)]
    for each in slices:
        each.start()
    for each in slices:
        each.join(120)
    assert [each.exitcode for each in slices] == [0] * 6
    assert (count(store, "svirt_runs"), count(store, "svirt_run_hosts")) == (1, 6)


@pytest.mark.parametrize("version", range(1, _migrations.VERSION))
def test_a_store_of_each_earlier_version_is_migrated_with_what_it_holds(url: str, store: Store, version: int) -> None:
    engine = store.engine()
    with engine.begin() as connection:
        dialect = connection.dialect.name
        for step in _migrations._steps(dialect)[:version]:
            for statement in step:
                connection.exec_driver_sql(statement.format(**_migrations._WORDS[dialect]))
        connection.exec_driver_sql("CREATE TABLE svirt_schema (version INTEGER NOT NULL)")
        connection.exec_driver_sql(f"INSERT INTO svirt_schema VALUES ({version})")  # noqa: S608 - of this test
        connection.execute(sa.text("INSERT INTO svirt_snapshots VALUES ('kvm1', 1.0, 2.0, :old)"), {"old": b"old"})
    store.close()
    add(store, joined(store), "kvm1", 1.0)
    with store.write() as transaction:
        assert transaction.rows("SELECT version FROM svirt_schema") == [(_migrations.VERSION,)]
        assert transaction.received() == {"kvm1": 2.0}
        transaction.keep([Stored("kvm1", 1.0, 3.0, packed(b"new"))])
    assert count(store, "svirt_run_hosts") == 1
