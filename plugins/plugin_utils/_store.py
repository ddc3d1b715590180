# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database of snapshots and labels: one SQLite file, or PostgreSQL by URL.

One writer at a time: each piece of work is one transaction that takes the only lock first, so that what it reads is
what it writes upon. It is kept whole or not at all, whatever kills it. Every failure is a StoreError that names the
database without its password.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import sys
import time
import typing as t
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..module_utils._core.errors import StoreError
from . import _migrations

# ansible-test imports this file where SQLAlchemy is not installed; so does a controller that never uses the store.
try:
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
except ImportError as error:
    _MISSING: ImportError | None = error
else:
    _MISSING = None

DEFAULT_URL = "sqlite:///svirt-fleet.db"
#: Seconds to wait for another run that works on the database.
PATIENCE = 60.0
#: Any number; what else locks by it in the same PostgreSQL database waits for us.
_LOCK = 0x73766972746C6267
#: A snapshot's JSON is not larger, compressed or not.
_MAX_DOCUMENT = 256 * 1024 * 1024


@dataclass(frozen=True)
class Stored:
    """A snapshot of the store."""

    host: str
    taken_at: float
    received_at: float
    #: Its JSON, compressed.
    content: bytes


class Transaction:
    """One piece of work on the database."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, **values: t.Any) -> list[tuple[t.Any, ...]]:
        """What a query gives."""
        return [tuple(row) for row in self._connection.execute(sa.text(statement), values)]

    def run(self, statement: str, values: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        """One statement for each of these values."""
        if values:
            self._connection.execute(sa.text(statement), [dict(value) for value in values])

    def received(self) -> dict[str, float]:
        """When the snapshot of each host came to a controller, by the controller's clock."""
        found = self.rows("SELECT host, received_at FROM svirt_snapshots")
        return {str(host): float(received) for host, received in found}

    def snapshot(self, host: str) -> Stored | None:
        """The snapshot of a host."""
        query = "SELECT host, taken_at, received_at, document FROM svirt_snapshots WHERE host = :host"
        for name, taken, received, document in self.rows(query, host=host):
            return Stored(str(name), float(taken), float(received), bytes(document))
        return None

    def keep(self, snapshots: t.Iterable[Stored]) -> None:
        """Put these in the place of what there is of their hosts."""
        self.run(
            "INSERT INTO svirt_snapshots (host, taken_at, received_at, document) VALUES (:host, :taken, :received, "
            ":document) ON CONFLICT (host) DO UPDATE SET taken_at = excluded.taken_at, received_at = "
            "excluded.received_at, document = excluded.document",
            [
                {"host": one.host, "taken": one.taken_at, "received": one.received_at, "document": one.content}
                for one in snapshots
            ],
        )


def packed(content: bytes) -> bytes:
    """Compressed."""
    return zlib.compress(content, 6)


def unpacked(content: bytes) -> bytes:
    """As it was. Raises StoreError for what was never compressed here."""
    try:
        return zlib.decompressobj().decompress(content, _MAX_DOCUMENT)
    except zlib.error as error:
        raise StoreError(f"the store holds something that cannot be unpacked ({error}); restore a backup") from error


class Store:
    """A database by its URL. Nothing is opened before the first transaction."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        if _MISSING is not None:
            raise StoreError(
                f"the store needs the Python package SQLAlchemy, 2.0 or newer, for {sys.executable}: install it there "
                f"({_MISSING})"
            )
        self._patience = patience
        self._url = _parsed(url)
        self._engine: sa.Engine | None = None

    @property
    def name(self) -> str:
        """The database as it may be shown: its query may hold a password too."""
        return self._url.set(query={}).render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database; None for another database."""
        name = self._url.database or ":memory:"
        if self._url.get_backend_name() != "sqlite" or name == ":memory:" or name.startswith("file:"):
            return None
        return Path(name).absolute()

    @property
    def exists(self) -> bool:
        """Whether there is a file; a server answers for itself."""
        return self.file is None or self.file.exists()

    def demand(self) -> None:
        """Raise StoreError when there is no file: what is about to be done makes no sense on a new one."""
        if not self.exists:
            raise StoreError(
                f"there is no store at {self.file}: correct the URL or restore its backup; a ledger that is lost is "
                "made anew from the fleet by operation repair with repair: true"
            )

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that is kept when the block ends, and undone when it raises. Migrates an older database."""
        with self._begun(keep=True) as transaction:
            yield transaction

    @contextmanager
    def look(self) -> Iterator[Transaction]:
        """A transaction that leaves nothing behind. Where there is no file, it sees an empty store and makes none."""
        if self.exists:
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

    @contextmanager
    def _begun(self, keep: bool) -> Iterator[Transaction]:
        with self._clear_errors():
            connection = self.engine().connect()
            try:
                self._begin(connection, keep)
                self._migrate(connection)
                yield Transaction(connection)
                if keep:
                    connection.commit()
            finally:
                connection.close()  # rolls back what was not committed

    def engine(self) -> sa.Engine:
        """SQLAlchemy's own view of the database; it connects when it is first used."""
        if self._engine is None:
            self._engine = self._made()
        return self._engine

    def _made(self) -> sa.Engine:
        options: dict[str, t.Any] = {}
        if self._url.get_backend_name() == "sqlite":
            if self.file is not None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            options = {"timeout": self._patience}
        else:
            options = {"connect_timeout": max(2, int(self._patience)), "application_name": "svirt.fleet"}
        engine = sa.create_engine(self._url, connect_args=options, poolclass=sa.pool.StaticPool)
        if self._url.get_backend_name() == "sqlite":
            sa.event.listen(engine, "connect", _prepared)
        return engine

    def _begin(self, connection: sa.Connection, keep: bool) -> None:
        """Take the lock. Who only looks needs none where the database gives him one state of things."""
        if connection.dialect.name == "sqlite":
            older = _version(connection) < _migrations.VERSION
            connection.exec_driver_sql("BEGIN IMMEDIATE" if keep or older else "BEGIN")
            return
        if keep:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(self._patience * 1000)}")
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def _migrate(self, connection: sa.Connection) -> None:
        version = _version(connection)
        if version > _migrations.VERSION:
            raise StoreError(
                f"store {self.name} is of version {version}, this collection knows {_migrations.VERSION}: nothing was "
                "changed; update the collection on this controller"
            )
        if version == _migrations.VERSION:
            return
        for statement in _migrations.statements(connection.dialect.name, version):
            connection.exec_driver_sql(statement)
        if version:
            connection.execute(sa.text("UPDATE svirt_schema SET version = :version"), {"version": _migrations.VERSION})
        else:
            connection.exec_driver_sql("CREATE TABLE svirt_schema (version INTEGER NOT NULL)")
            connection.execute(
                sa.text("INSERT INTO svirt_schema (version) VALUES (:version)"), {"version": _migrations.VERSION}
            )

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        except DBAPIError as error:
            raise StoreError(self._told(error, time.monotonic() - started)) from None
        except (SQLAlchemyError, ImportError, OSError) as error:
            raise StoreError(f"store {self.name} cannot be used: {_short(error)}") from None

    def _told(self, error: DBAPIError, waited: float) -> str:
        text = _short(error.orig)
        low = text.lower()
        if "database is locked" in low or "lock timeout" in low or "database is busy" in low:
            advice = f"another run has been working on it for {waited:.0f} s: wait for it to end, then run again"
        elif "readonly" in low or "read-only" in low or "permission denied" in low:
            advice = "it cannot be written: run as its owner, or name a store that may be written"
        elif "not a database" in low or "malformed" in low:
            advice = (
                "the file is damaged or no SQLite database: restore its backup, or move it away and make the ledger "
                "anew with operation repair and repair: true"
            )
        elif "unable to open" in low:
            advice = "see that its folder may be written and the path is a file"
        elif isinstance(error, sa.exc.IntegrityError):
            advice = "something else wrote it at the same time, without its lock: run again"
        else:
            advice = "see that the server runs and that the URL is right"
        return f"store {self.name}: {text}; {advice}. Nothing was written"


def _version(connection: sa.Connection) -> int:
    """The database's version; 0 for one without our tables."""
    found = (
        "SELECT count(*) FROM sqlite_master WHERE name = 'svirt_schema'"
        if connection.dialect.name == "sqlite"
        else "SELECT count(*) FROM pg_class WHERE oid = to_regclass('svirt_schema')"
    )
    if not connection.exec_driver_sql(found).scalar():
        return 0
    return int(connection.exec_driver_sql("SELECT max(version) FROM svirt_schema").scalar() or 0)


def _prepared(connection: t.Any, _record: t.Any) -> None:
    """Set a new connection of SQLite up. It begins transactions as it is told to, not as its driver guesses."""
    connection.isolation_level = None
    for pragma in ("foreign_keys = ON", "synchronous = FULL", "journal_mode = DELETE", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {pragma}")


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        # The URL itself may hold a password, so it is not shown.
        raise StoreError(
            f"the store's URL cannot be understood ({type(error).__name__}); write it as {DEFAULT_URL} or "
            "postgresql://USER@HOST/DATABASE, with the password in ~/.pgpass"
        ) from None
    if backend not in _migrations.DIALECTS or parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise StoreError(f"the store's URL names {parsed.drivername}; only sqlite and postgresql are known")
    return parsed


def _short(error: BaseException | None) -> str:
    """The first line of what a driver says; none of ours say anything secret there."""
    text = str(error).strip()
    return (text.splitlines() or [type(error).__name__])[0][:300]
