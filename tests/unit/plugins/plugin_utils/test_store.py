# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The store on SQLite. tests/store has what needs a server."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import StoreError
from ansible_collections.svirt.fleet.plugins.plugin_utils import _migrations, _store, _store_errors
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store, Stored, packed, unpacked
from sqlalchemy.exc import OperationalError

from tests.unit.support.errors import raised


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / "fleet.db"


@pytest.fixture
def store(file: Path) -> Store:
    return Store(f"sqlite:///{file}", patience=0.2)


def tables(file: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return found


def first_version(file: Path) -> None:
    """A store of version 1, with one snapshot."""
    file.parent.mkdir()
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(next(_migrations.statements("sqlite", 0)))
        connection.execute("CREATE TABLE svirt_schema (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO svirt_schema VALUES (1)")
        connection.execute("INSERT INTO svirt_snapshots VALUES ('kvm1', 1.0, 2.0, x'00')")
    connection.close()


def test_looking_makes_no_file(store: Store, file: Path) -> None:
    with store.look() as transaction:
        assert transaction.received() == {}
    assert not file.exists()
    assert not file.parent.exists()


def test_writing_makes_all_tables(store: Store, file: Path) -> None:
    with store.write():
        pass
    assert tables(file) >= {"svirt_schema", "svirt_snapshots", "svirt_labels", "svirt_events", "svirt_hosts"}


def test_what_fails_leaves_nothing(store: Store, file: Path) -> None:
    def fail() -> None:
        with store.write() as transaction:
            transaction.keep([Stored("kvm1", 1.0, 2.0, b"x")])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with store.look() as transaction:
        assert transaction.received() == {}


def test_looking_leaves_nothing_even_where_it_migrates(store: Store, file: Path) -> None:
    first_version(file)
    with store.look() as transaction:
        assert transaction.rows("SELECT count(*) FROM svirt_labels") == [(0,)]
    assert tables(file) == {"svirt_schema", "svirt_snapshots"}


def test_snapshots_come_back_as_they_went(store: Store) -> None:
    with store.write() as transaction:
        transaction.keep([Stored("kvm1", 1.0, 2.0, packed(b"one"))])
        transaction.keep([Stored("kvm1", 3.0, 4.0, packed(b"two")), Stored("kvm2", 5.0, 6.0, packed(b"three"))])
    with store.look() as transaction:
        assert transaction.received() == {"kvm1": 4.0, "kvm2": 6.0}
        found = transaction.snapshot("kvm1")
        assert found is not None
        assert (found.host, found.taken_at, unpacked(found.content)) == ("kvm1", 3.0, b"two")
        assert transaction.snapshot("kvm9") is None


def test_an_older_database_is_migrated(store: Store, file: Path) -> None:
    first_version(file)
    with store.write() as transaction:
        assert transaction.received() == {"kvm1": 2.0}
        assert transaction.rows("SELECT version FROM svirt_schema") == [(_migrations.VERSION,)]
        assert transaction.rows("SELECT count(*) FROM svirt_labels") == [(0,)]


def test_a_newer_database_is_left_alone(store: Store, file: Path) -> None:
    with store.write() as transaction:
        transaction.run("UPDATE svirt_schema SET version = :version", [{"version": 99}])
    before = file.read_bytes()
    for opened in (store.write(), store.look()):
        with pytest.raises(StoreError) as caught:
            opened.__enter__()
        assert caught.value.code == "store_newer"
    assert file.read_bytes() == before


def test_a_locked_database_says_so(store: Store, file: Path) -> None:
    with store.write():
        pass
    other = Store(f"sqlite:///{file}", patience=0.2)
    with store.write(), raised("store_locked", file):
        other.write().__enter__()
    with other.write():
        pass


def test_a_file_that_is_no_database_says_so(store: Store, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"no database, though long enough to be one" * 100)
    with raised("store_damaged", file):
        store.write().__enter__()
    assert file.read_bytes().startswith(b"no database")


def test_a_damaged_database_says_so(store: Store, file: Path) -> None:
    with store.write() as transaction:
        transaction.keep([Stored(f"kvm{number}", 1.0, 2.0, packed(bytes([number]) * 5000)) for number in range(99)])
    store.close()
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    with raised("store_damaged", file):
        store.write().__enter__()


def test_a_database_that_cannot_be_written_says_so(store: Store, file: Path) -> None:
    with store.write():
        pass
    store.close()
    reading = Store(f"sqlite:///file:{file}?mode=ro&uri=true")
    with reading.look() as transaction:
        assert transaction.received() == {}
    with raised("store_read_only"), reading.write() as transaction:
        transaction.keep([Stored("kvm1", 1.0, 2.0, b"x")])


def test_a_folder_in_its_place_says_so(tmp_path: Path) -> None:
    with raised("store_unusable", tmp_path):
        Store(f"sqlite:///{tmp_path}").write().__enter__()


def test_a_folder_that_cannot_be_made_says_so() -> None:
    with raised("store_unusable", "/proc/none/fleet.db"):
        Store("sqlite:////proc/none/fleet.db").write().__enter__()


def test_a_lost_database_says_so(store: Store, file: Path) -> None:
    with raised("store_missing", file):
        store.demand()
    with store.write():
        pass
    store.demand()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("secret", "cannot be understood"),
        ("postgresql://u:secret@h:port/d", "cannot be understood"),
        ("mysql://u:secret@h/d", "names mysql"),
        ("postgresql+psycopg2://u:secret@h/d", r"names postgresql\+psycopg2"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, told: str) -> None:
    with pytest.raises(StoreError, match=told) as caught:
        Store(url)
    assert "secret" not in str(caught.value)


def test_a_password_is_never_shown() -> None:
    store = Store("postgresql://svirt:secret@127.0.0.1:1/fleet?password=secret", patience=1)
    assert store.name == "postgresql+psycopg://svirt:***@127.0.0.1:1/fleet"
    with pytest.raises(StoreError) as caught:
        store.write().__enter__()
    assert caught.value.code == "store_unreachable"
    assert "secret" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_without_sqlalchemy_the_python_and_the_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "MISSING", ImportError("No module named 'sqlalchemy'"))
    monkeypatch.setattr("sys.executable", "/opt/python")
    with raised("sqlalchemy_missing", "SQLAlchemy", "/opt/python"):
        Store("sqlite://")


def test_without_the_driver_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(StoreError, match="psycopg"):
        Store("postgresql://svirt@127.0.0.1:1/fleet").write().__enter__()


@pytest.mark.parametrize("statement", ["UPDATE svirt_events SET new = 'x'", "DELETE FROM svirt_events"])
def test_events_are_only_ever_added(store: Store, statement: str) -> None:
    with store.write() as transaction:
        transaction.run(
            "INSERT INTO svirt_events (at, domain, subject, action, old, new) VALUES (1, 'd', 's', 'a', '', :new)",
            [{"new": "n"}],
        )
    with raised("store_conflict"), store.write() as transaction:
        transaction.run(statement, [{}])


def test_what_was_never_compressed_is_told() -> None:
    with raised("store_damaged"):
        unpacked(b"no")


#: What drivers say, and the words for the operator.
WORDS = {
    "store_locked": (
        "database is locked",
        "another run has been working on it for 7 s: wait for it to end, then run again",
    ),
    "store_read_only": (
        "attempt to write a readonly database",
        "it cannot be written: run as its owner, or name a store that may be written",
    ),
    "store_damaged": (
        "file is not a database",
        (
            "it is damaged or none of ours: restore its backup, or move it away and rebuild the ledger with operation "
            "repair and repair: true"
        ),
    ),
    "store_unusable": (
        "unable to open database file",
        "see that its folder may be written and the path is a file",
    ),
    "store_conflict": (
        "UNIQUE constraint failed",
        "something else wrote it at the same time, without its lock: run again",
    ),
    "store_full": ("database or disk is full", "make room for it, then run again"),
    "store_unreachable": ("Connection refused", "see that the server runs and that the URL is right"),
}


def test_words_of_a_drivers_errors() -> None:
    """The one test of wording: all other tests assert codes."""
    for code, (said, advice) in WORDS.items():
        error = _store_errors.store_error("fleet.db", OperationalError("SELECT", {}, Exception(said)), 7.0, wrote=True)
        assert (error.code, str(error)) == (code, f"store fleet.db: {said}; {advice}. Nothing was written")
