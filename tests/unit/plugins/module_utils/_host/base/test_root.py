# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.root import Root, label_of, reason

from tests.unit.support.errors import raised

ROOT = Root()


def test_a_file_above_the_bound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 2000)
    path = str(tmp_path / "big")
    assert len(ROOT.read_bytes(path, 2000)) == 2000
    with raised("too_large", path, 1999):
        ROOT.read_bytes(path, 1999)
    assert ROOT.peek(path, 10) == b"x" * 10


def test_a_fifo_in_a_files_place_does_not_hold_the_reader_up(tmp_path: Path) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    assert ROOT.read_bytes(path) == b""
    assert ROOT.line(path) == ""


def test_a_line_is_what_there_is_or_none(tmp_path: Path) -> None:
    (tmp_path / "two").write_text(" first \nsecond\n")
    assert ROOT.line(str(tmp_path / "two")) == "first"
    assert ROOT.line(str(tmp_path / "none")) is None
    assert ROOT.names(str(tmp_path / "none")) == []
    with pytest.raises(FileNotFoundError):
        ROOT.listdir(str(tmp_path / "none"))


def test_names_that_are_no_text_can_be_used_again(tmp_path: Path) -> None:
    name = b"caf\xe9\n"
    (Path(os.fsdecode(bytes(tmp_path) + b"/" + name))).write_text("here")
    (found,) = ROOT.listdir(str(tmp_path))
    assert os.fsencode(found) == name
    assert ROOT.read_text(f"{tmp_path}/{found}") == "here"


def test_links_are_not_taken_for_folders(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    assert sorted(ROOT.scan(str(tmp_path))) == [("folder", True), ("link", False)]
    assert ROOT.exists(str(tmp_path / "link"))


def test_an_attribute_that_is_not_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert ROOT.getxattr(str(tmp_path / "file"), "user.none") is None
    assert "user.none" not in ROOT.listxattr(str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError):
        ROOT.getxattr(str(tmp_path / "none"), "user.none")


def test_labels_and_reasons() -> None:
    assert label_of(b"system_u:object_r:x_t:s0\0") == "system_u:object_r:x_t:s0"
    assert label_of(None) is None
    assert label_of(b"\0") is None
    assert reason(PermissionError(13, "Permission denied", "/x")) == "/x: Permission denied"
    assert reason(ValueError("a" * 1000)) == "a" * 500
    assert reason(ValueError()) == "ValueError"
