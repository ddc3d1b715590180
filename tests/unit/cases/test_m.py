# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The ledger at its edges: lost answers, wrong clocks, damaged files, hostile text. tests/store has PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import typing as t
from pathlib import Path

import pytest
import sqlalchemy as sa
from ansible.errors import AnsibleError
from ansible_collections.svirt.fleet.plugins.action import (
    category_allocation,
    category_allocation_info,
    fleet_analysis,
    fleet_store,
)
from ansible_collections.svirt.fleet.plugins.module_utils import _module
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import clock
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_domains import parse_domains
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import QUARANTINED, RELEASED, RESERVED
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.operations import FleetRead
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.static_labels import LabelRequest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.text import visible, visible_text
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import StoreError
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.plugin_utils import _ledger, _snapshots, _sqlite_file, _store
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from tests.unit.support import actions
from tests.unit.support.errors import raised
from tests.unit.support.fleets import PROCESS, host
from tests.unit.support.fleets import guest as seen
from tests.unit.support.labels import guest, use, uuid

DAY = clock.DAY
YEAR = 365 * DAY
START = 1_700_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


@pytest.fixture
def store(file: Path) -> t.Iterator[Store]:
    opened = Store(f"sqlite:///{file}", patience=0.3)
    yield opened
    opened.close()


def fleet(*numbers: int) -> FleetRead:
    uses = [use("kvm1", *(guest(number) for number in numbers))]
    return FleetRead(["kvm1"], uses, named=parse_domains([{"name": "prod", "hosts": ["kvm1"]}]))


def reserve(store: Store, *numbers: int, now: float = START, **arguments: t.Any) -> t.Any:
    return _ledger.reserve(store, fleet(*numbers), LabelRequest(), now, **arguments)


def states(store: Store) -> dict[str, str]:
    return {row.uuid: row.state for row in _ledger.listing(store).labels}


def fail_at_commit(monkeypatch: pytest.MonkeyPatch, written: bool, dead: bool = False) -> None:
    """The next COMMIT gives no answer. ``written``: it took effect. ``dead``: the database does not answer again."""
    commit = sa.Connection.commit
    lost = OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    def refused(_engine: sa.Engine) -> sa.Connection:
        raise OperationalError("connect", {}, Exception("connection refused"))

    def failing(connection: sa.Connection) -> None:
        monkeypatch.setattr(sa.Connection, "commit", commit)
        if written:
            commit(connection)
        if dead:
            monkeypatch.setattr(sa.Engine, "connect", refused)
        raise lost

    monkeypatch.setattr(sa.Connection, "commit", failing)


# -- M1: COMMIT without an answer --------------------------------------------------------------------------------------


def test_m1_a_commit_that_was_written_counts_as_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve(store, 1)
    fail_at_commit(monkeypatch, written=True)
    result = reserve(store, *range(1, 36))
    assert (len(result.changes), len(states(store))) == (34, 35)
    assert "the transaction was written" in result.warnings[0]
    assert reserve(store, *range(1, 36)).changes == []


def test_m1_a_commit_that_was_not_written_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve(store, 1)
    fail_at_commit(monkeypatch, written=False)
    with pytest.raises(StoreError, match="Nothing was written"):
        reserve(store, 1, 2)
    assert list(states(store)) == [uuid(1)]


@pytest.mark.parametrize("written", [True, False])
def test_m1_what_is_not_known_is_said_to_be_not_known(
    store: Store, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    reserve(store, 1)
    with monkeypatch.context() as patch:
        fail_at_commit(patch, written=written, dead=True)
        with pytest.raises(StoreError) as caught:
            reserve(store, 1, 2)
    assert caught.value.code == "commit_unknown"
    assert "othing was written" not in str(caught.value)
    assert "1 steps" in str(caught.value)
    assert (len(states(store)) == 2) is written


def test_m1_ids_of_transactions_are_few(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "_COMMITS", 3)
    monkeypatch.setattr(_store, "_PRUNE", 1)
    for number in range(8):
        reserve(store, number)
    with store.look() as transaction:
        assert transaction.rows("SELECT count(*) FROM svirt_commits") == [(3,)]


# -- M2: clocks --------------------------------------------------------------------------------------------------------


def quarantined(store: Store) -> None:
    """Guest 1 has a label in quarantine since START."""
    reserve(store, 1)
    _ledger.observe(store, fleet(), 30, START)
    assert states(store) == {uuid(1): QUARANTINED}


@pytest.mark.parametrize("ahead", [31 * DAY, YEAR, 10 * YEAR, 1e12])
@pytest.mark.parametrize("operation", ["observe", "release"])
def test_m2_a_clock_far_ahead_releases_nothing(store: Store, operation: str, ahead: float) -> None:
    quarantined(store)
    reserve(store, 2)
    for _run in range(3):
        if operation == "observe":
            result = _ledger.observe(store, fleet(), 30, START + ahead)
        else:
            result = _ledger.release(store, set(), {uuid(2)}, 0, START + ahead)
        assert [entry.reason.code for entry in result.refused] == ["clock_ahead"]
        assert "confirm_clock: true" in result.warnings[0]
        assert states(store) == {uuid(1): QUARANTINED, uuid(2): RESERVED}
    reserve(store, 2, now=START + ahead)
    assert _ledger.observe(store, fleet(2), 30, START + ahead).changes == [], "no other operation moves the clock"
    assert _ledger.observe(store, fleet(2), 30, START + DAY).refused == [], "and a clock set right is right at once"


def test_m2_an_operator_can_confirm_the_clock(store: Store) -> None:
    quarantined(store)
    result = _ledger.observe(store, fleet(), 30, START + YEAR, confirm_clock=True)
    assert (result.refused, states(store)) == ([], {uuid(1): RELEASED})
    assert _ledger.observe(store, fleet(), 30, START + YEAR + DAY).refused == []


def test_m2_a_clock_that_was_confirmed_wrongly_is_reported_and_ends_nothing_early(store: Store) -> None:
    reserve(store, 1, 2)
    _ledger.observe(store, fleet(1, 2), 30, START)
    _ledger.observe(store, fleet(1, 2), 30, START + 10 * YEAR, confirm_clock=True)
    result = _ledger.observe(store, fleet(2), 30, START + DAY)
    assert [entry.reason.code for entry in result.refused] == ["clock_behind"]
    assert _ledger.observe(store, fleet(2), 30, START + 40 * DAY).changes == []
    again = _ledger.observe(store, fleet(2), 30, START + 40 * DAY, confirm_clock=True)
    assert again.refused == []


def test_m2_a_quarantine_of_usual_length_ends(store: Store) -> None:
    quarantined(store)
    for day in range(29):
        _ledger.observe(store, fleet(), 30, START + day * DAY)
        assert states(store) == {uuid(1): QUARANTINED}
    _ledger.observe(store, fleet(), 30, START + 30 * DAY)
    assert states(store) == {uuid(1): RELEASED}


def test_m2_a_snapshot_of_a_clock_far_ahead_is_not_the_newest_for_ever(tmp_path: Path) -> None:
    write_host(tmp_path, "kvm1", seen(uuid(1), "s0:c1,c2"))
    path = _snapshots.path_of(tmp_path / "snapshots", "kvm1")
    url, future = f"sqlite:///{tmp_path / 'fleet.db'}", path.stat().st_mtime + 10 * YEAR
    arguments: dict[str, t.Any] = {"store": url, "hosts": ["kvm1"], "snapshots": str(tmp_path / "snapshots")}
    store = Store(url)
    with store.write() as transaction:
        transaction.keep([_store.Stored("kvm1", 1.0, future, b"of a clock that was ahead")])
    with store.look() as transaction:
        assert isinstance(_snapshots.read_stored(transaction, "kvm1", 0.0), _snapshots.Unread)
    assert actions.run(fleet_store, **arguments)["stored"] == ["kvm1"]
    store.close()
    os.utime(path, (future, future))
    assert list(actions.run(fleet_store, **arguments)["unread"]) == ["kvm1"]


@given(st.lists(st.tuples(st.floats(-20 * YEAR, 20 * YEAR), st.booleans()), max_size=12))
def test_m2_no_sequence_of_clocks_ends_a_quarantine_before_the_bound(jumps: list[tuple[float, bool]]) -> None:
    """Whatever unconfirmed clocks say, time passes by at most the bound for each writer."""
    latest: float | None = START
    for number, (jump, _write) in enumerate(jumps):
        time = clock.ledger_time(latest, START + jump)
        assert time.now <= START + (number + 1) * clock.BOUND
        assert time.start >= START
        latest = latest if time.latest is None else time.latest
        assert latest is not None
        assert latest >= START


# -- M3: who may read the file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_m3_a_new_file_is_its_owners_alone(file: Path, store: Store, umask: int) -> None:
    before = os.umask(umask)
    try:
        reserve(store, 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(("mode", "after"), [(0o644, 0o600), (0o604, 0o600), (0o666, 0o660), (0o640, 0o600)])
def test_m3_a_file_that_others_can_use_is_narrowed_and_reported(
    file: Path, store: Store, mode: int, after: int
) -> None:
    reserve(store, 1)
    file.chmod(mode)
    listed = _ledger.listing(store)
    assert stat.S_IMODE(file.stat().st_mode) == mode, "who only looks changes nothing"
    assert f"has mode {mode:04o}" in listed.warnings[0]
    result = reserve(store, 2)
    assert stat.S_IMODE(file.stat().st_mode) == after
    assert f"had mode {mode:04o}" in "".join(result.warnings)


def test_m3_a_mode_that_cannot_be_narrowed_is_reported(
    file: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve(store, 1)
    file.chmod(0o644)

    def refused(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    assert "stays so: Operation not permitted" in _sqlite_file.narrow(file)


# -- M5: files and rows that are not what was written ------------------------------------------------------------------


def every_operation(store: Store) -> t.Iterator[t.Callable[[], t.Any]]:
    yield lambda: reserve(store, 1)
    yield lambda: reserve(store, 1, check=True)
    yield lambda: _ledger.observe(store, fleet(1), 30, START)
    yield lambda: _ledger.publish(store, set(), set(), START)
    yield lambda: _ledger.release(store, {"kvm1"}, set(), 30, START)
    yield lambda: _ledger.listing(store)
    yield lambda: _ledger.repair(store, fleet(1), LabelRequest(), START)
    yield lambda: _ledger.repair(store, fleet(1), LabelRequest(), START, settle=True)
    yield lambda: _ledger.ledger_rows(f"sqlite:///{store.file}")


def refused_by_all(store: Store, *names: object) -> set[str]:
    """The codes of what each operation says of the store, with these names; it may fail by StoreError only."""
    codes = set()
    for operate in every_operation(store):
        with pytest.raises(StoreError) as caught:
            operate()
        assert [str(name) for name in names if str(name) not in str(caught.value)] == []
        codes.add(caught.value.code)
    return codes


def test_m5_an_empty_file_is_refused_by_name(file: Path, store: Store) -> None:
    file.touch()
    assert refused_by_all(store, file) == {"store_empty"}
    assert file.stat().st_size == 0


@pytest.mark.parametrize("target", ["away/fleet.db", "fleet.db", "link"])
def test_m5_a_link_to_nowhere_is_no_new_store(file: Path, target: str) -> None:
    place = file.parent / "folder"
    place.mkdir()
    link = place / "link"
    link.symlink_to(target)
    attempts: tuple[t.Callable[[], t.Any], ...] = (
        lambda: _store.try_out(f"sqlite:///{link}"),
        lambda: Store(f"sqlite:///{link}").run(lambda _transaction: None),
        lambda: Store(f"sqlite:///{link}").run(lambda _transaction: None, keep=False),
        lambda: Store(f"sqlite:///{link}").demand(),
    )
    for attempt in attempts:
        with pytest.raises(StoreError) as caught:
            attempt()
        assert caught.value.code == "store_missing"
        assert f"a link to {target}" in str(caught.value)
        assert list(place.iterdir()) == [link]


def test_m5_a_link_to_a_store_is_the_store(file: Path, store: Store) -> None:
    with store.write():
        pass
    link = file.parent / "link"
    link.symlink_to(file)
    _store.try_out(f"sqlite:///{link}", must_exist=True)
    other = Store(f"sqlite:///{link}")
    assert other.run(lambda transaction: transaction.rows("SELECT count(*) FROM svirt_labels")) == [(0,)]
    other.close()
    assert link.is_symlink()


def test_m5_a_database_of_another_program_is_refused_by_name(file: Path, store: Store) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE moz_places (id INTEGER)")
    connection.close()
    before = file.read_bytes()
    assert refused_by_all(store, file, "moz_places") == {"store_foreign"}
    assert file.read_bytes() == before


def test_m5_a_database_without_tables_is_refused_by_name(file: Path, store: Store) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE x (id INTEGER)")
        connection.execute("DROP TABLE x")
    connection.close()
    assert refused_by_all(store, file) == {"store_foreign"}


@pytest.mark.parametrize("content", [b"x", b"no database" * 1000, b"\0" * 8192, b"SQLite format 3\0"])
def test_m5_a_file_that_is_no_database_is_refused_by_name(file: Path, store: Store, content: bytes) -> None:
    file.write_bytes(content)
    assert refused_by_all(store, file) <= {"store_damaged", "store_foreign"}
    assert file.read_bytes() == content


@pytest.mark.parametrize("cut", [1, 512, 4096, 5000, 20_000])
def test_m5_a_file_that_was_cut_off_is_refused_by_name(file: Path, store: Store, cut: int) -> None:
    reserve(store, *range(200))
    store.close()
    content = file.read_bytes()
    file.write_bytes(content[:-cut])
    other = Store(f"sqlite:///{file}", patience=0.2)
    assert refused_by_all(other, file) == {"store_damaged"}
    other.close()


DAMAGES = {
    "level unreadable": ("UPDATE svirt_labels SET level = 'sO:c1' WHERE rank = 0", "svirt_labels"),
    "level of another guest": (
        "UPDATE svirt_labels SET level = (SELECT level FROM svirt_labels WHERE rank = 1) WHERE rank = 0",
        "svirt_labels",
    ),
    "level with a control character": (
        "UPDATE svirt_labels SET level = level || char(0) WHERE rank = 0",
        "svirt_labels",
    ),
    "level is a blob": ("UPDATE svirt_labels SET level = x'ff00' WHERE rank = 0", "svirt_labels"),
    "level not decodable": ("UPDATE svirt_labels SET level = CAST(x'ff' AS TEXT) WHERE rank = 0", "svirt_labels"),
    "name not decodable": ("UPDATE svirt_labels SET name = CAST(x'ff' AS TEXT) WHERE rank = 0", "svirt_labels"),
    "rank is a text": ("UPDATE svirt_labels SET rank = 'zero' WHERE rank = 0", "svirt_labels"),
    "rank below zero": ("UPDATE svirt_labels SET rank = -5 WHERE rank = 0", "svirt_labels"),
    "rank beyond the code": ("UPDATE svirt_labels SET rank = 9000000000000 WHERE rank = 0", "svirt_labels"),
    "rank of another label": ("UPDATE svirt_labels SET rank = 77 WHERE rank = 0", "svirt_labels"),
    "quarantine without end": ("UPDATE svirt_labels SET state = 'quarantined' WHERE rank = 0", "svirt_labels"),
    "end without quarantine": ("UPDATE svirt_labels SET until = 1.0 WHERE rank = 0", "svirt_labels"),
    "end is a text": ("UPDATE svirt_labels SET state = 'quarantined', until = 'soon' WHERE rank = 0", "svirt_labels"),
    "code is no JSON": ("UPDATE svirt_domains SET code = '{'", "svirt_domains"),
    "code without bands": ("UPDATE svirt_domains SET code = '{}'", "svirt_domains"),
    "code with overlapping bands": (
        """UPDATE svirt_domains SET code = '{"bands": [[0, 9], [0, 9], [0, 9], [0, 9]], "dynamic": [20, 9]}'""",
        "svirt_domains",
    ),
    "code is a list": ("UPDATE svirt_domains SET code = '[]'", "svirt_domains"),
    "code deeply nested": ("UPDATE svirt_domains SET code = replace(hex(zeroblob(50000)), '0', '[')", "svirt_domains"),
    "number of a tenant": ("UPDATE svirt_tenants SET number = 'x'", "svirt_tenants"),
    "range upside down": ("INSERT INTO svirt_ranges VALUES ('prod', 0, 'kvm1', 90, 20)", "svirt_ranges"),
    "range beyond c1023": ("INSERT INTO svirt_ranges VALUES ('prod', 0, 'kvm1', 1000, 1063)", "svirt_ranges"),
    "host's domain is a number": ("UPDATE svirt_hosts SET domain = x'00'", "svirt_hosts"),
    "clock is a text": ("UPDATE svirt_clock SET latest = 'now'", "svirt_clock"),
    "clock is infinite": ("UPDATE svirt_clock SET latest = 9e999", "svirt_clock"),
    "row of a domain that is gone": ("DELETE FROM svirt_domains", "svirt_labels"),
    "table is missing": ("DROP TABLE svirt_tenants", "svirt_tenants"),
    "schema without version": ("DELETE FROM svirt_schema", "svirt_schema"),
    "schema with two versions": ("INSERT INTO svirt_schema VALUES (3)", "svirt_schema"),
    "version is a text": ("UPDATE svirt_schema SET version = 'three'", "svirt_schema"),
    "version below one": ("UPDATE svirt_schema SET version = -1", "svirt_schema"),
    "schema table is missing": ("DROP TABLE svirt_schema", "svirt_schema"),
    "newer version": ("UPDATE svirt_schema SET version = 99", "update the collection"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_m5_a_damaged_row_is_refused_by_file_and_row(file: Path, store: Store, damage: str) -> None:
    reserve(store, 1, 2)
    store.close()
    statement, named = DAMAGES[damage]
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(statement)
    connection.close()
    before = file.read_bytes()
    more = [uuid(1)] if named == "svirt_labels" else []
    refused_by_all(store, file, named, *more)
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"x", b"\x78\x9c\x03\x00", None])
def test_m5_a_damaged_memory_of_a_host_is_refused_by_file_and_host(
    file: Path, store: Store, content: bytes | None
) -> None:
    reserve(store, 1)
    store.close()
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        value = "its text" if content is None else content
        connection.execute("UPDATE svirt_hosts SET sets = ?", [value])
    connection.close()
    unread = FleetRead(["kvm1"], unread={"kvm1": "down"}, named=parse_domains([{"name": "prod", "hosts": ["kvm1"]}]))
    with raised("row_damaged", file, "svirt_hosts", "kvm1"):
        _ledger.reserve(store, unread, LabelRequest(), START)


@settings(max_examples=40)
@given(data=st.data())
def test_m5_no_flipped_bytes_end_in_anything_but_an_answer_or_a_store_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = tmp_path_factory.mktemp("flip") / "fleet.db"
    store = Store(f"sqlite:///{file}", patience=0.2)
    reserve(store, *range(6))
    before = {row.uuid: row.level for row in _ledger.listing(store).labels}
    store.close()
    content = bytearray(file.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    damaged = Store(f"sqlite:///{file}", patience=0.2)
    try:
        after = {row.uuid: row.level for row in _ledger.listing(damaged).labels}
        assert all(before.get(own) in (level, None) for own, level in after.items())
        _ledger.observe(damaged, fleet(*range(6)), 30, START)
    except StoreError as error:
        message = str(error)
    else:
        message = str(file)
    damaged.close()
    assert str(file) in message


# -- M6: text of guests in results and diffs ---------------------------------------------------------------------------


@given(st.text())
def test_m6_cleaned_text_draws_what_it_holds(text: str) -> None:
    shown = visible_text(text)
    assert all(character.isprintable() or character in "\t\n" for character in shown)
    assert visible_text(shown) == shown


def test_m6_all_texts_of_a_result_are_cleaned() -> None:
    hostile = "\x1b[2Jweb\u202egpj\x00\udcff"
    value = {hostile: [hostile, {"a": (hostile, 1, None, True)}], "n": 1.5}
    shown = repr(visible(value))
    assert "\\x1b[2J" in shown
    assert not any(mark in shown for mark in ("\x1b", "\u202e", "\x00", "\udcff"))
    assert visible({"n": 1.5, "b": True, "none": None}) == {"n": 1.5, "b": True, "none": None}
    assert visible("C:\\a\n\tb\\\\c") == "C:\\a\n\tb\\\\c"


class Exits:
    """An AnsibleModule that keeps what it would print, and exits as one does."""

    params: t.ClassVar[dict[str, t.Any]] = {"strict": True}

    def __init__(self) -> None:
        self.printed: dict[str, t.Any] = {}

    def exit_json(self, **values: t.Any) -> t.NoReturn:
        self.printed = values
        raise SystemExit

    fail_json = exit_json


def printed(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """What a module prints that finishes with a result."""
    module = Exits()
    with pytest.raises(SystemExit):
        _module.finish(t.cast("t.Any", module), result)
    return module.printed


def test_m6_modules_show_no_raw_control_text_either() -> None:
    hostile = "web\x1b[2J\u202egpj"
    result = {"changed": True, "diff": [{"before": "", "after": f"\t<name>{hostile}</name>\n"}]}
    assert printed(result)["diff"] == [{"before": "", "after": "\t<name>web\\x1b[2J\\u202egpj</name>\n"}]
    assert printed({"refused": [{"subject": hostile, "why": "no"}]})["msg"] == "web\\x1b[2J\\u202egpj: no (1 refused)"


def test_m6_a_diff_shows_no_raw_control_text(tmp_path: Path) -> None:
    hostile = "web\x1b[2J\u202egpj\nkvm1: s0"
    write_host(tmp_path, "kvm1", seen(uuid(1), "s0:c1,c2", name=hostile))
    arguments: dict[str, t.Any] = {
        "snapshots": str(tmp_path / "snapshots"),
        "store": f"sqlite:///{tmp_path / 'fleet.db'}",
    }
    result = actions.run(category_allocation, diff=True, operation="reserve", hosts=["kvm1"], **arguments)
    assert len(result["diff"]["after"].splitlines()) == 1
    listed = actions.run(category_allocation_info, store=arguments["store"])
    for text in (repr(result["diff"]), str(result), str(listed), result["diff"]["after"], result["plan"][0]["subject"]):
        assert not any(mark in text for mark in ("\x1b", "\u202e"))
    with pytest.raises(AnsibleError) as caught:
        actions.run(category_allocation, operation="reserve", hosts=["kvm1"], default_tenant=hostile, **arguments)
    assert not any(mark in str(caught.value) for mark in ("\x1b", "\u202e"))


# -- M7: labels that hardening assigns ---------------------------------------------------------------------------------


TWIN = "s0:c33,c287,c528,c976"
LIBVIRT = s.Libvirt(installed=True, models=[s.SecurityModel("selinux", baselabels={"kvm": PROCESS + "s0"})])


def write_host(folder: Path, name: str, *guests: s.Guest) -> None:
    _snapshots.write_snapshot(folder / "snapshots", name, encode(host(name, guests, libvirt=LIBVIRT)))


def twin(number: int, level: str = TWIN) -> s.Guest:
    """A running guest with a static label."""
    labels = [s.SecLabel("selinux", "static", relabel=True, label=PROCESS + level)]
    return seen(uuid(number), level, persistent_labels=labels)


def survey(folder: Path, cycle: t.Sequence[int], **arguments: t.Any) -> tuple[dict[str, t.Any], dict[str, str]]:
    """The task's result, and labels by uuid that hardening is to set."""
    path = folder / "fresh.json"
    values = {
        "snapshots": str(folder / "snapshots"),
        "hosts": ["kvm1"],
        "report": str(folder / "report.json"),
        "fresh_labels": str(path),
        "store": f"sqlite:///{folder / 'fleet.db'}",
        "power_cycle": [uuid(number) for number in cycle],
    }
    result = actions.run(fleet_analysis, **{**values, **arguments})
    fresh = json.loads(path.read_text())
    return result, {order["guest"]: order["label"] for order in fresh["kvm1"]}


def test_m7_a_label_of_hardening_is_reserved_in_the_ledger(tmp_path: Path, store: Store) -> None:
    reserve(store, 9)
    write_host(tmp_path, "kvm1", twin(1), twin(2), seen(uuid(9), "s0:c1,c2"))
    checked, foretold = survey(tmp_path, [2], check=True)
    assert (checked["changed"], list(states(store))) == (True, [uuid(9)])
    result, labels = survey(tmp_path, [2])
    row = {row.uuid: row for row in _ledger.listing(store).labels}[uuid(2)]
    assert labels == foretold == {uuid(2): PROCESS + row.level}
    assert (row.state, [step["action"] for step in result["reserved"]]) == (RESERVED, ["reserve"])
    again, same = survey(tmp_path, [2])
    assert (again["changed"], same) == (False, labels)


def test_m7_a_label_of_the_ledger_is_no_other_guests(tmp_path: Path, store: Store) -> None:
    write_host(tmp_path, "kvm1", twin(1), twin(2))
    _result, alone = survey(tmp_path, [2])
    assert not (tmp_path / "fleet.db").exists(), "no ledger is created"
    level = alone[uuid(2)].removeprefix(PROCESS)
    held = guest(8, defined=level.removeprefix("s0:"))
    everywhere = FleetRead(["kvm1"], [use("kvm1", held)], named=parse_domains([{"name": "prod", "hosts": ["kvm1"]}]))
    _ledger.reserve(store, everywhere, LabelRequest(), START)
    domains = [{"name": "prod", "hosts": ["kvm1"]}]
    _result, labels = survey(tmp_path, [2], domains=domains)
    assert labels[uuid(2)] != alone[uuid(2)]
    _result, labels = survey(tmp_path, [2], store=None, ledger=f"sqlite:///{tmp_path / 'fleet.db'}")
    assert labels[uuid(2)] != alone[uuid(2)]


def test_m7_ranges_are_left_alone(tmp_path: Path, store: Store) -> None:
    reserve(store, 9)
    write_host(tmp_path, "kvm1", twin(1), twin(2))
    domains = [{"name": "fast", "hosts": ["kvm1"], "strategy": "range"}]
    result, labels = survey(tmp_path, [2], domains=domains)
    assert (result["changed"], labels) == (False, {})
    assert survey(tmp_path, [2], strategy="range")[1] == {}


def test_m7_a_damaged_ledger_stops_hardening(tmp_path: Path) -> None:
    (tmp_path / "fleet.db").touch()
    write_host(tmp_path, "kvm1", twin(1), twin(2))
    with pytest.raises(AnsibleError, match="is an empty file"):
        survey(tmp_path, [2])


def test_m1_snapshots_of_earlier_transactions_are_not_called_unwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_store, "_AT_A_TIME", 1)
    for name in ("kvm1", "kvm2"):
        write_host(tmp_path, name)
    commits = iter([False, True])
    commit = sa.Connection.commit

    def failing(connection: sa.Connection) -> None:
        if next(commits):
            raise OperationalError("COMMIT", {}, Exception("disk is full"))
        commit(connection)

    monkeypatch.setattr(sa.Connection, "commit", failing)
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    with pytest.raises(AnsibleError, match="1 snapshots of earlier transactions of this task were stored") as caught:
        actions.run(fleet_store, store=url, hosts=["kvm1", "kvm2"], snapshots=str(tmp_path / "snapshots"))
    assert "Nothing was written" not in str(caught.value)
