# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Processes by number: one that outlives the program and is found again later, and all that one started."""

from __future__ import annotations

import json
import os
import signal
import time
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

    @classmethod
    def load(cls, path: Path) -> Process | None:
        """What save() wrote; None when there is nothing that can be read."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)) + "\n")

    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self.boot == _boot() and _started(self.pid) == self.started

    def stop(self, limit: float = 10.0) -> None:
        """End it, with force after limit seconds. Nothing happens when it is gone."""
        for number, wait in ((signal.SIGTERM, limit), (signal.SIGKILL, limit)):
            if not self.alive():
                return
            os.kill(self.pid, number)
            end = time.monotonic() + wait
            while self.alive() and time.monotonic() < end:
                time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    """A process and all that it started and that still has a parent among them."""
    found = [pid]
    for parent in found:
        found += [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _parent(stat) == parent]
    return found


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])
