# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the cache is whole: half of something, or what a killed run left, is never taken for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.cache import obtain

ROOT = Path(__file__).resolve().parents[3]
#: Begins to make something, says so, and is killed in the middle.
HALF = """
import sys, time
from tests.lab.cache import obtain
def make(target, scratch):
    target.mkdir()
    (target / "half").touch()
    print("begun", flush=True)
    time.sleep(600)
obtain("thing", make)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "svirt-fleet"


def whole(target: Path, _scratch: Path) -> None:
    target.mkdir()
    (target / "whole").touch()


def test_it_is_created_once(folder: Path) -> None:
    first = obtain("thing", whole)
    again = obtain("thing", lambda target, scratch: pytest.fail("it is there"))
    assert first == again == folder / "thing"
    assert [each.name for each in first.iterdir()] == ["whole"]


def test_what_could_not_be_created_leaves_nothing(folder: Path) -> None:
    def broken(target: Path, scratch: Path) -> None:
        target.mkdir()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        obtain("thing", broken)
    assert [each.name for each in folder.iterdir()] == ["thing.lock"]
    assert obtain("thing", whole).is_dir()


def test_run_that_was_killed_neither_blocks_the_next_nor_is_taken_for_whole(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HALF], cwd=ROOT, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"begun\n"
        killed.kill()
    left = [each for each in folder.iterdir() if "tmp" in each.name]
    assert left, "a run that is killed cannot clean up"
    assert [each.name for each in obtain("thing", whole).iterdir()] == ["whole"]
    assert not [each for each in left if each.exists()]


def test_two_runs_at_once_make_it_once(folder: Path) -> None:
    program = HALF.replace("time.sleep(600)", "time.sleep(1)")
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"begun\n"
        found = obtain("thing", lambda target, scratch: pytest.fail("another run makes it"))
        assert [each.name for each in found.iterdir()] == ["half"]
    assert first.returncode == 0
