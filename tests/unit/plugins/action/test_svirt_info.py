# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import binascii
import copy
import json
import stat
import typing as t
import zlib
from pathlib import Path
from unittest.mock import MagicMock, patch

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.svirt.fleet.plugins.action.svirt_info import ActionModule
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.document import document, pack
from ansible_collections.svirt.fleet.plugins.plugin_utils import _probe_answer, _snapshots

from tests.unit.support import hosts
from tests.unit.support.actions import finished

Answer = t.Callable[[], dict[str, t.Any]]


SNAPSHOT = document(hosts.look(hosts.el9()))


def whole() -> dict[str, t.Any]:
    """What the module answers on a good host."""
    packed = pack({"snapshot": SNAPSHOT})
    return {"changed": False, "packed": packed, "summary": {"guests": "a lie"}, "ansible_facts": {"evil": 1}}


def run(answer: Answer, host: str = "kvm1", async_val: int = 0, **arguments: t.Any) -> dict[str, t.Any]:
    task = MagicMock(args=arguments, async_val=async_val, check_mode=False, diff=False)
    parts = ("connection", "play_context", "loader", "templar", "shared_loader_obj")
    action = ActionModule(task=task, **{name: MagicMock() for name in parts})
    execute = MagicMock(side_effect=lambda **_given: answer())
    with patch.object(action, "_execute_module", execute):
        result = finished(lambda: action.run(task_vars={"inventory_hostname": host}))
    assert execute.call_args.kwargs["module_name"] == "svirt.fleet.svirt_info"
    return result


def kept(folder: Path, host: str = "kvm1") -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(_snapshots.path_of(folder, host).read_text()))


def test_without_dest_the_result_has_the_snapshot() -> None:
    result = run(lambda: {"changed": False, "packed": pack({"snapshot": SNAPSHOT}), "warnings": ["w"]}, timeout=5)
    assert set(result) == {"failed", "changed", "snapshot", "summary", "warnings"}
    assert (result["snapshot"], result["summary"]["guests"]) == (SNAPSHOT, 1)


def test_without_dest_a_module_that_fails_is_passed_on() -> None:
    result = run(lambda: {"failed": True, "msg": "timeout is 0; give at least 1 second"})
    assert (result["failed"], result["msg"]) == (True, "timeout is 0; give at least 1 second")


def test_without_dest_a_host_that_lies_fails() -> None:
    result = run(lambda: {"changed": False, "packed": pack({"snapshot": {**SNAPSHOT, "extra": 1}})})
    assert result["failed"] is True
    assert not {"snapshot", "summary", "packed"} & set(result)


def test_the_snapshot_is_kept_and_the_result_is_small(tmp_path: Path) -> None:
    result = run(whole, dest=str(tmp_path / "new"), timeout=5)
    path = tmp_path / "new" / "kvm1.json"
    assert (result["changed"], result["snapshot_path"]) == (False, str(path))
    assert (result["summary"]["guests"], result["summary"]["running"]) == (1, 1)  # counted here, not believed
    assert set(result) == {"failed", "changed", "summary", "snapshot_path"}
    assert kept(tmp_path / "new") == SNAPSHOT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("host", ["../../etc/passwd", "a/b", "{{ x }}\n", ".hidden", "ü" * 200])
def test_any_inventory_name_gets_one_file_in_the_folder(tmp_path: Path, host: str) -> None:
    result = run(whole, host=host, dest=str(tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == [Path(result["snapshot_path"]).name]
    assert kept(tmp_path, host)["schema"] == "svirt.fleet/snapshot/1"


def test_a_host_that_cannot_be_reached_leaves_its_reason_and_no_old_snapshot(tmp_path: Path) -> None:
    run(whole, dest=str(tmp_path))

    def unreachable() -> dict[str, t.Any]:
        record = kept(tmp_path)  # already while the host is asked
        assert (record["schema"], record["why"]) == ("svirt.fleet/unread/1", "the probe did not finish")
        raise AnsibleConnectionFailure("Connection refused")

    with pytest.raises(AnsibleConnectionFailure):
        run(unreachable, dest=str(tmp_path))
    record = kept(tmp_path)
    assert (record["schema"], record["host"]) == ("svirt.fleet/unread/1", "kvm1")
    assert record["why"].endswith(". Connection refused")


def test_an_interrupted_probe_is_unread(tmp_path: Path) -> None:
    def interrupt() -> dict[str, t.Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupt, dest=str(tmp_path))
    assert kept(tmp_path)["why"] == "KeyboardInterrupt"


def test_a_module_that_fails_is_unread_and_fails(tmp_path: Path) -> None:
    result = run(lambda: {"failed": True, "msg": "timeout is 0; give at least 1 second"}, dest=str(tmp_path))
    assert result["failed"] is True
    assert kept(tmp_path)["why"] == "timeout is 0; give at least 1 second"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda snapshot: snapshot.update(schema="svirt.fleet/snapshot/99"), "schema is"),
        (lambda snapshot: snapshot["guests"][0].update(pid="rm -rf"), "guests[0].pid"),
        (lambda snapshot: snapshot["coverage"].pop("guests"), "coverage lacks guests"),
        (lambda snapshot: snapshot.update(extra=1), "unknown field 'extra'"),
        (lambda snapshot: snapshot["host"].update(name="x" * 70000), "longer than 65536"),
    ],
)
def test_a_host_that_lies_is_unread(tmp_path: Path, change: t.Callable[[t.Any], t.Any], why: str) -> None:
    lie = copy.deepcopy(SNAPSHOT)
    change(lie)
    result = run(lambda: {"packed": pack({"snapshot": lie})}, dest=str(tmp_path))
    assert result["failed"] is True
    assert why in result["msg"]
    assert kept(tmp_path)["why"] == result["msg"]


@pytest.mark.parametrize(
    "answer",
    [
        {"changed": False},
        {"packed": 7},
        {"packed": "%%%"},
        {"packed": pack([])},  # type: ignore[arg-type]
        {"packed": binascii.b2a_base64(zlib.compress(b"[" * 100_000)).decode()},
        {"packed": binascii.b2a_base64(zlib.compress(b"\xff{}")).decode()},
        {"packed": pack({"snapshot": SNAPSHOT})[:-100]},
        {"packed": pack({"snapshot": []})},
        {"packed": pack({"snapshot": SNAPSHOT, "more": 1})},
    ],
)
def test_an_answer_without_a_snapshot_is_unread(tmp_path: Path, answer: dict[str, t.Any]) -> None:
    assert run(lambda: answer, dest=str(tmp_path))["failed"] is True
    assert "not a snapshot" in kept(tmp_path)["why"]


def test_an_answer_without_end_is_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_probe_answer, "MAX_BYTES", 1000)
    assert run(whole, dest=str(tmp_path))["failed"] is True
    assert "larger than 1000 bytes" in kept(tmp_path)["why"]


def test_a_folder_that_cannot_be_written_fails_before_the_host_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnsibleActionFail, match="cannot be written"):
        run(whole, dest=str(tmp_path / "file" / "below"))


@pytest.mark.parametrize("dest", ["", 3, ["x"]])
def test_dest_must_be_a_path(dest: t.Any) -> None:
    with pytest.raises(AnsibleActionFail, match="give the path of a folder"):
        run(whole, dest=dest)


@pytest.mark.parametrize("arguments", [{}, {"dest": "somewhere"}])
def test_async_is_refused_before_the_host_is_asked(arguments: dict[str, str]) -> None:
    asked: list[bool] = []

    def answer() -> dict[str, t.Any]:
        asked.append(True)
        return {}

    with pytest.raises(AnsibleActionFail, match="async"):
        run(answer, async_val=30, **arguments)
    assert asked == []


def test_dest_knows_home_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PLACE", "there")
    assert run(whole, dest="~/$PLACE")["snapshot_path"] == str(tmp_path / "there" / "kvm1.json")
