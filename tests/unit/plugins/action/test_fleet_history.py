# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The history of a fleet, from files on the controller to the verdict."""

from __future__ import annotations

import json
import os
import stat
import typing as t
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

import pytest
import sqlalchemy as sa
import yaml
from ansible.errors import AnsibleError
from ansible_collections.svirt.fleet.plugins.action import fleet_history, guest_history_info
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.history import transfer
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.virt_audit import VirtEvent, parse_line
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.document import pack
from ansible_collections.svirt.fleet.plugins.modules import fleet_history as module
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store

from tests.unit.support import audit_log as log
from tests.unit.support import factory
from tests.unit.support.actions import finished

PARTS = ("connection", "play_context", "loader", "templar", "shared_loader_obj")
WEB = [log.label(10, 1, "s0:c1,c2"), log.start(11, 1), log.stop(50, 1)]
DB = [log.label(20, 2, "s0:c2,c1", "db"), log.start(21, 2, "db"), log.stop(60, 2, "db")]


def records(*lines: str) -> dict[str, t.Any]:
    events = [event for line in lines if (event := parse_line(line)) is not None]
    return transfer.encoded(events, 5.0, 1000.0, "auditd")


class Fleet:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown: list[str] = []
        self.hosts: list[str] = []

    def host(self, name: str, *lines: str, storage: t.Sequence[s.Storage] = (), read: bool = True) -> None:
        self.hosts.append(name)
        snapshot = replace(factory.host(), host=s.Host(name=name), guests=[], storage=list(storage))
        _snapshots.write_snapshot(self.folder / "snapshots", name, encode(snapshot))
        if read:
            _snapshots.write_json(_snapshots.path_of(self.folder / "records", name), records(*lines))

    def look_back(self, **arguments: t.Any) -> dict[str, t.Any]:
        given = {
            **{name: str(self.folder / name) for name in ("records", "snapshots")},
            "hosts": self.hosts,
            "history": str(self.folder / "history.json"),
            **arguments,
        }
        task = MagicMock(args=given, async_val=0, check_mode=False, diff=False)
        action = fleet_history.ActionModule(task=task, **{name: MagicMock() for name in PARTS})
        action._load_name = "svirt.fleet.fleet_history"
        with patch.object(fleet_history, "Display", lambda: SimpleNamespace(display=self.shown.append)):
            return finished(lambda: action.run(task_vars={}))

    @property
    def document(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self.folder / "history.json").read_text()))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_two_guests_that_are_gone_are_named(fleet: Fleet) -> None:
    fleet.host("kvm1", *WEB[:2], *DB[:2], WEB[2], DB[2])
    result = fleet.look_back()
    assert (result["failed"], result["changed"], result["verdict"]) == (True, False, "fail")
    assert result["counts"] == {"guests": 2, "collisions": 1, "possible": 0, "doubts": 0, "unread": 0}
    (pair,) = fleet.document["collisions"]
    assert [guest["name"] for guest in pair["guests"]] == ["web", "db"]
    assert (pair["class"], pair["relation"], pair["status"]) == ("E1", "equal", "sure")
    assert pair["periods"] == [{"from": "1970-01-01T00:00:20Z", "to": "1970-01-01T00:00:50Z", "sure": True}]
    assert "web on kvm1" in fleet.shown[0]
    assert stat.S_IMODE((fleet.folder / "history.json").stat().st_mode) == 0o600
    assert {"verdict", "counts", "history", "msg"} == set(yaml.safe_load(module.RETURN))
    assert fleet.look_back(enforce=False)["failed"] is False


def test_hosts_that_share_storage_by_the_operators_word(fleet: Fleet) -> None:
    share = [
        s.Storage("/mnt/share", "nfs4", f"{nas}:/vms", remote=True, labelled=True, identity=f"nfs:{nas}:/vms")
        for nas in ("nas", "10.0.0.1")
    ]
    fleet.host("kvm1", *WEB, storage=share[:1])
    fleet.host("kvm2", *DB, storage=share[1:])
    assert fleet.look_back()["verdict"] == "unknown"
    result = fleet.look_back(storage=[{"name": "vms", "sources": ["nas:/vms", "10.0.0.1:/vms"]}])
    assert (result["verdict"], fleet.document["collisions"][0]["class"]) == ("fail", "E2")


def test_what_is_not_known_is_no_pass(fleet: Fleet) -> None:
    fleet.host("kvm1", *WEB)
    assert fleet.look_back()["verdict"] == "pass"
    assert fleet.look_back(since="1970-01-01T00:00:30Z")["verdict"] == "pass"
    assert fleet.look_back(since="1969-12-31")["verdict"] == "unknown"
    fleet.host("kvm2", read=False)
    result = fleet.look_back()
    assert (result["verdict"], result["counts"]["unread"], result["failed"]) == ("unknown", 1, True)


def test_records_that_are_old_or_damaged_are_none(fleet: Fleet) -> None:
    fleet.host("kvm1", *WEB)
    path = _snapshots.path_of(fleet.folder / "records", "kvm1")
    os.utime(path, (1, 1))
    assert fleet.look_back()["counts"]["unread"] == 1
    for content in ("{", "[]", '{"schema": "svirt.fleet/unread/1", "why": "it is down"}'):
        path.write_text(content)
        assert fleet.look_back()["counts"]["unread"] == 1, content
    assert "it is down" in fleet.document["hosts"][0]["why"]


def test_the_ledger_knows_labels_that_the_log_does_not(fleet: Fleet) -> None:
    url = f"sqlite:///{fleet.folder}/ledger.db"
    store = Store(url)
    with store.write():
        pass
    store.close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for at, action, new in ((1.0, "reserve", "s0:c1,c2"), (1.5, "observe", "observed")):
            connection.execute(
                sa.text(
                    "INSERT INTO svirt_events (at, domain, subject, action, old, new) "
                    "VALUES (:at, 'd', :subject, :action, '', :new)"
                ),
                {"at": at, "subject": log.uuid(1), "action": action, "new": new},
            )
    engine.dispose()
    fleet.host("kvm1", WEB[1], *DB[:2], WEB[2], DB[2])
    assert fleet.look_back()["counts"]["possible"] == 0
    result = fleet.look_back(ledger=url)
    assert (result["verdict"], result["counts"]["possible"]) == ("unknown", 1)


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01"])
def test_a_time_that_is_none_is_refused(fleet: Fleet, since: str) -> None:
    with pytest.raises(AnsibleError, match="since is"):
        fleet.look_back(since=since)


# -- guest_history_info, on the controller -----------------------------------------------------------------------------


def take(answer: t.Any, folder: Path) -> dict[str, t.Any]:
    task = MagicMock(args={"dest": str(folder)}, async_val=0, check_mode=False, diff=False)
    action = guest_history_info.ActionModule(task=task, **{name: MagicMock() for name in PARTS})
    with patch.object(action, "_execute_module", MagicMock(side_effect=answer)):
        return finished(lambda: action.run(task_vars={"inventory_hostname": "kvm1"}))


def kept(folder: Path) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(_snapshots.path_of(folder, "kvm1").read_text()))


def test_the_records_of_a_host_are_kept(tmp_path: Path) -> None:
    whole = records(*WEB)
    result = take(lambda **_given: {"packed": pack(whole), "ansible_facts": {"evil": 1}}, tmp_path)
    assert set(result) == {"failed", "changed", "records_path", "records", "since"}
    assert (result["records"], result["since"]) == (3, 5.0)
    assert kept(tmp_path) == json.loads(json.dumps(whole))
    assert VirtEvent(*kept(tmp_path)["events"][0]).name == "web"


@pytest.mark.parametrize("answer", [{"failed": True, "msg": "no log"}, {"packed": "x"}, {"packed": pack({"a": 1})}])
def test_a_host_without_records_is_no_earlier_one(tmp_path: Path, answer: dict[str, t.Any]) -> None:
    take(lambda **_given: {"packed": pack(records(*WEB))}, tmp_path)
    assert take(lambda **_given: answer, tmp_path)["failed"] is True
    assert kept(tmp_path)["schema"] == _snapshots.UNREAD_SCHEMA


def test_a_host_that_goes_away_is_unread(tmp_path: Path) -> None:
    def gone(**_given: t.Any) -> t.Any:
        raise RuntimeError("unreachable")

    with pytest.raises(RuntimeError):
        take(gone, tmp_path)
    assert "unreachable" in kept(tmp_path)["why"]
