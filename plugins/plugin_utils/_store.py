# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Database of snapshots and labels: one SQLite file, or PostgreSQL by URL.

One writer at a time: each operation is one transaction that takes the only lock first, so that it writes on what it has
read. It has full effect or none, even if it is killed. When the answer to its COMMIT is lost, the database is asked
whether it was written. Every failure is a StoreError that names the database without its password.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import sys
import time
import typing as t
import uuid
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..module_utils._core.errors import StoreError
from . import _migrations, _run_identity, _sqlite_file, _store_errors

# ansible-test imports this file where SQLAlchemy is not installed; so does a controller that never uses the store.
try:
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = ImportError(f"version {sa.__version__} is too old") if sa.__version__.startswith(("0.", "1.")) else None

DEFAULT_URL = _run_identity.DEFAULT_URL
#: Seconds to wait for another run that holds the lock.
PATIENCE = 60.0
#: Key of the advisory lock in PostgreSQL; any number.
_LOCK = 0x73766972746C6267
#: Largest JSON of a snapshot.
_MAX_DOCUMENT = 256 * 1024 * 1024
#: Seconds to wait for a server when a store is only tried out.
_TRIAL = 10.0
#: Times that a transaction is tried when others get in its way.
_ATTEMPTS = 5
#: Ids of transactions that are kept, and how seldom older ones are deleted.
_COMMITS = 1000
_PRUNE = 50

Answer = t.TypeVar("Answer")


@dataclass(frozen=True)
class Stored:
    """A snapshot in the store."""

    host: str
    taken_at: float
    received_at: float
    #: Its JSON, compressed.
    content: bytes


class Transaction:
    """Access to the database during one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, **values: t.Any) -> list[tuple[t.Any, ...]]:
        """Rows of a query."""
        return [tuple(row) for row in self._connection.execute(sa.text(statement), values)]

    def run(self, statement: str, values: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        """Execute a statement for each of these values."""
        if values:
            self._connection.execute(sa.text(statement), [dict(value) for value in values])

    def received(self) -> dict[str, float]:
        """When a controller received the snapshot of each host, by its clock. Damaged rows are left out."""
        rows = self.rows("SELECT host, received_at FROM svirt_snapshots")
        return {str(host): float(received) for host, received in rows if isinstance(received, (int, float))}

    def snapshot(self, host: str) -> Stored | None:
        """Snapshot of a host. Raises StoreError for a damaged row."""
        query = "SELECT host, taken_at, received_at, document FROM svirt_snapshots WHERE host = :host"
        for name, taken, received, document in self.rows(query, host=host):
            try:
                return Stored(str(name), float(taken), float(received), bytes(document))
            except (TypeError, ValueError) as error:
                raise StoreError(f"row {host} of svirt_snapshots: {error}", _store_errors.DAMAGED) from None
        return None

    def keep(self, snapshots: t.Iterable[Stored]) -> None:
        """Store snapshots in place of the previous ones of their hosts."""
        self.run(
            "INSERT INTO svirt_snapshots (host, taken_at, received_at, document) VALUES (:host, :taken, :received, "
            ":document) ON CONFLICT (host) DO UPDATE SET taken_at = excluded.taken_at, received_at = "
            "excluded.received_at, document = excluded.document",
            [
                {
                    "host": snapshot.host,
                    "taken": snapshot.taken_at,
                    "received": snapshot.received_at,
                    "document": snapshot.content,
                }
                for snapshot in snapshots
            ],
        )


def packed(content: bytes) -> bytes:
    """Compress."""
    return zlib.compress(content, 6)


def unpacked(content: bytes) -> bytes:
    """Decompress. Raises StoreError for anything that ``packed`` did not make."""
    decoder = zlib.decompressobj()
    try:
        data = decoder.decompress(content, _MAX_DOCUMENT)
    except zlib.error as error:
        why = f"the store holds something that cannot be unpacked ({error}); restore a backup"
        raise StoreError(why, _store_errors.DAMAGED) from error
    if not decoder.eof:
        raise StoreError("the store holds something that is cut off; restore a backup", _store_errors.DAMAGED)
    return data


class Store:
    """A database by its URL. Nothing is opened before the first transaction."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        if MISSING is not None:
            raise StoreError(
                f"the store needs the Python package SQLAlchemy, 2.0 or newer, for {sys.executable}: install it there "
                f"({MISSING})",
                "sqlalchemy_missing",
            )
        self._patience = patience
        self._url = parsed(url)
        self._engine: sa.Engine | None = None
        self._checked = False
        #: For the operator.
        self.warnings: list[str] = []

    @property
    def name(self) -> str:
        """The URL as it may be shown: without password, and without its query, which may hold one too."""
        return self._url.set(query={}).render_as_string(hide_password=True)

    @property
    def in_memory(self) -> bool:
        """Whether it is a SQLite database without a file."""
        return self._url.get_backend_name() == "sqlite" and self._url.database in (None, "", ":memory:")

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database; None for another database."""
        name = self._url.database or ""
        if self._url.get_backend_name() != "sqlite" or self.in_memory or name.startswith("file:"):
            return None
        return Path(name).absolute()

    @property
    def exists(self) -> bool:
        """Whether there is a file; for a server always True. Raises StoreError for a link to nowhere."""
        with self._errors(writes=False):
            if self.file is not None:
                _sqlite_file.refuse_dangling(self.file)
            return self.file is None or self.file.exists()

    @property
    def has_tables(self) -> bool:
        """Whether there are tables of a store. Raises StoreError when the database cannot be asked."""
        if self.file is not None:
            return self.exists  # a file without tables is refused by its first transaction
        with self._errors(writes=False):
            connection = self.engine().connect()
            try:
                self._begin(connection, keep=False)
                return self._version(connection) > 0
            finally:
                connection.close()

    @property
    def has_ledger(self) -> bool:
        """Whether labels or ranges were ever assigned in this store. Raises StoreError when it cannot be asked."""
        if not self.has_tables:
            return False
        tables = ("svirt_domains", "svirt_hosts", "svirt_events")
        query = " UNION ALL ".join(f"SELECT count(*) FROM {table}" for table in tables)  # noqa: S608 - ours
        return any(number for (number,) in self.run(lambda each: each.rows(query), keep=False))

    def load_driver(self) -> None:
        """Raise StoreError when the driver of the database is missing. Connects to nothing."""
        with self._errors(writes=False):
            self.engine()

    def demand(self) -> None:
        """Raise StoreError when there is no store: the operation makes no sense on a new one."""
        if self.has_tables:
            return
        where = f"at {self.file}" if self.file is not None else f"in {self.name}"
        raise StoreError(
            f"there is no store {where}: correct the URL or restore its backup; a lost ledger is rebuilt from the "
            "fleet by operation repair with repair: true",
            "store_missing",
        )

    def run(self, work: t.Callable[[Transaction], Answer], keep: bool = True) -> Answer:
        """The result of ``work`` in a transaction of its own, tried again a few times when others get in its way."""
        for attempt in range(_ATTEMPTS):
            try:
                with self.write() if keep else self.look() as transaction:
                    return work(transaction)
            except StoreError as error:
                if error.code != _store_errors.SERIALIZATION or attempt + 1 == _ATTEMPTS:
                    raise
                time.sleep(0.1 * 2**attempt)
        raise AssertionError  # the last attempt returned or raised

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that is committed when the block ends, and rolled back when it raises. Migrates the tables."""
        if self.file is not None:
            with self._errors(writes=True):
                if not self.exists:
                    _sqlite_file.create(self.file)
                elif self.file.is_file():
                    self._warn(_sqlite_file.narrow(self.file))
        with self._begun(keep=True) as transaction:
            yield transaction

    @contextmanager
    def look(self) -> Iterator[Transaction]:
        """A transaction that is rolled back. Without a file, it sees an empty store and creates none."""
        if self.exists:
            mode = _sqlite_file.others_can_read(self.file) if self.file is not None else None
            if mode is not None:
                self._warn(f"store {self.file} has mode {mode:04o}: others than its owner can use it; chmod 600 it")
            with self._begun(keep=False) as transaction:
                yield transaction
            return
        nowhere = Store("sqlite://")
        try:
            with nowhere.look() as transaction:
                yield transaction
        finally:
            nowhere.close()

    def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _warn(self, text: str) -> None:
        if text and text not in self.warnings:
            self.warnings.append(text)

    @contextmanager
    def _begun(self, keep: bool) -> Iterator[Transaction]:
        with self._errors(writes=keep):
            connection = self.engine().connect()
            try:
                version = self._begin(connection, keep)
                if version != _migrations.VERSION:
                    self._migrate(connection)
                yield Transaction(connection)
                if keep:
                    self._commit(connection)
            finally:
                connection.close()  # rolls back

    def _commit(self, connection: sa.Connection) -> None:
        """Commit. Without an answer, return if the transaction was written, raise if not or if it is not known."""
        run = uuid.uuid4().hex
        connection.execute(sa.text("INSERT INTO svirt_commits (id) VALUES (:id)"), {"id": run})
        if int(run[:4], 16) % _PRUNE == 0:
            oldest = "DELETE FROM svirt_commits WHERE number <= (SELECT max(number) FROM svirt_commits) - :kept"
            connection.execute(sa.text(oldest), {"kept": _COMMITS})
        try:
            connection.commit()
        except (SQLAlchemyError, OSError) as error:
            with contextlib.suppress(SQLAlchemyError, OSError):
                connection.invalidate()  # else its own lock is waited for
            if not self._committed(run, error):
                raise
            self._warn(
                f"store {self.name}: the answer to COMMIT was lost ({_store_errors.first_line(error)}), but the "
                "transaction was written: the database was asked"
            )

    def _committed(self, run: str, error: BaseException) -> bool:
        """Whether a transaction was written. Takes the lock, so that a server has ended the lost transaction before."""
        started = time.monotonic()
        while True:
            self.close()
            try:
                connection = self.engine().connect()
                try:
                    self._begin(connection, keep=True)
                    if self._version(connection) < _migrations.VERSION:
                        return False
                    query = sa.text("SELECT count(*) FROM svirt_commits WHERE id = :id")
                    return bool(connection.execute(query, {"id": run}).scalar())
                finally:
                    connection.close()
            except (SQLAlchemyError, OSError, StoreError) as last:
                waited = time.monotonic() - started
                if waited >= self._patience:
                    original = getattr(error, "orig", None) or error
                    raise _store_errors.commit_unknown(
                        self.name, original, getattr(last, "orig", None) or last, waited
                    ) from None
            time.sleep(min(0.5, self._patience))

    def engine(self) -> sa.Engine:
        """SQLAlchemy's engine; it connects when it is first used."""
        if self._engine is None:
            self._engine = self._new_engine()
        return self._engine

    def _new_engine(self) -> sa.Engine:
        sqlite = self._url.get_backend_name() == "sqlite"
        options: dict[str, t.Any] = {"timeout": self._patience} if sqlite else self._server_options()
        engine = sa.create_engine(self._url, connect_args=options, poolclass=sa.pool.StaticPool)
        if sqlite:
            sa.event.listen(engine, "connect", _prepared)
        # A store that nobody closed closes its connection when it goes; not in a forked child at its exit.
        weakref.finalize(self, engine.dispose).atexit = False
        return engine

    def _server_options(self) -> dict[str, t.Any]:
        """Options of libpq. Keepalives end a wait for a server that is gone. Those of the URL count."""
        seconds = max(2, int(self._patience))
        options: dict[str, t.Any] = {
            "connect_timeout": seconds,
            "application_name": "svirt.fleet",
            "client_encoding": "utf8",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": seconds * 1000,
        }
        return {name: value for name, value in options.items() if name not in self._url.query}

    def _begin(self, connection: sa.Connection, keep: bool) -> int | None:
        """Begin a transaction with settings of our own, whatever the server's defaults are; a writer takes the lock.

        Returns the version of the tables, where it is known.
        """
        if connection.dialect.name == "sqlite":
            return self._begin_sqlite(connection, keep)
        # Before the lock, each statement must see what was committed meanwhile; without it, one state of all tables.
        level = "READ COMMITTED, READ WRITE" if keep else "REPEATABLE READ"
        connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        if keep:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(self._patience * 1000)}")
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        return None

    def _begin_sqlite(self, connection: sa.Connection, keep: bool) -> int:
        if self.file is not None:
            _sqlite_file.refuse_empty(self.file)
            if not self._checked and self.file.is_file() and self.file.stat().st_size <= _sqlite_file.MAX_CHECKED:
                rows = connection.exec_driver_sql("PRAGMA quick_check(1)").all()
                _sqlite_file.refuse_damaged(rows, str(self.file))
                self._checked = True
        version = self._version(connection)
        older = version < _migrations.VERSION
        connection.exec_driver_sql("BEGIN IMMEDIATE" if keep or older else "BEGIN")
        if self.file is not None:  # within the transaction, since a writer's file grows page by page
            size = connection.exec_driver_sql(_SIZE).scalar_one()
            _sqlite_file.refuse_cut(self.file, size)
        return version

    def _version(self, connection: sa.Connection) -> int:
        """Version of the tables; 0: there are none. Raises StoreError for tables that are not those of a store."""
        tables = set(connection.exec_driver_sql(_TABLES[connection.dialect.name]).scalars())
        if "svirt_schema" not in tables:
            ours = sorted(name for name in tables if name.startswith("svirt_"))
            if ours:
                raise self._damaged(f"it has the table {ours[0]}, but not svirt_schema")
            if self.file is not None:
                named = f"only tables of another program ({', '.join(sorted(tables)[:3])})" if tables else "no tables"
                raise StoreError(
                    f"store {self.file} is a database with {named}, so it is no store: correct the URL, or restore "
                    "its backup. Nothing was written",
                    "store_foreign",
                )
            return 0
        versions = list(connection.exec_driver_sql("SELECT version FROM svirt_schema").scalars())
        if len(versions) != 1 or not isinstance(versions[0], int) or versions[0] < 1:
            raise self._damaged(f"svirt_schema holds {versions[:3]!r} in place of one version")
        if versions[0] == _migrations.VERSION:
            missing = sorted(set(_migrations.TABLES) - tables)
            if missing:
                raise self._damaged(f"the table {missing[0]} is missing")
        return versions[0]

    def _damaged(self, what: str) -> StoreError:
        where = self.file or self.name
        return StoreError(
            f"store {where} is damaged: {what}; restore its backup, or move it away and rebuild the ledger with "
            "operation repair and repair: true. Nothing was written",
            _store_errors.DAMAGED,
        )

    def _migrate(self, connection: sa.Connection) -> None:
        version = self._version(connection)
        if version > _migrations.VERSION:
            raise StoreError(
                f"store {self.name} is of version {version}, this collection knows {_migrations.VERSION}: nothing was "
                "changed; update the collection on this controller",
                "store_newer",
            )
        if version < _migrations.VERSION:
            for statement in _migrations.statements(connection.dialect.name, version):
                connection.exec_driver_sql(statement)

    @contextmanager
    def _errors(self, writes: bool) -> Iterator[None]:
        """Turn errors of drivers into StoreErrors."""
        started = time.monotonic()
        try:
            yield
        except DBAPIError as error:
            waited = time.monotonic() - started
            raise _store_errors.store_error(self.name, error, waited, writes) from None
        except UnicodeDecodeError:
            raise self._damaged("it holds text that is no Unicode") from None
        except (SQLAlchemyError, ImportError, OSError) as error:
            why = _store_errors.first_line(error)
            raise StoreError(f"store {self.name} cannot be used: {why}", _store_errors.UNUSABLE) from None


#: Bytes that a SQLite file should have.
_SIZE = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
#: Queries for the names of all tables.
_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'",
    "postgresql": (
        "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND pg_table_is_visible(oid) "
        "AND left(relname, 6) = 'svirt_'"
    ),
}


def _prepared(connection: t.Any, _record: t.Any) -> None:
    """Set up a new connection of SQLite. Transactions begin explicitly, not as the driver guesses."""
    connection.isolation_level = None
    # A damaged text shall reach the check of its row.
    connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
    for pragma in ("foreign_keys = ON", "synchronous = FULL", "journal_mode = DELETE", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {pragma}")


def try_out(url: str, must_exist: bool = False) -> None:
    """Raise StoreError for a store that cannot be used. Changes nothing."""
    store = Store(url, patience=_TRIAL)
    try:
        if store.in_memory:
            why = f"store {store.name} is in memory, and gone at the end of a task; write it as {DEFAULT_URL}"
            raise StoreError(why, "store_url")
        store.load_driver()
        if must_exist:
            store.demand()
        elif store.exists:
            with store.look():
                pass
        if store.file is not None and not must_exist:
            _sqlite_file.refuse_unwritable(store.file)
    finally:
        store.close()


def parsed(url: str) -> sa.URL:
    """The URL of a store. Raises StoreError without showing it: it may hold a password."""
    try:
        parts = sa.make_url(url)
        if parts.drivername in ("postgresql", "postgres"):
            parts = parts.set(drivername="postgresql+psycopg")
        backend = parts.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StoreError(
            f"the store's URL cannot be understood ({type(error).__name__}); write it as {DEFAULT_URL} or "
            "postgresql://USER@HOST/DATABASE, with the password in ~/.pgpass",
            "store_url",
        ) from None
    if backend not in _migrations.DIALECTS or parts.drivername not in ("sqlite", "postgresql+psycopg"):
        why = f"the store's URL names {parts.drivername}; only sqlite and postgresql are known"
        raise StoreError(why, "store_url")
    if why := _misread(url, parts):
        raise StoreError(f"the store's URL {why}", "store_url")
    return parts


def _misread(url: str, parts: sa.URL) -> str:
    """What SQLAlchemy takes for something else than the operator wrote; empty: nothing."""
    if "@" in (parts.host or ""):
        # The rest of the password would be the host, which messages show.
        return "has more than one @: write an @ of the password as %40"
    if parts.get_backend_name() == "sqlite" and (parts.database or "").startswith("~"):
        return "begins its path with ~, which SQLite does not know: write the folder out"
    if parts.get_backend_name() == "sqlite" and "?" in url and not parts.query:
        return "has a ? in its path, where SQLite would end it: name another file"
    return ""
