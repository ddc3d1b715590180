# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible_collections.svirt.fleet.plugins.action import fleet_store
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import decode_snapshot, encode
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store, unpacked

from tests.unit.support import actions
from tests.unit.support.fleets import guest, host


class Fleet:
    """A folder of snapshots and a store."""

    def __init__(self, folder: Path) -> None:
        self.snapshots = folder / "snapshots"
        self.url = f"sqlite:///{folder / 'fleet.db'}"

    def add(self, name: str, received: float, *levels: str) -> None:
        guests = [guest(level, level) for level in levels]
        path = _snapshots.write_snapshot(self.snapshots, name, encode(host(name, guests)))
        os.utime(path, (received, received))

    def keep(self, hosts: list[str], **arguments: t.Any) -> dict[str, t.Any]:
        values = {"store": self.url, "snapshots": str(self.snapshots), "hosts": hosts, **arguments}
        return actions.run(fleet_store, **values)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_snapshots_go_into_the_store_whole(fleet: Fleet) -> None:
    fleet.add("kvm1", 1000.0, "s0:c1,c2")
    result = fleet.keep(["kvm1"])
    assert (result["changed"], result["stored"], result["kept"], result["unread"]) == (True, ["kvm1"], [], {})
    with Store(fleet.url).look() as transaction:
        stored = transaction.snapshot("kvm1")
    assert stored is not None
    snapshot = decode_snapshot(json.loads(unpacked(stored.content)))
    assert [one.uuid for one in snapshot.guests] == ["s0:c1,c2"]
    assert (stored.taken_at, stored.received_at) == (snapshot.taken_at, 1000.0)


def test_the_newest_wins_by_the_controllers_clock(fleet: Fleet) -> None:
    fleet.add("kvm1", 1000.0)
    assert fleet.keep(["kvm1"])["stored"] == ["kvm1"]
    again = fleet.keep(["kvm1"])
    assert (again["changed"], again["kept"]) == (False, ["kvm1"])
    fleet.add("kvm1", 900.0, "s0:c1,c2")
    assert fleet.keep(["kvm1"])["kept"] == ["kvm1"]
    fleet.add("kvm1", 1100.0, "s0:c1,c2")
    assert fleet.keep(["kvm1"])["stored"] == ["kvm1"]


def test_what_is_no_snapshot_is_left_out_and_reported(fleet: Fleet) -> None:
    fleet.add("kvm1", 1000.0)
    fleet.add("kvm2", 1000.0)
    lying = json.loads(_snapshots.path_of(fleet.snapshots, "kvm2").read_text())
    lying["guests"] = "many"
    _snapshots.write_json(_snapshots.path_of(fleet.snapshots, "kvm2"), lying)
    _snapshots.write_unread(fleet.snapshots, "kvm3", "unreachable", 1.0)
    result = fleet.keep(["kvm1", "kvm2", "kvm3", "kvm4"])
    assert result["stored"] == ["kvm1"]
    assert sorted(result["unread"]) == ["kvm2", "kvm3", "kvm4"]
    assert "does not follow its schema" in result["unread"]["kvm2"]


def test_check_mode_predicts_and_writes_nothing(fleet: Fleet, tmp_path: Path) -> None:
    fleet.add("kvm1", 1000.0)
    assert fleet.keep(["kvm1"], check=True)["stored"] == ["kvm1"]
    assert not (tmp_path / "fleet.db").exists()
    fleet.keep(["kvm1"])
    assert fleet.keep(["kvm1"], check=True)["changed"] is False


def test_a_store_that_cannot_be_used_fails_the_task(fleet: Fleet) -> None:
    fleet.add("kvm1", 1000.0)
    with pytest.raises(AnsibleError, match="cannot be understood"):
        fleet.keep(["kvm1"], store="nonsense")


def test_more_hosts_than_go_at_a_time(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_store, "_AT_A_TIME", 2)
    names = [f"kvm{number}" for number in range(5)]
    for name in names:
        fleet.add(name, 1000.0)
    assert fleet.keep(names)["stored"] == names
    assert fleet.keep(names)["kept"] == names
