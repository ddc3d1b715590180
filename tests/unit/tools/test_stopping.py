# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""A run of the checks that is stopped: its checks end, its scenario's hosts too, and it says which."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.machine.process import Process, programs_with, save
from tests.tools import stopping

PATIENCE = 120.0
#: Runs two checks side by side, and a third that has to wait for them. The arguments: a folder, and the program of one.
RUN = """
import sys
from pathlib import Path
from tests.tools import checks, running, stopping
folder, program = Path(sys.argv[1]), sys.argv[2]
running.LOGS = running.ROOT = folder
stopping.LOCK, stopping.RECORD = folder / "lock", folder / "record"
def check(name):
    undo = [sys.executable, "-c", "print('kvm1: stopped process 7')"]
    return running.Check(name, [sys.executable, program, str(folder / name)], folder, undo=undo)
checks.PLANS = {"soak": lambda: [checks.Turn([check("one"), check("two"), check("three")])]}
checks.LOGS = folder
checks.lab_of = lambda name: folder / f"lab-{name}"
checks.clean_copy.refresh = lambda: None
sys.argv[1:] = ["soak"]
sys.exit(checks.main())
"""
#: A check with a child, and a child that has a session of its own; it ends at SIGINT only if its name is "two".
CHECK = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL if sys.argv[1].endswith("two") else signal.SIG_IGN)
sleep = [sys.executable, "-c", "import time; time.sleep(1000)"]
pids = [os.getpid(), subprocess.Popen(sleep).pid, subprocess.Popen(sleep, start_new_session=True).pid]
with open(sys.argv[1] + ".new", "w") as note:
    note.write(" ".join(map(str, pids)))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(1000)
"""


class Run:
    """A run in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "check.py").write_text(CHECK)
        command = [sys.executable, "-c", RUN, str(folder), str(folder / "check.py")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def begun(self) -> list[Process]:
        """Wait until both checks are under way; their processes."""
        notes = [self.folder / name for name in ("one", "two")]
        end = time.monotonic() + PATIENCE
        while not all(note.exists() for note in notes):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "no check began"
            time.sleep(0.05)
        return [Process.of(int(pid)) for note in notes for pid in note.read_text().split()]

    def signal(self, number: int) -> tuple[int, str]:
        """Its exit status after a signal, and what it said."""
        self.process.send_signal(number)
        said, _nothing = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    started: list[Process] = []
    try:
        started = made.begun()
        yield made
    finally:
        made.process.kill()
        made.process.communicate()
        for process in started:
            process.stop(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_checks_and_their_hosts(run: Run, number: signal.Signals) -> None:
    processes = run.begun()
    assert len(processes) == 6
    assert all(process.alive() for process in processes)
    status, said = run.signal(number)
    assert status == 128 + number
    assert [process for process in processes if process.alive()] == []
    assert f"==> stopped by {number.name}" in said
    for name in ("one", "two"):
        assert f"{name}: kvm1: stopped process 7" in said
        assert "the run was stopped" in (run.folder / f"{name}.log").read_text()
    assert "three begins" not in said
    assert not (run.folder / "three").exists()


def test_what_a_killed_run_left_is_ended_by_the_next_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = run.begun()
    run.signal(signal.SIGKILL)
    os.kill(processes[3].pid, signal.SIGKILL)
    while processes[3].alive():
        time.sleep(0.05)
    left = [process for process in processes if process.alive()]
    assert len(left) == 5
    monkeypatch.setattr(stopping, "RECORD", run.folder / "record")
    (said,) = stopping.sweep([])
    assert all(str(process.pid) in said.split() for process in left[:4])
    # The second leader is gone: its child is found by the session, but not what left the session and its parent.
    assert [process for process in processes if process.alive()] == processes[5:]
    assert list(stopping.sweep([])) == []


def test_one_run_at_a_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOCK", run.folder / "lock")
    with pytest.raises(stopping.BusyError, match=f"process {run.process.pid} "), stopping.alone():
        pass
    run.signal(signal.SIGKILL)
    with stopping.alone():
        assert (run.folder / "lock").read_text() == f"{os.getpid()}\n"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Process]:
    """What stands for a kernel of User-Mode Linux: a process with the same name and arguments."""
    program, folder = tmp_path / "kernel-0" / "linux", tmp_path / "lab"
    for each in (program.parent, folder):
        each.mkdir()
    shutil.copy("/bin/sleep", program)
    (folder / "hosts").write_text("kvm1\n")
    # The argument is the program's name, for sleep takes none such.
    with subprocess.Popen([f"ubd0={folder}/kvm1.cow,disk", "1000"], executable=program) as process:
        # The kernel gives a program its arguments a moment after it has closed what Popen waits for.
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes():
            assert process.poll() is None
        yield Process.of(process.pid)
        process.kill()


def test_hosts_are_stopped_by_their_numbers(tmp_path: Path, host: Process, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "lab" / "kvm1.process.json", [host])
    lab = Lab.at(tmp_path / "lab")
    assert lab.processes() == [host.pid]
    lab.down()
    assert not host.alive()
    assert f"kvm1: stopped process {host.pid}" in capsys.readouterr().err
    assert lab.processes() == []


def test_a_host_that_was_not_written_down_is_found(tmp_path: Path, host: Process) -> None:
    assert programs_with(f"{tmp_path}/lab/kvm1.") == [host]
    assert programs_with(f"{tmp_path}/lab/kvm2.") == []
    assert programs_with(f"{tmp_path}/other/") == []
    assert [host.pid == pid for pid in Lab.at(tmp_path / "lab").processes()] == [True]


def test_the_next_run_stops_hosts_that_are_left(tmp_path: Path, host: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "RECORD", tmp_path / "record")
    assert list(stopping.sweep([tmp_path / "nothing"])) == []
    (said,) = stopping.sweep([tmp_path / "lab", tmp_path / "nothing"])
    assert said.endswith(f"process {host.pid}")
    assert not host.alive()
    assert list(stopping.sweep([tmp_path / "lab"])) == []
