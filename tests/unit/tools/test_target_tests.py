# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The unit tests that run on the oldest Python of a host: which, and what they find there."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import environment, target_tests
from tests.tools.running import NOT_RUN

ROOT = Path(__file__).resolve().parents[3]
PLUGINS = ROOT / "plugins"
PREFIX = ("ansible_collections", "svirt", "fleet", "plugins")


def imported(path: Path) -> Iterator[Path]:
    """Files of the collection that a file of it imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        words = tuple((node.module or "").split(".")) if node.module else ()
        if node.level:
            words = (*path.relative_to(PLUGINS).parts[: -node.level], *words)
        elif words[:4] == PREFIX:
            words = words[4:]
        else:
            continue
        place = PLUGINS.joinpath(*words)
        yield from (each for each in (place, *(place / name.name for name in node.names)))


def sent() -> set[Path]:
    """What modules and the watch's program take with them to a host, themselves included."""
    found: set[Path] = set()
    left = [*(PLUGINS / "modules").glob("*.py"), *(PLUGINS / "module_utils" / "_watch").glob("*.py")]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += [each.with_suffix(".py") for each in imported(path) if each.with_suffix(".py").is_file()]
    return found


def test_tests_of_all_that_hosts_are_sent_are_among_them() -> None:
    subjects = {path.relative_to(PLUGINS) for path in sent()}
    assert {Path("module_utils/_core/snapshot/model.py"), Path("module_utils/_host/base/root.py")} < subjects
    chosen = [ROOT / name for name in target_tests.TESTS]
    tested = [ROOT / "tests/unit/plugins" / each.with_name(f"test_{each.name}") for each in subjects]
    there = [path for path in tested if path.exists()]
    assert len(there) > 50
    left_out = [str(path) for path in there if not any(path == each or each in path.parents for each in chosen)]
    assert left_out == []


def test_all_of_them_are_there(tmp_path: Path) -> None:
    assert [name for name in (*target_tests.TESTS, *target_tests.CONTROLLER) if not (ROOT / name).exists()] == []


def test_they_find_what_a_host_is_sent_of_ansible(tmp_path: Path) -> None:
    for _again in range(2):
        package = target_tests.target_ansible(tmp_path) / "ansible"
    assert {path.name for path in package.iterdir()} == {"__init__.py", "module_utils"}
    assert (package / "module_utils" / "basic.py").is_file()


def test_they_are_not_run_without_that_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "BUILD", tmp_path / "build")
    assert target_tests.main([]) == NOT_RUN


def test_python_of_one_environment_is_found_among_pyenvs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "versions" / "3.9.0" / "bin"
    place.mkdir(parents=True)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.single("python-of-a-test") is None
    (place / "python-of-a-test").symlink_to(sys.executable)
    found = environment.single("python-of-a-test")
    assert found is not None
    assert found.can_make_environments
