# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""libvirt's records are read from auditd's files and from the journal."""

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.module_utils import _module
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.history import transfer
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import SchemaError
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.tools import HostTools
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import virt_audit
from ansible_collections.svirt.fleet.plugins.modules import guest_history_info
from ansible_collections.svirt.fleet.plugins.plugin_utils._probe_answer import unpack

from tests.unit.support import audit_log as log
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.handed_in import hand_root
from tests.unit.support.module_args import patch_module_args

LOG = "/var/log/audit/audit.log"
OLD = [log.record("AVC", 5, "avc: denied"), log.label(10, 1, "s0:c1,c2"), log.start(11, 1)]
NEW = [log.stop(20, 1), log.record("AVC", 30, "avc: denied")]


def host(*, auditd: bool = True, **files: list[str]) -> Tree:
    tree = Tree()
    tree.folder("/proc")
    if auditd:
        tree.file("/proc/77/comm", "auditd\n")
    for number, lines in enumerate(files.values()):
        tree.file(LOG + (f".{number}" if number else ""), "".join(f"{line}\n" for line in lines))
    return tree


def nothing(*_args: t.Any, **_more: t.Any) -> tuple[int, str, str]:
    raise AssertionError("no program is needed")


def read(tree: Tree, tools: HostTools | None = None) -> virt_audit.GuestRecords:
    return virt_audit.read(CapturedRoot(tree), tools or HostTools(nothing))


def kinds(records: virt_audit.GuestRecords) -> list[str]:
    assert records.problem is None
    return [event.kind for event in records.events]


def test_rotated_files_come_first() -> None:
    records = read(host(new=NEW, old=OLD))
    assert (kinds(records), records.since, records.source) == (["label", "start", "stop"], 5.0, "auditd")


def test_the_place_of_the_log_is_that_of_auditd() -> None:
    tree = host()
    tree.file("/etc/audit/auditd.conf", "log_file = /srv/audit.log\n")
    tree.file("/srv/audit.log", "\n".join([*OLD, ""]))
    assert kinds(read(tree)) == ["label", "start"]


def test_an_auditd_that_does_not_run_leaves_a_gap() -> None:
    records = read(host(auditd=False, new=NEW, old=OLD))
    assert kinds(records) == ["label", "start", "stop", "log_off"]
    assert records.events[-1].at == 30.0


@pytest.mark.parametrize(
    ("tree", "code"),
    [(host(new=[]), "log_empty"), (host(), "log_empty"), (host(auditd=False), "no_audit_log")],
)
def test_no_log_is_no_empty_history(tree: Tree, code: str) -> None:
    problem = read(tree).problem
    assert problem is not None
    assert problem.code == code


def test_a_log_that_cannot_be_read_is_a_problem() -> None:
    tree = host(new=NEW)
    tree.entries[LOG].errno = 13
    problem = read(tree).problem
    assert problem is not None
    assert problem.code == "log_unreadable"


def test_a_log_that_is_too_large_begins_later(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = host(new=NEW, old=OLD)
    monkeypatch.setattr(virt_audit, "MAX_BYTES", len(tree.entries[LOG].content))
    records = read(tree)
    assert (kinds(records), records.since) == (["stop"], 20.0)


class Rotating(CapturedRoot):
    """auditd rotates its files whenever they are read."""

    def read_bytes(self, path: str, limit: int = 0) -> bytes:
        content = super().read_bytes(path, limit)
        if path.startswith(LOG):
            self._tree.entries[LOG].ino += 1
        return content


def test_files_that_change_under_the_reader_are_read_again() -> None:
    problem = virt_audit.read(Rotating(host(new=NEW)), HostTools(nothing)).problem
    assert problem is not None
    assert problem.code == "log_rotated"


# -- the journal -------------------------------------------------------------------------------------------------------


def entry(at: float, type_: int, message: t.Any, boot: str = "a") -> str:
    return json.dumps(
        {"__REALTIME_TIMESTAMP": str(int(at * 1e6)), "_AUDIT_TYPE": str(type_), "MESSAGE": message, "_BOOT_ID": boot}
    )


def journal(*entries: str, status: int = 0) -> HostTools:
    def run(args: list[str], *, data: str | None = None) -> tuple[int, str, str]:
        assert "_TRANSPORT=audit" in args
        assert data is None
        return status, "\n".join(entries), "broken"

    return HostTools(run, lambda name: f"/bin/{name}")


def text(line: str) -> str:
    return line.partition("): ")[2]


def test_the_journal_has_the_records_where_there_is_no_auditd() -> None:
    label = text(log.label(10, 1, "s0:c1,c2"))
    records = read(
        host(auditd=False),
        journal(
            entry(10, 2502, f"AUDIT2502 {label}"),
            entry(11, 2500, list(f"VIRT_CONTROL {text(log.start(11, 1))}".encode())),
            "no json",
            entry(12, 2500, text(log.start(12, 2)), boot="b"),
        ),
    )
    assert kinds(records) == ["label", "start", "boot", "start"]
    assert (records.since, records.source) == (10.0, "journal")


@pytest.mark.parametrize(("tools", "code"), [(journal(), "no_audit_log"), (journal(status=1), "log_unreadable")])
def test_a_journal_without_records_is_no_empty_history(tools: HostTools, code: str) -> None:
    problem = read(host(auditd=False), tools).problem
    assert problem is not None
    assert problem.code == code


# -- the module --------------------------------------------------------------------------------------------------------


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tree: Tree, **arguments: t.Any
) -> dict[str, t.Any]:
    hand_root(monkeypatch, lambda: CapturedRoot(tree))
    monkeypatch.setattr(_module, "runner", lambda _module: nothing)
    with patch_module_args(arguments), pytest.raises(SystemExit):
        guest_history_info.main()
    return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))


def test_records_go_to_the_controller_and_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = host(new=NEW, old=OLD)
    result = run(capsys, monkeypatch, tree)
    assert (result["changed"], result["summary"]["counts"]) == (False, {"label": 1, "start": 1, "stop": 1})
    read_again = transfer.decoded("kvm1", result["records"])
    assert list(read_again.events) == read(tree).events
    packed = run(capsys, monkeypatch, tree, dest="/x")
    assert "records" not in packed
    assert transfer.decoded("kvm1", unpack(packed["packed"])).events == read_again.events
    assert set(yaml.safe_load(guest_history_info.RETURN)) == {"records", "summary", "records_path", "since"}


def test_a_host_without_a_log_fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(capsys, monkeypatch, host(new=[]))
    assert result["failed"] is True
    assert LOG in result["msg"]


EVENT = [1.0, "label", log.uuid(1), "web", "u:r:t:s0", 0, ""]


@pytest.mark.parametrize(
    "part",
    [
        {"schema": "svirt.fleet/snapshot/1"},
        {"events": None},
        {"events": [EVENT] * 3 + [EVENT[:-1]]},
        {"events": [[*EVENT[:1], "shell", *EVENT[2:]]]},
        {"events": [[*EVENT[:4], "x" * 5000, *EVENT[5:]]]},
        {"events": [[*EVENT[:5], True, ""]]},
        {"events": [[float("nan"), *EVENT[1:]]]},
        {"since": "1"},
        {"until": True},
    ],
)
def test_records_of_a_hostile_host_are_checked(part: dict[str, t.Any]) -> None:
    good: dict[str, t.Any] = {"schema": transfer.SCHEMA, "since": 1.0, "until": 2.0, "source": "", "events": [EVENT]}
    assert len(transfer.decoded("kvm1", good).events) == 1
    with pytest.raises(SchemaError):
        transfer.decoded("kvm1", {**good, **part})
