# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import decode_snapshot, encode
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.fleets import guest, host

NAMES = [
    "kvm1",
    "KVM1",
    "a/b",
    "../../etc/passwd",
    ".",
    "..",
    ".hidden",
    "name with spaces\n",
    "é",
    "\udcff",
    "%2E",
    "x" * 1024,
]


def why(folder: Path, oldest: float = 0.0) -> str:
    reading = _snapshots.read(folder, "kvm1", oldest)
    assert isinstance(reading, _snapshots.Unread)
    return reading.why


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_one_file_in_the_folder(tmp_path: Path, name: str) -> None:
    path = _snapshots.write_snapshot(tmp_path, name, encode(host(name)))
    assert path.parent == tmp_path
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert not path.name.startswith(".")
    assert _snapshots.read(tmp_path, name) == decode_snapshot(encode(host(name)))


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_are_different_files(one: str, other: str) -> None:
    assert (_snapshots.path_of("f", one) == _snapshots.path_of("f", other)) == (one == other)


def test_long_names_that_begin_alike_are_different_files() -> None:
    assert _snapshots.path_of("f", "x" * 300) != _snapshots.path_of("f", "x" * 301)


def test_a_snapshot_takes_the_place_of_the_record_before_it(tmp_path: Path) -> None:
    _snapshots.write_unread(tmp_path, "kvm1", "the probe did not finish", 1.0)
    assert why(tmp_path) == "the probe did not finish"
    written = host("kvm1", [guest("a", "s0:c1,c2")])
    path = _snapshots.write_snapshot(tmp_path, "kvm1", encode(written))
    assert _snapshots.read(tmp_path, "kvm1") == written
    assert path.stat().st_mode & 0o077 == 0
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_reason_is_bounded(tmp_path: Path) -> None:
    _snapshots.write_unread(tmp_path, "kvm1", "x" * 10_000, 1.0)
    assert len(why(tmp_path)) == _snapshots.MAX_WHY


def test_a_missing_file_is_unread(tmp_path: Path) -> None:
    assert "was not probed" in why(tmp_path / "nowhere")


def test_an_old_file_is_unread_whatever_it_says_of_its_time(tmp_path: Path) -> None:
    path = _snapshots.write_snapshot(tmp_path, "kvm1", encode(host("kvm1", taken_at=9e9)))
    os.utime(path, (1000.0, 1000.0))
    assert "60 s older" in why(tmp_path, 1060.0)
    assert not isinstance(_snapshots.read(tmp_path, "kvm1", 999.0), _snapshots.Unread)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "schema is 'list'"),
        (b'{"schema": "svirt.fleet/snapshot/2"}', "svirt.fleet/snapshot/2"),
        (b'{"schema": "svirt.fleet/snapshot/1"}', "is missing"),
        (b'{"schema": "svirt.fleet/unread/1"}', "no reason was given"),
        (b'{"schema": "svirt.fleet/unread/1", "why": ["x"]}', "x"),
    ],
)
def test_what_is_no_snapshot_is_unread(tmp_path: Path, content: bytes, told: str) -> None:
    _snapshots.path_of(tmp_path, "kvm1").write_bytes(content)
    assert told in why(tmp_path)


def test_a_folder_in_its_place_is_unread(tmp_path: Path) -> None:
    _snapshots.path_of(tmp_path, "kvm1").mkdir()
    assert "cannot be read" in why(tmp_path)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _snapshots.write_json(tmp_path / "report.json", {"verdict": "fail"})

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        _snapshots.write_json(path, {"verdict": "pass"})
    assert json.loads(path.read_text()) == {"verdict": "fail"}
    assert len(list(tmp_path.iterdir())) == 1
