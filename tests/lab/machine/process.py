# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Processes by number: a process that outlives the program and is recognised later, with all that it started."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A number and a start time (clock ticks since boot), which together name one process."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has the number now. Raises ProcessLookupError when there is none."""
        started = _started(pid)
        if started is None:
            raise ProcessLookupError(pid)
        return cls(pid, started, _boot())

    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self.boot == _boot() and _started(self.pid) == self.started

    def family(self) -> list[Process]:
        """This process and those that it started; of a leader of a session also those that are left without it."""
        pids = set(descendants(self.pid)) if self.alive() else set()
        # While processes of its session are there, no other process has its number.
        if self.boot == _boot() and (pids or _started(self.pid) is None):
            pids |= {int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _session(stat) == self.pid}
        found = []
        for pid in pids:
            with suppress(ProcessLookupError):
                found.append(Process.of(pid))
        return found

    def stop(self, limit: float = 10.0) -> None:
        """End it, with force after limit seconds. Nothing happens when it is gone."""
        for number, wait in ((signal.SIGTERM, limit), (signal.SIGKILL, limit)):
            if not self.alive():
                return
            os.kill(self.pid, number)
            end = time.monotonic() + wait
            while self.alive() and time.monotonic() < end:
                time.sleep(0.1)


def save(path: Path, processes: Iterable[Process]) -> None:
    """Write processes down, for another program to find them."""
    path.write_text(json.dumps([asdict(process) for process in processes]) + "\n")


def load(path: Path) -> list[Process]:
    """What save() wrote; nothing when there is nothing that can be read."""
    try:
        return [Process(**item) for item in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return []


def descendants(pid: int) -> list[int]:
    """A process and all that it started and that still has a parent among them."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        children.setdefault(_parent(stat), []).append(int(stat.parent.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def programs_with(prefix: str) -> list[Process]:
    """QEMU and kernels of User-Mode Linux with a file of this prefix on their command line, without their children."""
    found: dict[int, Process] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            program = Path(os.readlink(folder / "exe"))
            is_host = program.name.startswith("qemu-system-") or program.parent.name.startswith("kernel-")
            if is_host and any(prefix in word for word in (folder / "cmdline").read_text(errors="replace").split("\0")):
                found[int(folder.name)] = Process.of(int(folder.name))
    return [process for pid, process in sorted(found.items()) if _parent(Path(f"/proc/{pid}/stat")) not in found]


def kill(pids: Iterable[int]) -> None:
    """End processes at once; a process that is gone is no error."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def cpu_seconds(pids: list[int]) -> float:
    """Processor time of these processes and of the children that they have waited for."""
    total = 0
    for pid in pids:
        fields = _stat(pid)
        total += sum(int(field) for field in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def _parent(stat: Path) -> int:
    return _number(stat, 1)


def _session(stat: Path) -> int:
    return _number(stat, 3)


def _number(stat: Path, place: int) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[place])
    except OSError:
        return 0


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
