# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.svirt.fleet.plugins.action import migration_check
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.modules import migration_check as module
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots

from tests.unit.plugins.module_utils._core.migrate.test_check import CODE, OTHER, hypervisor, static
from tests.unit.support.actions import finished

Check = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(migration_check, "Display", lambda: SimpleNamespace(display=lines.append))
    return lines


@pytest.fixture
def check(tmp_path: Path, shown: list[str]) -> Check:
    def run(*hosts: s.Snapshot, **arguments: t.Any) -> dict[str, t.Any]:
        for one in hosts:
            _snapshots.write_snapshot(tmp_path, one.host.name, encode(one))
        names = [one.host.name for one in hosts]
        args = {"snapshots": str(tmp_path), "hosts": names, "guests": ["web"], "target": "kvm2", **arguments}
        action = migration_check.ActionModule(
            task=MagicMock(args=args, async_val=0, check_mode=False, diff=False),
            connection=MagicMock(),
            play_context=MagicMock(),
            loader=MagicMock(),
            templar=MagicMock(),
            shared_loader_obj=MagicMock(),
        )
        action._load_name = "svirt.fleet.migration_check"  # as the plugin loader does
        return finished(lambda: action.run(task_vars={}))

    return run


SOURCE, TARGET = hypervisor("kvm1", static("web")), hypervisor("kvm2", static("db", OTHER))


def test_a_guest_that_may_go(check: Check, shown: list[str]) -> None:
    result = check(SOURCE, TARGET)
    assert (result["failed"], result["changed"]) == (False, False)
    assert result["counts"] == {"allowed": 1, "refused": 0, "unknown": 0}
    assert shown == ["yes      web from kvm1 to kvm2"]
    documented = yaml.safe_load(module.RETURN)
    assert set(documented) == {"answers", "counts"}
    assert set(result["answers"][0]) == set(documented["answers"]["contains"])


def test_guest_that_may_not_move_fails_the_run(check: Check, shown: list[str]) -> None:
    result = check(SOURCE, hypervisor("kvm2", static("db\x1b[2J", CODE)), guests=["web", "nobody"])
    assert result["failed"] is True
    assert result["msg"] == "migration to kvm2: 2 refused"
    assert [one["verdict"] for one in result["answers"]] == ["refused", "refused"]
    assert shown[0] == "no       web from kvm1 to kvm2"
    assert "\x1b" not in "".join(shown)


def test_what_is_not_known_fails_the_run(check: Check) -> None:
    result = check(SOURCE, TARGET, hosts=["kvm1", "kvm2", "kvm9"])
    assert (result["failed"], result["counts"]["unknown"]) == (True, 1)
    assert result["answers"][0]["reasons"][0]["code"] == "hosts_unread"


def test_the_target_is_read_though_nobody_listed_it(check: Check) -> None:
    assert check(SOURCE, TARGET, hosts=["kvm1"])["failed"] is False
    assert check(SOURCE, target="kvm7")["answers"][0]["verdict"] == "unknown"


def test_old_snapshots_are_not_believed(check: Check) -> None:
    assert check(SOURCE, TARGET, max_age=-60)["failed"] is True


def test_named_domains_count(check: Check) -> None:
    one, two = ({"name": name, "hosts": [host]} for name, host in (("one", "kvm1"), ("two", "kvm2")))
    assert check(SOURCE, TARGET, domains=[one, two])["answers"][0]["reasons"][0]["code"] == "other_label_domain"
    both = {"name": "both", "hosts": ["kvm1", "kvm2"], "migration": False}
    assert check(SOURCE, TARGET, domains=[both])["answers"][0]["reasons"][0]["code"] == "domain_without_migration"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"guests": []}, "guests is empty"), ({"domains": [{"name": "x"}]}, "hosts is None; give a list of names")],
)
def test_what_cannot_be_meant_is_refused(check: Check, arguments: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleError, match=message):
        check(SOURCE, TARGET, **arguments)
