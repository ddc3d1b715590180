# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Ends what a run of the checks started: at a signal, and what an earlier run left behind when it was killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from tests.lab.lab import Lab
from tests.lab.machine.process import Process, kill, load, save
from tests.tools import environment

#: Held by the run of a plan that starts hosts: two of them in one checkout would stop each other's.
LOCK = environment.BUILD / "checks.lock"
#: Processes of the checks under way, for the next run to find when this one is killed.
RECORD = environment.BUILD / "checks.json"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Seconds that a check has to end by itself after SIGINT.
_GRACE = 5.0
_PAUSE = 0.1


class StoppedError(Exception):
    """A signal ended the run."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class BusyError(Exception):
    """Another run has the checkout."""


def raise_at_signals() -> None:
    """Let the first of SIGNALS raise StoppedError in the main thread; those after it are ignored."""

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise StoppedError(number)

    for number in SIGNALS:
        signal.signal(number, stop)


class UnderWay:
    """The processes of the checks under way. Each leads a session, by which its children are found without it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: dict[int, Process] = {}
        self.stopping = False
        #: Where they are written down; None: nowhere.
        self.record: Path | None = None

    @contextmanager
    def start(self, command: Sequence[str], **given: object) -> Iterator[subprocess.Popen[bytes] | None]:
        """A process for as long as the block lasts; None when the run is being stopped."""
        with self._lock:
            if self.stopping:
                process = None
            else:
                process = subprocess.Popen(command, start_new_session=True, **given)  # type: ignore[call-overload]
                with suppress(ProcessLookupError):  # it has ended
                    self._processes[process.pid] = Process.of(process.pid)
                self._save()
        try:
            yield process
        finally:
            if process is not None:
                process.wait()
                with self._lock:
                    self._processes.pop(process.pid, None)
                    self._save()

    def stop(self) -> None:
        """End all of them; no other is started from now on."""
        with self._lock:
            self.stopping = True
            processes = list(self._processes.values())
        end(processes)

    def _save(self) -> None:
        if self.record is not None:
            save(self.record, self._processes.values())


def end(processes: Iterable[Process]) -> list[int]:
    """End leaders of sessions with all that they started, first by SIGINT; returns the numbers of all."""
    leaders = list(processes)
    found = {process for leader in leaders for process in leader.family()}
    for leader in leaders:
        if leader.alive():
            with suppress(ProcessLookupError):
                os.killpg(leader.pid, signal.SIGINT)
    _wait(leaders)
    found |= {process for leader in leaders for process in leader.family()}
    kill(process.pid for process in found if process.alive())
    _wait(found)
    return sorted(process.pid for process in found)


def _wait(processes: Iterable[Process]) -> None:
    """Wait until all of them have ended, but not for long."""
    limit = time.monotonic() + _GRACE
    while time.monotonic() < limit and any(process.alive() for process in processes):
        time.sleep(_PAUSE)


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock of the checkout. Raises BusyError while another run has it."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise BusyError(f"process {handle.read().strip()} runs the checks in this checkout") from error
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield


def sweep(labs: Iterable[Path]) -> Iterator[str]:
    """End what a run that was killed left here: its checks, then the hosts of these labs. Says what it ended."""
    if left := end(load(RECORD)):
        yield f"ended processes of a run that was killed: {' '.join(map(str, left))}"
    RECORD.unlink(missing_ok=True)
    for folder in labs:
        lab = Lab.at(folder)
        if left := lab.processes():
            lab.down()
            yield f"stopped hosts that a run left in {folder}: process {' '.join(map(str, left))}"
