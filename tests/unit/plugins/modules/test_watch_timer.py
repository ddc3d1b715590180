# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The watch is installed, changed, removed and rolled back, on a host in a folder."""

from __future__ import annotations

import binascii
import json
import os
import typing as t
import zlib
from pathlib import Path

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.module_utils._backends import watch_timer as work
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.watch.units import (
    ENABLED_PATH,
    MARK,
    SERVICE_PATH,
    TIMER_PATH,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.own_files import (
    WATCH_PROGRAM,
    WATCH_SETTINGS,
    WATCH_STATE,
)
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Journal
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.tools import HostTools
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import rollback
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.own_programs import watch
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.own_programs.watch import WatchActor
from ansible_collections.svirt.fleet.plugins.modules import watch_timer

from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.handed_in import hand_journal, hand_root
from tests.unit.support.module_args import patch_module_args

FILES = (WATCH_PROGRAM, WATCH_SETTINGS, SERVICE_PATH, TIMER_PATH)
METRICS = "/metrics"
INIT, PYTHON, SERVICE = (f"system_u:{kind}:s0" for kind in ("system_r:init_t", "object_r:bin_t", "system_r:own_t"))
CONTENT = binascii.b2a_base64(zlib.compress(b"PK\x03\x04 a program")).decode()


class Host:
    """A host in a folder, with a systemd that knows one timer."""

    def __init__(self, top: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.top, self.capsys = top, capsys
        self.binding, self.test = True, 0
        self.tree = Tree()
        self.tree.folder("/run/systemd/system")
        self.tree.file("/usr/bin/python3", label=PYTHON)
        for folder in ("usr/local/lib", "etc/systemd/system", "var/lib/svirt-fleet/watch"):
            (top / folder).mkdir(parents=True)

    @property
    def active(self) -> bool:
        """In a file: systemctl runs in a process of its own."""
        return (self.top / "journal.active").exists()

    @active.setter
    def active(self, value: bool) -> None:
        path = self.top / "journal.active"
        path.touch() if value else path.unlink(missing_ok=True)

    def run_command(self, args: list[str], *, data: str | None = None) -> tuple[int, str, str]:
        assert data is None
        command = args
        if command[0] == "systemctl":
            return self.systemctl(*command[1:])
        if "--self-test" in command:
            assert self.path(WATCH_PROGRAM).exists()
            return self.test, "", "no luck" if self.test else ""
        return int("libvirt" in command[-1] and not self.binding), "", ""

    def systemctl(self, *words: str) -> tuple[int, str, str]:
        if words[0] == "is-active":
            return (0 if self.active else 3), "", ""
        if words[0] in ("start", "restart"):
            assert self.path(TIMER_PATH).exists(), "a timer that is started has a file"
            self.active = True
        elif words[0] == "stop":
            self.active = False
        return 0, "", ""

    def path(self, name: str) -> Path:
        return self.top / name[1:]

    def call(self, **arguments: t.Any) -> dict[str, t.Any]:
        given = {"content": CONTENT, "host": "kvm1", "directory": METRICS, **arguments}
        given = {name: value for name, value in given.items() if value is not None}
        with patch_module_args(given), pytest.raises(SystemExit):
            watch_timer.main()
        result = json.loads(self.capsys.readouterr().out)
        result.pop("invocation", None)
        return t.cast("dict[str, t.Any]", result)

    def remove(self, **more: t.Any) -> dict[str, t.Any]:
        return self.call(state="absent", content=None, host=None, directory=None, **more)

    def files(self) -> list[str]:
        return sorted(
            "/" + str(path.relative_to(self.top))
            for path in self.top.rglob("*")
            if not path.is_dir() and not path.relative_to(self.top).parts[0].startswith("journal")
        )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Host:
    made = Host(tmp_path, capsys)
    hand_root(monkeypatch, lambda: CapturedRoot(made.tree))
    tools = HostTools(made.run_command)
    monkeypatch.setattr(work, "WatchActor", lambda root, _tools: WatchActor(root, tools, str(tmp_path)))
    hand_journal(monkeypatch, watch_timer, tmp_path / "journal")
    return made


def test_check_mode_predicts_the_run(host: Host) -> None:
    foretold = host.call(_ansible_check_mode=True, _ansible_diff=True)
    assert host.files() == []
    done = host.call(_ansible_diff=True)
    assert foretold == done
    assert set(yaml.safe_load(watch_timer.RETURN)) <= set(done)
    assert host.files() == sorted([*FILES, ENABLED_PATH])
    assert (host.active, done["after"]["active"], done["after"]["enabled"]) == (True, True, True)
    assert [item["action"] for item in done["plan"]][-2:] == ["link", "start"]
    assert os.readlink(host.path(ENABLED_PATH)) == TIMER_PATH
    assert all(host.path(path).stat().st_mode & 0o777 == 0o644 for path in FILES)
    again = host.call(_ansible_diff=True)
    assert (again["changed"], again["plan"], again["diff"]) == (False, [], [])
    assert host.call(_ansible_check_mode=True)["changed"] is False


def test_units_have_what_was_asked_for(host: Host) -> None:
    host.call(interval=600, time_limit=100, memory_limit=256)
    service, timer = (host.path(path).read_text() for path in (SERVICE_PATH, TIMER_PATH))
    assert all(text.startswith(MARK) for text in (service, timer))
    assert "OnUnitActiveSec=600s\n" in timer
    for line in (
        "TimeoutStartSec=100",
        "MemoryMax=256M",
        f"ReadWritePaths={METRICS}",
        "NoNewPrivileges=yes",
        "Nice=19",
    ):
        assert f"\n{line}\n" in service
    # The probe could not work with these.
    for name in ("PrivateDevices", "ProtectHome", "PrivateTmp", "ProtectProc", "ProtectClock", "ProtectKernel"):
        assert name not in service


def test_a_change_restarts_the_timer_only_where_it_must(host: Host) -> None:
    host.call()
    assert [item["action"] for item in host.call(fail_on="low")["plan"]] == ["file"]
    assert [item["action"] for item in host.call(fail_on="low", interval=1200)["plan"]] == ["file", "file", "restart"]
    host.active = False
    assert [item["action"] for item in host.call(fail_on="low", interval=1200)["plan"]] == ["start"]


def test_absent_leaves_nothing(host: Host) -> None:
    host.call()
    for path in (WATCH_STATE, f"{METRICS}/svirt_fleet_watch.prom"):
        host.path(path).write_text("x")
    foretold = host.remove(_ansible_check_mode=True)
    done = host.remove()
    assert foretold == done
    assert (host.files(), host.active, done["after"]["active"]) == ([], False, False)
    assert [item["action"] for item in done["plan"]][:2] == ["stop", "unlink"]
    assert host.remove()["changed"] is False


def put_back(host: Host, count: int) -> None:
    folder = str(host.top / "journal")
    runs = rollback.runs(count, folder)
    assert len(runs) == count
    by_kind = {**rollback.RESTORERS, **watch.restorers(HostTools(host.run_command))}
    assert not rollback.foresee(runs, by_kind).refused
    with Journal("svirt_rollback", folder) as journal:
        outcome = rollback.put_back(runs, journal, by_kind)
    assert (outcome.refused, outcome.failed) == ([], [])


def test_a_rollback_takes_the_watch_away_and_brings_it_back(host: Host) -> None:
    host.call()
    installed = {path: host.path(path).read_bytes() for path in FILES}
    host.remove()
    put_back(host, 1)
    assert {path: host.path(path).read_bytes() for path in FILES} == installed
    assert (host.active, host.path(ENABLED_PATH).is_symlink()) == (True, True)
    put_back(host, 1)
    assert (host.files(), host.active) == ([], False)
    assert not host.path(METRICS).exists()


def test_a_program_that_does_not_work_is_not_installed(host: Host) -> None:
    host.test = 70
    result = host.call()
    assert result["failed"] is True
    assert "no luck" in result["msg"]
    assert (host.files(), host.active) == ([], False)


@pytest.mark.parametrize("path", [SERVICE_PATH, TIMER_PATH])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_units_of_others_are_left_alone(host: Host, path: str, state: str) -> None:
    host.path(path).write_text("[Unit]\n")
    assert (host.call() if state == "present" else host.remove())["failed"] is True
    assert host.files() == [path]


def test_a_link_of_others_is_left_alone(host: Host) -> None:
    host.path(ENABLED_PATH).parent.mkdir()
    host.path(ENABLED_PATH).symlink_to("/dev/null")
    assert host.call()["failed"] is True


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"interval": 5}, "interval"),
        ({"time_limit": 900}, "time_limit"),
        ({"memory_limit": 1}, "memory_limit"),
        ({"directory": "/a b"}, "directory"),
        ({"waivers": [{"reason": "x"}]}, "waivers"),
        ({"content": "x"}, "content"),
        ({"content": binascii.b2a_base64(zlib.compress(b"text")).decode()}, "content"),
        ({"host": ""}, "host"),
    ],
)
def test_what_cannot_be_meant_is_refused(host: Host, arguments: dict[str, t.Any], word: str) -> None:
    result = host.call(**arguments)
    assert result["failed"] is True
    assert word in result["msg"]
    assert host.files() == []


def test_a_host_without_systemd_or_python(host: Host) -> None:
    del host.tree.entries["/run/systemd/system"]
    assert "systemd" in host.call()["msg"]
    del host.tree.entries["/usr/bin/python3"]
    assert "Python" in host.call()["msg"]


def test_without_libvirts_binding_the_limits_say_so(host: Host) -> None:
    host.binding = False
    assert [item["code"] for item in host.call()["limits"]] == ["no_libvirt_binding"]


# -- the domain of the service -----------------------------------------------------------------------------------------


def policy(nnp: bool, denied: str = "") -> t.Callable[[str], str | None]:
    numbers = {"process": 2, "process2": 3, "file": 6, "dir": 7, "security": 1}

    def answer(question: str) -> str | None:
        if question.startswith("create "):
            return SERVICE
        source, target, number = question.split(" ")
        allowed = not (number == str(numbers["process2"]) and not nnp)
        allowed = allowed and not (denied and denied in target and source != INIT)
        return f"{'ffffffff' if allowed else '0'} ffffffff 0 0 1 0"

    return answer


def with_policy(monkeypatch: pytest.MonkeyPatch, host: Host, rules: t.Callable[[str], str | None]) -> None:
    fs = "/sys/fs/selinux"
    host.tree.file(f"{fs}/enforce", "1")
    host.tree.file(f"{fs}/access", label="system_u:object_r:security_t:s0")
    host.tree.file("/etc/libvirt/qemu.conf", label="system_u:object_r:virt_etc_t:s0")
    host.tree.file("/run/log/journal", label="system_u:object_r:journal_t:s0")
    host.tree.file("/proc/1/attr/current", INIT + "\0")
    names = {"process": 2, "process2": 3, "file": 6, "dir": 7, "security": 1}
    permissions = (
        "open read write map compute_av search add_name remove_name create rename unlink setattr nnp_transition"
    )
    for name, number in names.items():
        host.tree.file(f"{fs}/class/{name}/index", str(number))
        for bit, permission in enumerate(permissions.split(), 1):
            host.tree.file(f"{fs}/class/{name}/perms/{permission}", str(bit))
    hand_root(monkeypatch, lambda: CapturedRoot(host.tree, rules))


@pytest.mark.parametrize(("nnp", "domain"), [(True, SERVICE), (False, INIT)])
def test_the_domain_is_the_one_that_the_service_gets(
    host: Host, monkeypatch: pytest.MonkeyPatch, nnp: bool, domain: str
) -> None:
    with_policy(monkeypatch, host, policy(nnp))
    result = host.call()
    assert (result["domain"], result["limits"]) == (domain, [])


@pytest.mark.parametrize("kind", ["virt_etc_t", "journal_t"])
def test_what_the_policy_denies_is_said(host: Host, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with_policy(monkeypatch, host, policy(True, denied=kind))
    result = host.call()
    assert [(item["code"], kind in item["why"]) for item in result["limits"]] == [("denied", True)]
