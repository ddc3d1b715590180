# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""What the store promises, on each of its databases."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_domains import parse_domains
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.operations import FleetRead
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.static_labels import LabelRequest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import StoreError
from ansible_collections.svirt.fleet.plugins.plugin_utils import _ledger, _migrations
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store, Stored, packed, unpacked

from tests.unit.support.errors import raised
from tests.unit.support.labels import guest, use, uuid

EVENT = "INSERT INTO svirt_events (at, domain, subject, action, old, new) VALUES (1, 'd', 's', 'a', '', 'n')"


def fleet(*numbers: int) -> FleetRead:
    uses = [use("kvm1", *(guest(number) for number in numbers))]
    return FleetRead(["kvm1"], uses, named=parse_domains([{"name": "prod", "hosts": ["kvm1"]}]))


def test_labels_and_snapshots_come_back(url: str) -> None:
    store = Store(url)
    made = _ledger.reserve(store, fleet(1, 2), LabelRequest(), 1.0)
    with store.write() as transaction:
        transaction.keep([Stored("kvm1", 1.0, 2.0, packed(b"\x00\xff"))])
    store.close()
    assert len(made.changes) == 2
    with store.look() as transaction:
        kept = transaction.snapshot("kvm1")
        assert kept is not None
        assert unpacked(kept.content) == b"\x00\xff"
    assert [row.uuid for row in _ledger.ledger_rows(url)] == [uuid(1), uuid(2)]
    assert _ledger.reserve(store, fleet(1, 2), LabelRequest(), 2.0).changes == []
    _ledger.release(store, set(), {uuid(1)}, 0, 3.0)
    assert [row.uuid for row in _ledger.ledger_rows(url)] == [uuid(2)]
    store.close()


def test_a_check_leaves_nothing(url: str) -> None:
    store = Store(url)
    assert len(_ledger.reserve(store, fleet(1), LabelRequest(), 1.0, check=True).changes) == 1
    assert _ledger.reserve(store, fleet(1), LabelRequest(), 1.0).before["reserved"] == 0
    store.close()


def test_who_waits_too_long_gets_an_error(url: str) -> None:
    store, other = Store(url), Store(url, patience=0.5)
    with store.write(), raised("store_locked"):
        other.write().__enter__()
    with other.write():
        pass
    store.close()
    other.close()


@pytest.mark.parametrize(
    "statement", ["UPDATE svirt_events SET new = 'x'", "DELETE FROM svirt_events", "TRUNCATE svirt_events"]
)
def test_events_are_only_ever_added(url: str, statement: str) -> None:
    store = Store(url)
    with store.write() as transaction:
        transaction.run(EVENT, [{}])
    with pytest.raises(StoreError), store.write() as transaction:
        transaction.run(statement, [{}])
    with store.look() as transaction:
        assert transaction.rows("SELECT new FROM svirt_events") == [("n",)]
    store.close()


@pytest.mark.parametrize(
    ("column", "value"), [("rank", "0"), ("uuid", f"'{uuid(1)}'"), ("state", "'lost'"), ("rank", "NULL")]
)
def test_the_database_itself_refuses_a_label_twice_and_states_that_are_none(url: str, column: str, value: str) -> None:
    store = Store(url)
    _ledger.reserve(store, fleet(1, 2), LabelRequest(), 1.0)
    with pytest.raises(StoreError, match="Nothing was written"), store.write() as transaction:
        transaction.run(f"UPDATE svirt_labels SET {column} = {value} WHERE uuid = :uuid", [{"uuid": uuid(2)}])  # noqa: S608 - of this test
    store.close()


def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    store = Store(url)
    with store.write() as transaction:
        transaction.keep([Stored("kvm1", 1.0, 2.0, packed(b"x"))])
        transaction.run("UPDATE svirt_schema SET version = :version", [{"version": _migrations.VERSION + 1}])
    with raised("store_newer"):
        _ledger.reserve(store, fleet(2), LabelRequest(), 2.0)
    store.close()


def _reserve(url: str, number: int) -> None:
    store = Store(url)
    _ledger.reserve(store, fleet(number), LabelRequest(), 1.0)
    store.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_many_that_find_nothing_make_one_store_together(url: str) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_reserve, args=(url, number)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 8
    rows = _ledger.ledger_rows(url)
    assert sorted(row.uuid for row in rows) == [uuid(number) for number in range(8)]
    assert len({row.rank for row in rows}) == 8


def test_a_wrong_user_or_database_is_an_error(postgresql: str, tmp_path: Path) -> None:
    for wrong in (postgresql.replace("/fleet?", "/nowhere?"), postgresql.replace("svirt@", "nobody:secret@")):
        with pytest.raises(StoreError) as caught:
            Store(wrong).write().__enter__()
        assert caught.value.code == "store_unreachable"
        assert "secret" not in str(caught.value)
