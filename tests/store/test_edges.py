# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""PostgreSQL with defaults that are not ours, and with connections that end in the middle of a COMMIT."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import threading
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.static_labels import LabelRequest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import StoreError
from ansible_collections.svirt.fleet.plugins.plugin_utils import _ledger
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store

from tests.store.test_store import fleet
from tests.unit.support.labels import uuid

_PIECE = 65536


def reserve_all(url: str, *numbers: int) -> None:
    store = Store(url)
    try:
        _ledger.reserve(store, fleet(*numbers), LabelRequest(), 1.0)
    finally:
        store.close()


def execute(url: str, *statements: str) -> None:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(
    "default",
    [
        "default_transaction_isolation = 'repeatable read'",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "statement_timeout = 300",
        "idle_in_transaction_session_timeout = 300",
        "lock_timeout = 1",
        "default_transaction_deferrable = on",
    ],
)
def test_runs_side_by_side_do_their_work_whatever_the_servers_defaults(postgresql: str, default: str) -> None:
    execute(postgresql, f"ALTER DATABASE fleet SET {default}")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=reserve_all, args=(postgresql, number)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 8
    rows = _ledger.ledger_rows(postgresql)
    assert (len(rows), len({row.rank for row in rows})) == (8, 8)


def test_a_database_that_cannot_be_written_says_so(postgresql: str) -> None:
    reserve_all(postgresql, 1)
    execute(
        postgresql,
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
    )
    reading = postgresql.replace("svirt@", "reader@")
    assert [row.uuid for row in _ledger.ledger_rows(reading)] == [uuid(1)]
    with pytest.raises(StoreError) as caught:
        reserve_all(reading, 2)
    assert caught.value.code == "store_read_only"
    execute(postgresql, "DROP OWNED BY reader", "DROP ROLE reader")


@pytest.mark.parametrize("table", ["svirt_labels", "svirt_schema", "svirt_clock"])
def test_a_table_that_is_gone_is_damage(postgresql: str, table: str) -> None:
    reserve_all(postgresql, 1)
    execute(postgresql, f"DROP TABLE {table} CASCADE")
    for operate in (lambda: reserve_all(postgresql, 2), lambda: _ledger.ledger_rows(postgresql)):
        with pytest.raises(StoreError, match=table) as caught:
            operate()
        assert caught.value.code == "store_damaged"


def test_a_database_without_a_ledger_is_no_empty_ledger(postgresql: str) -> None:
    with pytest.raises(StoreError) as caught:
        _ledger.ledger_rows(postgresql)
    assert caught.value.code == "store_missing"


class Proxy:
    """Passes everything on between a client and the server's socket, but answers to COMMIT once ``lose`` is set."""

    def __init__(self, folder: Path, url: str) -> None:
        parts = sa.make_url(url)
        port = parts.query["port"]
        self._server = f"{parts.query['host']}/.s.PGSQL.{port}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/.s.PGSQL.{port}")
        self._listener.listen()
        self.url = url.replace(str(parts.query["host"]), str(folder))
        #: ``after``: the answer is lost. ``before``: the COMMIT does not reach the server.
        self.lose = ""
        #: No connection succeeds any more once an answer was lost.
        self.dies = False
        self._dead = False
        self._ours = False
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def close(self) -> None:
        """End all threads, and close all sockets."""
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for end in self._sockets:
            end.close()

    def _run(self, work: t.Callable[..., None], *arguments: t.Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            if self._dead:
                client.shutdown(socket.SHUT_RDWR)
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            self._sockets.append(server)
            lost = threading.Event()
            for source, target, pass_on in ((client, server, self._question), (server, client, self._answer)):
                self._run(_pump, source, target, pass_on, lost)

    def _question(self, piece: bytes, lost: threading.Event) -> bool:
        self._ours = self._ours or b"INSERT INTO svirt_commits" in piece  # the driver has transactions of its own
        if self.lose and self._ours and b"COMMIT" in piece:
            arrives, self.lose, self._dead = self.lose == "after", "", self.dies
            lost.set()
            return arrives
        return True

    def _answer(self, _piece: bytes, lost: threading.Event) -> bool:
        return not lost.is_set()


def _pump(
    source: socket.socket, target: socket.socket, pass_on: t.Callable[[bytes, threading.Event], bool], lost: t.Any
) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            if not pass_on(piece, lost):
                break
            target.sendall(piece)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    made = Proxy(tmp_path_factory.mktemp("p"), postgresql)
    yield made
    made.close()


def test_a_lost_answer_to_a_commit_that_was_written(proxy: Proxy, postgresql: str) -> None:
    reserve_all(postgresql, 0)
    store = Store(proxy.url, patience=5)
    proxy.lose = "after"
    result = _ledger.reserve(store, fleet(*range(36)), LabelRequest(), 1.0)
    store.close()
    assert len(result.changes) == 35
    assert len(_ledger.ledger_rows(postgresql)) == 36
    assert "the transaction was written" in result.warnings[0]


def test_a_commit_that_never_arrived_was_not_written(proxy: Proxy, postgresql: str) -> None:
    reserve_all(postgresql, 0)
    store = Store(proxy.url, patience=5)
    proxy.lose = "before"
    with pytest.raises(StoreError, match="Nothing was written"):
        _ledger.reserve(store, fleet(0, 1), LabelRequest(), 1.0)
    store.close()
    assert len(_ledger.ledger_rows(postgresql)) == 1


@pytest.mark.parametrize(("lose", "rows"), [("after", 2), ("before", 1)])
def test_what_is_not_known_is_said_to_be_not_known(proxy: Proxy, postgresql: str, lose: str, rows: int) -> None:
    reserve_all(postgresql, 0)
    store = Store(proxy.url, patience=1.5)
    proxy.lose, proxy.dies = lose, True
    with pytest.raises(StoreError) as caught:
        _ledger.reserve(store, fleet(0, 1), LabelRequest(), 1.0)
    store.close()
    assert caught.value.code == "commit_unknown"
    assert len(_ledger.ledger_rows(postgresql)) == rows
