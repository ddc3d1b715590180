# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""One run of the watch on a captured host, and the archive that hosts are sent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.watch.settings import METRICS, WatchSettings
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.own_files import WATCH_SETTINGS, WATCH_STATE
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.root import Root
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Tools
from ansible_collections.svirt.fleet.plugins.module_utils._watch import main as program
from ansible_collections.svirt.fleet.plugins.module_utils._watch import programs
from ansible_collections.svirt.fleet.plugins.module_utils._watch.host_root import SandboxedRoot
from ansible_collections.svirt.fleet.plugins.module_utils._watch.main import FAULT, OK, Watch
from ansible_collections.svirt.fleet.plugins.module_utils._watch.programs import run_command
from ansible_collections.svirt.fleet.plugins.plugin_utils import _archive

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree

DIRECTORY = "/metrics"


class Host:
    def __init__(self, top: Path, tree: Tree | None = None) -> None:
        self.top = top
        self.lines: list[tuple[int, str]] = []
        self.journal = (0, "", "")
        self.tree = tree or hosts.el9()
        for path in (WATCH_SETTINGS, WATCH_STATE, DIRECTORY + "/x"):
            (top / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        self.settings(WatchSettings("kvm1", DIRECTORY).text())

    def settings(self, text: str) -> None:
        (self.top / WATCH_SETTINGS[1:]).write_text(text)

    def run(self, *arguments: str) -> int:
        root = CapturedRoot(self.tree, hosts.policy())
        tools = Tools(ask=lambda _uri, _names: iter(self.tree.libvirt or hosts.answer()))
        watch = Watch(
            root, str(self.top), tools, lambda _args: self.journal, lambda *line: self.lines.append(line), lambda: 5e9
        )
        return program.main(arguments, watch)

    @property
    def metrics(self) -> str:
        return (self.top / DIRECTORY[1:] / METRICS).read_text()

    @property
    def state(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self.top / WATCH_STATE[1:]).read_text()))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def value(text: str, name: str) -> str:
    return next(line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(f"svirt_fleet_watch_{name} "))


def test_a_run_writes_metrics_and_logs_what_changed(host: Host) -> None:
    assert host.run() == OK
    assert len(host.lines) == 1
    assert host.run() == OK
    assert len(host.lines) == 1
    assert host.state["verdict"] in ("fail", "unknown", "pass")
    assert f'verdict="{host.state["verdict"]}"}} 1' in host.metrics
    assert (host.top / DIRECTORY[1:] / METRICS).stat().st_mode & 0o777 == 0o644
    assert [path.name for path in (host.top / DIRECTORY[1:]).iterdir()] == [METRICS]


def test_boot_entries_are_judged_as_the_audit_judges_them(host: Host) -> None:
    host.run()
    assert "(boot:" not in host.lines[-1][1]
    assert 'rule="SEL-004"} 0' in host.metrics
    host.tree.file("/boot/loader/entries/weak.conf", "title Weak\nlinux /vmlinuz\noptions $kernelopts selinux=0\n")
    host.run()
    assert 'rule="SEL-004"} 1' in host.metrics


def test_drift_is_seen_by_the_next_run(host: Host) -> None:
    host.run()
    host.tree.file("/sys/fs/selinux/enforce", "0")
    host.run()
    assert host.state["verdict"] == "fail"
    assert "SEL-002" in host.lines[-1][1]
    assert 'rule="SEL-002"} 1' in host.metrics


def test_a_refusal_of_the_guard_is_counted(host: Host) -> None:
    line = {"MESSAGE": "guest 'a' was refused: x", "PRIORITY": "4", "_BOOT_ID": "b"}
    text = json.dumps({**line, "__MONOTONIC_TIMESTAMP": "7", "__REALTIME_TIMESTAMP": "9"})
    host.journal = (0, text, "")
    host.run()
    host.run()
    assert value(host.metrics, "guard_refusals_total") == "1"
    assert value(host.metrics, "guard_log_readable") == "1"


@pytest.mark.parametrize("answer", [(1, "", "denied"), (0, "-- No entries --\n", "No journal files were found.\n")])
def test_a_journal_that_cannot_be_read_is_no_journal_without_refusals(host: Host, answer: tuple[int, str, str]) -> None:
    host.journal = answer
    host.run()
    assert (value(host.metrics, "guard_refusals_total"), value(host.metrics, "guard_log_readable")) == ("0", "0")
    host.journal = (0, "-- No entries --\n", "")
    host.run()
    assert value(host.metrics, "guard_log_readable") == "1"


def test_a_run_that_fails_is_unknown(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run()

    def broken(*_arguments: t.Any) -> t.NoReturn:
        raise RuntimeError("\x1b[2J")

    monkeypatch.setattr(Watch, "_judge", broken)
    assert host.run() == FAULT
    assert host.state["verdict"] == "unknown"
    assert host.lines[-1][1].isprintable()


@pytest.mark.parametrize(("result", "verdict"), [("timeout", "unknown"), ("oom-kill", "unknown"), ("success", "")])
def test_a_run_that_systemd_ended_is_unknown(
    host: Host, monkeypatch: pytest.MonkeyPatch, result: str, verdict: str
) -> None:
    host.run()
    before = host.state["verdict"]
    monkeypatch.setenv("SERVICE_RESULT", result)
    assert host.run("--ended") == OK
    assert host.state["verdict"] == (verdict or before)


def test_a_broken_state_is_a_first_run(host: Host) -> None:
    host.run()
    (host.top / WATCH_STATE[1:]).write_text("{")
    assert host.run() == OK
    assert len(host.lines) == 2


def test_settings_that_cannot_be_read_fail_the_run(host: Host) -> None:
    host.settings("{")
    assert host.run() == FAULT
    assert host.run("--self-test") == FAULT


def test_metrics_that_cannot_be_written_fail_the_run(host: Host) -> None:
    shutil.rmtree(host.top / DIRECTORY[1:])
    assert host.run() == FAULT
    assert "metrics" in host.lines[-1][1]


def test_mounts_are_those_of_the_host_and_not_of_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's sandbox makes every mount read-only, which says nothing of the host."""
    read: list[str] = []

    def noted(path: str) -> str:
        read.append(path)
        return ""

    monkeypatch.setattr(Root, "read_bytes", lambda _self, path, _limit=0: noted(path).encode())
    monkeypatch.setattr(Root, "readlink", lambda _self, path: noted(path))
    root = SandboxedRoot()
    root.read_text("/proc/self/mountinfo")
    root.readlink("/proc/self/ns/mnt")
    root.read_text("/proc/self/status")
    root.read_text("/srv/proc/self/mountinfo")
    assert read == ["/proc/1/mountinfo", "/proc/1/ns/mnt", "/proc/self/status", "/srv/proc/self/mountinfo"]


def test_no_reader_takes_the_mounts_of_its_own_process_otherwise() -> None:
    """What reads a mount table by another path would see the sandbox."""
    own = re.compile(r"/proc/self/(?!mountinfo\b|ns/mnt\b|fd\b)[a-z/]+|/proc/mounts|/etc/mtab|statvfs|os\.access")
    folders = [_archive.SOURCES / "_host" / name for name in ("base", "probe")]
    found = [path.name for folder in folders for path in folder.glob("*.py") if own.search(path.read_text())]
    assert found == []


def test_programs_are_run_without_a_shell() -> None:
    assert run_command(["printf", "%s", "$HOME"])[:2] == (0, "$HOME")
    assert run_command(["/no/such/program"])[0] == 127
    assert run_command(["false"])[0] == 1


@pytest.fixture
def attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(programs, "_ATTRIBUTES", str(tmp_path))
    (tmp_path / "current").write_bytes(b"u:r:watch_t:s0\0")
    return tmp_path


def test_programs_stay_in_the_domain_of_the_watch(attributes: Path) -> None:
    """Its label is set for the program alone, and taken back."""
    assert run_command(["cat", str(attributes / "exec")]) == (0, "u:r:watch_t:s0\0", "")
    assert (attributes / "exec").read_bytes() == b"\n"
    run_command(["/no/such/program"])
    assert (attributes / "exec").read_bytes() == b"\n"


def test_a_program_that_may_not_run_in_that_domain_gets_the_one_of_the_policy(
    attributes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = subprocess.run

    def denied(*arguments: t.Any, **more: t.Any) -> t.Any:
        if (attributes / "exec").read_bytes() != b"\n":
            raise PermissionError(13, "Permission denied")
        return run(*arguments, check=more.pop("check", False), **more)

    monkeypatch.setattr(subprocess, "run", denied)
    assert run_command(["printf", "read"]) == (0, "read", "")


def test_programs_run_where_no_label_can_be_set(attributes: Path) -> None:
    (attributes / "exec").mkdir()
    assert run_command(["printf", "read"]) == (0, "read", "")
    (attributes / "current").unlink()
    assert run_command(["printf", "read"]) == (0, "read", "")


# -- the archive -------------------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "watch.pyz"
    path.write_bytes(_archive.program())
    return path


def test_the_archive_has_what_it_imports_and_nothing_else(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        assert all(entry.date_time == (1980, 1, 1, 0, 0, 0) for entry in opened.infolist())
    assert {"__main__.py", "svirt_fleet/__init__.py", "svirt_fleet/_watch/main.py"} <= set(names)
    assert not [name for name in names if "/change/" in name or "/harden/" in name or "_backends" in name]
    _archive.program.cache_clear()
    assert _archive.program() == archive.read_bytes()


def _pythons() -> list[str]:
    versions = sorted(Path.home().glob(".pyenv/versions/3.9*/bin/python3.9"))
    found = [shutil.which("python3.9", path="/usr/bin"), *map(str, versions), sys.executable]
    return [path for path in found if path]


@pytest.mark.parametrize("python", _pythons())
def test_the_archive_runs_without_ansible(archive: Path, python: str) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import svirt_fleet._watch.main as m; "
        "assert not [n for n in sys.modules if n.startswith('ansible')]; sys.exit(m.main(['--self-test']))"
    )
    done = subprocess.run([python, "-ISB", "-c", code, str(archive)], capture_output=True, text=True, check=False)
    # No host of these tests has the settings of the watch: all was imported, and that is what it says.
    assert done.returncode == FAULT, done.stderr
    assert WATCH_SETTINGS in done.stderr
