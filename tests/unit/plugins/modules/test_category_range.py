# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The module on a host's tree, with a drop-in that is a real file."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.module_utils._backends import category_range as work
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Journal
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import rollback
from ansible_collections.svirt.fleet.plugins.modules import category_range

from tests.unit.support import hosts
from tests.unit.support.captured import Tree
from tests.unit.support.handed_in import hand_journal, hand_root
from tests.unit.support.module_args import patch_module_args
from tests.unit.support.ranges import DROP_IN, VIRTD, RangeRoot, Systemd, actor, tree

Run = t.Callable[..., dict[str, t.Any]]
SHOWN = f"SELinuxContext={VIRTD}c0.c31\nDropInPaths={DROP_IN}\n"


@pytest.fixture
def host() -> Tree:
    return tree()


@pytest.fixture
def systemd(tmp_path: Path) -> Systemd:
    found = Systemd(tmp_path)
    found.shows = SHOWN
    return found


@pytest.fixture
def drop_in(tmp_path: Path) -> Path:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    return Path(f"{tmp_path}{DROP_IN}")


@pytest.fixture
def run(
    host: Tree, systemd: Systemd, drop_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: t.Any
) -> Run:
    hand_root(monkeypatch, lambda: RangeRoot(host, hosts.policy()))
    hand_journal(monkeypatch, category_range, tmp_path / "journal")
    monkeypatch.setattr(work, "CategoryRange", lambda *_: actor(host, tmp_path, systemd))

    def call(**arguments: t.Any) -> dict[str, t.Any]:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            category_range.main()
        result = json.loads(capsys.readouterr().out)
        result.pop("invocation", None)
        return t.cast("dict[str, t.Any]", result)

    return call


def test_check_mode_predicts_the_run(run: Run, drop_in: Path, tmp_path: Path, systemd: Systemd) -> None:
    told = run(low=0, high=31, _ansible_check_mode=True, _ansible_diff=True)
    assert (drop_in.parent.exists(), (tmp_path / "journal").exists(), systemd.acts) == (False, False, [])
    done = run(low=0, high=31, _ansible_diff=True)
    assert done == told
    assert set(done) - {"changed", "diff"} == set(yaml.safe_load(category_range.RETURN))
    assert done["changed"] is True
    assert done["before"] == {"daemon": "libvirtd", "drop_in": None, "range": "c0.c1023", "running": "c0.c1023"}
    assert done["after"] == {"daemon": "libvirtd", "drop_in": DROP_IN, "range": "c0.c31", "running": "c0.c1023"}
    assert done["context"] == f"{VIRTD}c0.c31"
    assert done["plan"] == [{"action": "add", "subject": DROP_IN, "from": "c0.c1023", "to": "c0.c31"}]
    assert (done["restart_needed"], done["refused"]) == (True, [])
    assert [(item["subject"], item["needs"], item["code"]) for item in done["pending"]] == [
        ("libvirtd.service", "daemon_restart", "daemon_restart")
    ]
    assert (done["diff"][0]["before"], done["diff"][0]["after"]) == ("", drop_in.read_text())
    assert drop_in.read_text().endswith(f"[Service]\nSELinuxContext={VIRTD}c0.c31\n")
    assert (drop_in.stat().st_mode & 0o777, drop_in.parent.stat().st_mode & 0o777) == (0o644, 0o755)
    assert systemd.acts == ["daemon-reload"]


def test_the_second_run_writes_nothing_and_still_waits(run: Run, systemd: Systemd, tmp_path: Path, host: Tree) -> None:
    run(low=0, high=31)
    again = run(low=0, high=31, _ansible_diff=True)
    assert (again["changed"], again["plan"], again["diff"], again["restart_needed"]) == (False, [], [], True)
    assert systemd.acts == ["daemon-reload"]
    assert len(rollback.runs(folder=str(tmp_path / "journal"))) == 1
    host.file("/proc/900/attr/current", f"{VIRTD}c0.c31\0")
    assert run(low=0, high=31)["restart_needed"] is False


def test_another_range_and_away(run: Run, drop_in: Path, systemd: Systemd) -> None:
    run(low=0, high=31)
    systemd.shows = ""  # an older systemctl that prints neither
    changed = run(low=32, high=95)
    assert changed["plan"] == [{"action": "set", "subject": DROP_IN, "from": "c0.c31", "to": "c32.c95"}]
    told = run(state="absent", _ansible_check_mode=True)
    gone = run(state="absent")
    assert told == gone
    assert gone["plan"] == [{"action": "remove", "subject": DROP_IN, "from": "c32.c95", "to": "c0.c1023"}]
    assert (gone["context"], gone["restart_needed"]) == (None, False)  # it never ran with anything else
    assert not drop_in.exists()
    assert run(state="absent")["changed"] is False
    assert systemd.acts == ["daemon-reload"] * 3


def test_a_run_is_restored_and_systemd_reloaded(run: Run, drop_in: Path, tmp_path: Path, systemd: Systemd) -> None:
    run(low=0, high=31)
    with Journal("svirt_rollback", str(tmp_path / "journal")) as journal:
        outcome = rollback.put_back(rollback.runs(folder=journal.folder), journal)
    assert outcome.failed == []
    assert not drop_in.parent.exists()
    assert rollback.runs(folder=str(tmp_path / "journal")) == []


def test_what_was_there_comes_back(run: Run, drop_in: Path, tmp_path: Path) -> None:
    run(low=0, high=31)
    before = drop_in.read_bytes()
    run(state="absent")
    with Journal("svirt_rollback", str(tmp_path / "journal")) as journal:
        rollback.put_back(rollback.runs(1, folder=journal.folder), journal)
    assert drop_in.read_bytes() == before


@pytest.mark.parametrize(
    ("fails", "shows", "message"),
    [
        ("daemon-reload", SHOWN, "systemctl daemon-reload: Connection timed out"),
        ("show", SHOWN, "systemctl show"),
        ("", "DropInPaths=/etc/systemd/system/libvirtd.service.d/a.conf\n", "systemd does not read /etc/systemd"),
        ("", "DropInPaths=\n", "systemd does not read /etc/systemd"),
        ("", f"{SHOWN}SELinuxContext={VIRTD}c0.c1023\n", "starts libvirtd.service as"),
    ],
)
def test_what_systemd_does_not_take_is_as_it_was(
    run: Run, drop_in: Path, systemd: Systemd, fails: str, shows: str, message: str
) -> None:
    systemd.fails, systemd.shows = fails, shows
    result = run(low=0, high=31)
    assert result["failed"] is True
    assert message in result["msg"]
    assert "is as it was" in result["msg"]
    assert not drop_in.exists()


def test_refusals_are_reported_and_fail_only_when_strict(run: Run, host: Tree, drop_in: Path) -> None:
    host.file("/etc/systemd/system/libvirtd.service.d/zz-site.conf", f"[Service]\nSELinuxContext={VIRTD}c0.c99\n")
    result = run(low=0, high=31)
    assert (result["changed"], result["context"], result["restart_needed"]) == (False, None, False)
    assert [item["subject"] for item in result["refused"]] == ["range of libvirtd"]
    assert result["refused"][0]["code"] == "overruled"
    assert result["before"]["range"] == "c0.c99"
    assert run(low=0, high=31, strict=True)["failed"] is True
    assert not drop_in.exists()


def test_a_mask_of_another_drop_in_is_heeded(run: Run, host: Tree) -> None:
    host.file("/usr/lib/systemd/system/libvirtd.service.d/zz.conf", f"[Service]\nSELinuxContext={VIRTD}c0.c99\n")
    host.file("/dev/null", type="c")
    host.link("/etc/systemd/system/libvirtd.service.d/zz.conf", "/dev/null")
    assert run(low=0, high=31)["refused"] == []


def test_a_drop_in_that_cannot_be_read_is_an_error(run: Run, host: Tree) -> None:
    host.file("/usr/lib/systemd/system/libvirtd.service.d/zz.conf", errno=5)
    assert "zz.conf cannot be read" in run(low=0, high=31)["msg"]


def test_a_link_in_the_drop_ins_place_is_left_alone(run: Run, drop_in: Path, tmp_path: Path) -> None:
    drop_in.parent.mkdir()
    (tmp_path / "target").write_text("mine\n")
    drop_in.symlink_to(tmp_path / "target")
    assert run(low=0, high=31)["refused"][0]["code"] == "not_ours"
    assert (tmp_path / "target").read_text() == "mine\n"
    assert os.path.islink(drop_in)


def test_a_policy_that_would_not_let_it_start(run: Run, monkeypatch: pytest.MonkeyPatch, drop_in: Path) -> None:
    monkeypatch.setattr(RangeRoot, "denied", ("virtd_t",))
    result = run(low=0, high=31)
    assert result["refused"][0]["code"] == "transition_denied"
    assert not drop_in.exists()


def test_without_selinux(run: Run, host: Tree) -> None:
    host.file("/sys/fs/selinux/class/file/index", errno=2)
    assert run(low=0, high=31)["refused"][0]["code"] == "selinux_off"


def test_a_daemon_that_sleeps_has_it_when_it_wakes(run: Run, host: Tree) -> None:
    for path in [path for path in host.entries if path.startswith("/proc/900")]:
        del host.entries[path]
    host.libvirt.clear()
    del host.entries["/run/libvirt/qemu/autostarted"]
    result = run(low=0, high=31)
    assert (result["changed"], result["restart_needed"], result["pending"]) == (True, False, [])
    assert result["before"]["running"] is None


def test_repair_looks_at_guests_only_where_something_is_wrong(run: Run, drop_in: Path, systemd: Systemd) -> None:
    assert run(state="repaired")["changed"] is False
    run(low=0, high=31)
    sound = drop_in.read_text()
    assert run(state="repaired")["changed"] is False
    drop_in.write_text(sound.replace("s0-s0:c0.c31", "s0-s0:c0.c5"))
    told = run(state="repaired", _ansible_check_mode=True)
    assert drop_in.read_text() != sound
    done = run(state="repaired")
    assert done == told
    assert (done["changed"], drop_in.read_text()) == (True, sound)


def test_a_host_without_libvirt(run: Run, host: Tree) -> None:
    for path in ("/usr/sbin/libvirtd",):
        del host.entries[path]
    assert "no libvirt daemon for QEMU is installed" in run(low=0, high=31)["msg"]
    assert run(state="repaired")["changed"] is False
    assert run(state="absent", _ansible_diff=True)["changed"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 0, "high": 3}, "has 4 categories"),
        ({}, "low or high is missing"),
        ({"low": 0, "high": 31, "timeout": 0}, "timeout is 0"),
    ],
)
def test_what_cannot_be_meant_fails(run: Run, arguments: dict[str, t.Any], message: str) -> None:
    assert message in run(**arguments)["msg"]
