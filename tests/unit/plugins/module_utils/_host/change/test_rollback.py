# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are put back, and what becomes of those that cannot be."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostWriteError, PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import rollback as core
from ansible_collections.svirt.fleet.plugins.module_utils._host.base import file_write
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.file_write import change_file, state_of
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Entry, Journal
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import rollback, selinux

KINDS = {"file", "label", "fcontext", "guest", "interface", "path"}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "journal")


def record(folder: str, module: str, *entries: Entry) -> None:
    with Journal(module, folder) as journal:
        journal.record(entries)


class Recorder:
    """Stands in for the actors."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.seen: list[str] = []

    def __call__(self, entry: Entry) -> None:
        self.seen.append(entry.subject)
        if entry.subject in self.errors:
            raise self.errors[entry.subject]


def put_back(folder: str, actor: rollback.Restore, count: int | None = None) -> rollback.Outcome:
    with Journal("svirt_rollback", folder) as journal:
        by_kind = {**dict.fromkeys(("label", "guest"), actor), "file": file_write.restore}
        return rollback.put_back(rollback.runs(count, folder), journal, by_kind)


def test_every_kind_has_somebody_who_puts_it_back() -> None:
    assert set(rollback.RESTORERS) == KINDS
    assert not set(selinux.KINDS) & KINDS


def test_files_come_back_byte_for_byte(tmp_path: Path, folder: str) -> None:
    conf = tmp_path / "qemu.conf"
    conf.write_bytes(b"first\xff\r\n")
    first = state_of(str(conf))
    for content in (b"second", None, b"fourth"):
        with Journal("libvirt_security", folder) as journal:
            change_file(str(conf), content, journal, mode=0o600)
    outcome = put_back(folder, Recorder(), 2)
    assert [entry.subject for _run, entry in outcome.restored] == [str(conf)] * 2
    assert conf.read_bytes() == b"second"
    assert [run.name for run in rollback.runs(folder=folder)] == ["000001-libvirt_security"]
    put_back(folder, Recorder())
    assert state_of(str(conf)) == first
    assert rollback.runs(folder=folder) == []
    assert len(os.listdir(os.path.join(folder, "undone"))) == 3


def test_the_newest_comes_first(folder: str) -> None:
    record(folder, "image_label", Entry("label", "a", {}), Entry("label", "b", {}))
    record(folder, "guest_seclabel", Entry("guest", "c", {}))
    actor = Recorder()
    assert put_back(folder, actor).failed == []
    assert actor.seen == ["c", "b", "a"]


def test_what_fails_stays_and_the_rest_goes_on(folder: str) -> None:
    record(folder, "image_label", Entry("label", "fine", {}))
    record(folder, "image_label", Entry("label", "held", {}), Entry("label", "also", {}))
    record(folder, "guest_seclabel", Entry("guest", "lost", {}), Entry("nonsense", "odd", {}))
    record(folder, "selinux_state", Entry("file", "/etc/x", {"content": 7}))
    record(folder, "isolation", Entry("guest", "gone", {}))
    actor = Recorder(
        held=PlanError("it is open", "open"), lost=HostWriteError("it is gone", "gone"), gone=ImportError("x")
    )
    outcome = put_back(folder, actor)
    assert [entry.subject for _run, entry in outcome.restored] == ["also", "fine"]
    assert [(item.subject, item.reason.code) for item in outcome.refused] == [("held", "open")]
    assert [item.subject for item in outcome.failed] == ["gone", "/etc/x", "odd", "lost"]
    assert outcome.failed[2].reason.code == "unknown_kind"
    assert outcome.failed[-1].reason.code == "gone"
    assert outcome.failed[-1].reason.text.startswith("000003-guest_seclabel: ")
    assert [run.name[:6] for run in rollback.runs(folder=folder)] == ["000005", "000004", "000003", "000002"]
    # Once the guest has stopped, the run can go.
    again = put_back(folder, Recorder())
    assert again.refused == []
    assert [run.name[:6] for run in rollback.runs(folder=folder)] == ["000004", "000003"]


def test_a_run_whose_file_is_broken(folder: str) -> None:
    record(folder, "image_label", Entry("label", "fine", {}))
    record(folder, "image_label", Entry("label", "a", {}))
    Path(rollback.runs(folder=folder)[0].path).write_text("{}\n")
    runs = rollback.runs(folder=folder)
    assert core.document(runs) == [
        {"run": "000002-image_label", "entries": 0, "problem": runs[0].problem},
        {"run": "000001-image_label", "entries": 1},
    ]
    outcome = put_back(folder, Recorder())
    assert [item.subject for item in outcome.failed] == ["000002-image_label"]
    assert [run.name for run in rollback.runs(folder=folder)] == ["000002-image_label"]


def test_a_run_that_wrote_nothing_down_is_done_with(folder: str) -> None:
    record(folder, "image_label", Entry("label", "a", {}))
    Path(rollback.runs(folder=folder)[0].path).write_bytes(b'{"kind":"la')
    assert put_back(folder, Recorder()).failed == []
    assert rollback.runs(folder=folder) == []


def test_what_it_takes_until_it_counts() -> None:
    entries = [
        Entry("file", "/etc/libvirt/qemu.conf", {}),
        Entry("file", "/etc/libvirt/qemu.conf", {}),
        Entry("file", "/etc/systemd/system/virtqemud.service.d/x.conf", {}),
        Entry("file", "/etc/default/grub", {}),
        Entry("file", "/etc/libvirt/hooks/qemu", {}),
        Entry("guest", "6d2b0b53", {}),
        Entry("label", "/srv/a", {}),
    ]
    needs = [(item.subject, item.needs) for item in core.pending(entries)]
    assert needs == [
        ("/etc/libvirt/qemu.conf", "daemon_restart"),
        ("/etc/systemd/system/virtqemud.service.d/x.conf", "daemon_restart"),
        ("/etc/default/grub", "reboot"),
        ("6d2b0b53", "guest_power_cycle"),
    ]


def test_the_plan_and_the_diff(tmp_path: Path, folder: str) -> None:
    conf, blob, new = tmp_path / "a.conf", tmp_path / "blob", tmp_path / "new"
    conf.write_text("one\n")
    blob.write_bytes(b"\xff\0")
    with Journal("x", folder) as journal:
        for content in (b"two\n", b"three\n"):
            change_file(str(conf), content, journal)
        change_file(str(blob), b"y" * 300_000, journal)
        change_file(str(new), b"new\n", journal)
        journal.record([Entry("label", "/srv/a", {"label": "x"}), Entry("file", "/etc/odd", {})])
    runs = rollback.runs(folder=folder)
    assert [step.subject for step in core.plan(runs)] == [
        *("/etc/odd", "/srv/a", str(new), str(blob), str(conf), str(conf))
    ]
    step = core.plan(runs)[1].as_dict()
    assert step == {
        "action": "put_back",
        "subject": "/srv/a",
        "from": "label",
        "to": "000001-x",
    }
    shown: dict[str, t.Any] = {item["before_header"]: (item["before"], item["after"]) for item in rollback.diffs(runs)}
    assert shown[str(conf)] == ("three\n", "one\n")
    assert shown[str(blob)] == ("300000 bytes\n", "2 bytes\n")
    assert shown[str(new)] == ("new\n", "")
    assert shown["/srv/a"] == ("", '{\n  "label": "x"\n}\n')
    assert "cannot be read" in shown["/etc/odd"][1]


@pytest.mark.parametrize(
    ("subject", "status", "asked", "failed"),
    [
        ("/etc/systemd/system/libvirtd.service.d/60-svirt-fleet.conf", 0, [["systemctl", "daemon-reload"]], 0),
        ("/etc/systemd/system/libvirtd.service.d/60-svirt-fleet.conf", 1, [["systemctl", "daemon-reload"]], 1),
        ("/etc/libvirt/qemu.conf", 0, [], 0),
    ],
)
def test_systemd_reads_its_files_when_they_were_put_back(
    tmp_path: Path, subject: str, status: int, asked: list[list[str]], failed: int
) -> None:
    log = tmp_path / "asked"  # a child asks

    def run_command(command: list[str]) -> tuple[int, str, str]:
        log.write_text(" ".join(command))
        return status, "", "Connection timed out"

    entry = Entry("file", subject, {"content": None})
    outcome = rollback.Outcome(restored=[(rollback.Run("000001-x.jsonl", (entry,)), entry)])
    rollback.reload_units(outcome, run_command)
    assert ([log.read_text().split()] if log.exists() else []) == asked
    assert [item.subject for item in outcome.failed] == ["systemd"] * failed
