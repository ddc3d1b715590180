# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import importlib
import typing as t
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.action import preflight
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import StoreError
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots, _store
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store

from tests.unit.support import actions
from tests.unit.support.playbooks import Run, inventory, play, refused

__all__ = ["inventory", "refused"]

PLAYBOOK = """
---
- hosts: all
  gather_facts: false
  vars:
    folder: "{{ svirt_report_dir }}"
    orders: "{{ nothing_here.at_all }}"
  tasks:
    - name: Preflight
      svirt.fleet.preflight:
        report_dir: "{{ svirt_report_dir }}"
      register: preflight
    - name: Contact hosts
      ansible.builtin.raw: "true"
"""


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.yml"
    path.write_text(PLAYBOOK)
    return path


def shown(run: Run) -> str:
    """The output in one line, without the wrapping and the escapes of the callback."""
    return " ".join(run.output.replace("\\n", " ").split())


def test_good_variables_let_the_play_go_on(book: Path, inventory: Path) -> None:
    run = play(str(book), inventory, "-e", "svirt_fail_on=never svirt_timeout=10", "-e", '{"svirt_serial": ["25%"]}')
    assert "Contact hosts" in run.output
    assert "UNREACHABLE" in run.output
    assert run.folder.is_dir()


def test_a_misspelt_name_and_a_wrong_value_end_the_run_before_a_host_is_contacted(book: Path, inventory: Path) -> None:
    run = play(str(book), inventory, "-e", "svirt_failon=critical svirt_fail_on=hihg selinux_state=enforcng")
    assert run.status != 0
    assert "did you mean svirt_fail_on?" in shown(run)
    assert "did you mean high?" in shown(run)
    assert "did you mean enforcing?" in shown(run)
    assert "3 problems before any host was contacted" in shown(run)
    assert "Contact hosts" not in run.output
    assert "UNREACHABLE" not in run.output
    assert "Traceback" not in run.output
    assert "An exception occurred" not in run.output
    assert not run.folder.exists()


def test_variables_of_the_inventory_are_checked_for_every_host(book: Path, inventory: Path) -> None:
    (inventory.parent / "host_vars").mkdir()
    (inventory.parent / "host_vars" / "down2.yml").write_text(
        "svirt_timeuot: 5\nsvirt_max_age: '{{ 60 * minutes_of_mine }}'\nsvirt_mine: 1\nsvirt_timeout: soon\n"
    )
    run = play(str(book), inventory, "-e", '{"svirt_ignore_variables": ["svirt_mine"]}')
    assert run.status != 0
    assert "down2: svirt_timeuot is no variable of svirt.fleet: did you mean svirt_timeout?" in shown(run)
    assert "svirt_timeout is 'soon'" in shown(run)
    assert "svirt_mine" not in shown(run)
    assert "svirt_max_age" not in shown(run)


BATCHES = """
---
- hosts: all
  gather_facts: false
  serial: 2
  max_fail_percentage: 50
  tasks:
    - name: Preflight
      svirt.fleet.preflight:
        earlier_batches: true
    - name: Contact hosts
      ansible.builtin.raw: echo contact with {{ inventory_hostname }}
"""


@pytest.mark.parametrize("lost", [True, False])
def test_no_batch_begins_after_a_host_was_lost(book: Path, inventory: Path, refused: int, lost: bool) -> None:
    book.write_text(BATCHES)
    second = f"ansible_host=127.0.0.1 ansible_port={refused}" if lost else "ansible_connection=local"
    inventory.write_text(f"h1 ansible_connection=local\nh2 {second}\nh3 ansible_connection=local\n")
    run = play(str(book), inventory)
    assert "changed: [h1]" in run.output
    assert ("changed: [h3]" in run.output) is not lost
    assert ("h2 could not be reached any more" in shown(run)) is lost
    assert (run.status != 0) is lost


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = actions.run(preflight, report_dir=str(tmp_path / "file" / "report"))
    assert [problem["code"] for problem in result["problems"]] == ["not_writable"]
    assert result["msg"].startswith("1 problem before any host was contacted:\nthe report folder")


def test_what_an_earlier_run_read_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    assert actions.run(preflight, renewed=[str(folder)], hosts=["kvm1"])["problems"] == []
    for host in ("kvm1", "a/b", "other"):
        _snapshots.write_unread(folder, host, "before", 1.0)
    assert actions.run(preflight, renewed=[str(folder)], hosts=["kvm1", "a/b", "new"])["problems"] == []
    assert [path.name for path in folder.iterdir()] == ["other.json"]


def test_what_cannot_be_removed_is_told_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "snapshots"
    kept = _snapshots.write_unread(folder, "kvm1", "before", 1.0)
    monkeypatch.setattr("pathlib.Path.unlink", MagicMock(side_effect=PermissionError(1, "not permitted", str(kept))))
    (problem,) = actions.run(preflight, renewed=[str(folder)], hosts=["kvm1"])["problems"]
    assert (problem["code"], str(kept) in problem["why"]) == ("not_writable", True)
    monkeypatch.setattr("tempfile.TemporaryFile", MagicMock(side_effect=PermissionError(13, "denied")))
    (problem,) = actions.run(preflight, renewed=[str(folder)], hosts=["kvm1"])["problems"]
    assert (problem["code"], str(folder) in problem["why"]) == ("not_writable", True)


def test_a_problem_leaves_what_an_earlier_run_read(tmp_path: Path) -> None:
    _snapshots.write_unread(tmp_path, "kvm1", "before", 1.0)
    assert actions.run(preflight, renewed=[str(tmp_path)], hosts=["kvm1"], store="nonsense")["problems"]
    assert (tmp_path / "kvm1.json").exists()


def test_a_store_is_tried_out_and_not_created(tmp_path: Path) -> None:
    file = tmp_path / "fleet.db"
    assert actions.run(preflight, store=f"sqlite:///{file}")["problems"] == []
    assert not file.exists()
    result = actions.run(preflight, ledger=f"sqlite:///{file}")
    assert [(problem["variable"], problem["code"]) for problem in result["problems"]] == [
        ("svirt_ledger", "store_missing")
    ]
    with Store(f"sqlite:///{file}").write():
        pass
    assert actions.run(preflight, store=f"sqlite:///{file}", ledger=f"sqlite:///{file}")["problems"] == []


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("mysql://u:secret@h/d", "store_url"),
        ("nonsense", "store_url"),
        ("postgresql://svirt:p@secret@127.0.0.1:1/fleet", "store_url"),
        ("sqlite://", "store_url"),
        ("sqlite:///:memory:", "store_url"),
        ("sqlite:///~/fleet.db", "store_url"),
        ("sqlite:///a?b.db", "store_url"),
        ("postgresql://svirt:secret@127.0.0.1:1/fleet", "store_unreachable"),
        ("sqlite:////proc/none/fleet.db", "store_read_only"),
    ],
)
def test_a_store_that_cannot_be_used_is_a_problem(monkeypatch: pytest.MonkeyPatch, url: str, code: str) -> None:
    monkeypatch.setattr("os.access", lambda path, _mode: not str(path).startswith("/proc"))
    result = actions.run(preflight, store=url)
    assert [problem["code"] for problem in result["problems"]] == [code]
    assert "secret" not in str(result)


def test_an_empty_store_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "fleet.db").touch()
    result = actions.run(preflight, store=f"sqlite:///{tmp_path / 'fleet.db'}")
    assert [problem["code"] for problem in result["problems"]] == ["store_empty"]


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "psycopg", None)
        result = actions.run(preflight, store="postgresql://svirt@127.0.0.1:1/fleet")
        assert "psycopg" in result["msg"]
    monkeypatch.setattr(_store, "MISSING", ImportError("No module named 'sqlalchemy'"))
    result = actions.run(preflight, store=f"sqlite:///{tmp_path / 'fleet.db'}")
    assert [problem["code"] for problem in result["problems"]] == ["sqlalchemy_missing"]
    assert actions.run(preflight)["problems"] == [], "without a store SQLAlchemy is not needed"


def test_trying_a_store_out_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "fleet.db"
    with Store(f"sqlite:///{file}").write():
        pass
    before = file.read_bytes()
    _store.try_out(f"sqlite:///{file}")
    assert file.read_bytes() == before
    with pytest.raises(StoreError):
        _store.try_out(f"sqlite:///{tmp_path / 'nothing.db'}", must_exist=True)


def test_the_documentation_names_what_there_is() -> None:
    module: t.Any = importlib.import_module("ansible_collections.svirt.fleet.plugins.modules.preflight")
    options = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert set(options) == set(preflight.ARGUMENTS)
    for option, spec in preflight.ARGUMENTS.items():
        assert options[option]["type"] == spec["type"]
    assert set(yaml.safe_load(module.RETURN)) == {"problems"}
