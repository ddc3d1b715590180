# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that works its disk all the time, and what it saw. See disk_exerciser.py for what runs in it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disk_exerciser import COUNTERS, LAST, Counters, boot_sector, counters_of

from tests.lab.host.domains import LOCAL, Disk, Guest
from tests.lab.lab import Lab
from tests.scenarios.node import Node

PROGRAM = Path(__file__).with_name("host_watch.py")
HOST, NAME, IMAGE = "kvm1", "busy", f"{LOCAL}/busy.raw"
READY, STOP = "/run/svirt-watch.ready", "/run/svirt-watch.stop"
#: Seconds until something that must happen has happened; a limit, however slow the machine is.
PATIENCE = 120.0


@dataclass(frozen=True)
class Busy:
    """A running guest that works its disk."""

    node: Node
    pid: int

    def counters(self) -> Counters:
        """What the program in the guest has counted, as QEMU's monitor has it."""
        said = self.node.virsh("qemu-monitor-command", "--hmp", NAME, f"xp /4wx {COUNTERS:#x}")
        assert said.returncode == 0, said.stderr
        return counters_of(said.stdout.decode())

    def wait(self, met: Callable[[Counters], bool]) -> Counters:
        """The counters once they meet a condition. Fails when they never do."""
        end = time.monotonic() + PATIENCE
        while not met(found := self.counters()):
            assert time.monotonic() < end, f"not within {PATIENCE:.0f} s: {found}"
            time.sleep(1)
        return found

    def failures(self) -> dict[str, int]:
        """QEMU's own count of requests that failed, and of those that were asked."""
        said = self.node.virsh("qemu-monitor-command", NAME, json.dumps({"execute": "query-blockstats"}))
        stats = json.loads(said.stdout)["return"][0]["stats"]
        names = ("failed_rd_operations", "failed_wr_operations", "rd_operations", "wr_operations")
        return {name: stats[name] for name in names}

    @contextmanager
    def watched(self) -> Iterator[dict[str, Any]]:
        """Look at the counters all the time while the block runs; what was seen is in the dict afterwards."""
        seen: dict[str, Any] = {}
        words = (str(self.pid), boot_sector().hex(), READY, STOP)
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(self.node.python, PROGRAM, *words, timeout=3600.0)
            try:
                self.node.shell(f"for _ in $(seq 120); do [ -e {READY} ] && exit; sleep 1; done; exit 1")
                yield seen
            finally:
                self.node.shell(f"touch {STOP}")
                seen.update(job.result())


@dataclass(frozen=True)
class Load:
    """What a busy guest saw while its host was worked on."""

    before: Counters
    #: See host_watch.py.
    watched: dict[str, Any]
    after: Counters
    #: QEMU's own count, and what libvirt says of the disks.
    failures: dict[str, int]
    said: str
    #: The same process as before.
    same: bool


@contextmanager
def busy_guest(lab: Lab) -> Iterator[Busy]:
    """Such a guest, at work; gone afterwards."""
    node = Node(lab, HOST)
    assert LAST * 512 <= 1 << 20, "the lab's disks have one mebibyte"
    with node.guests(Guest(NAME, (Disk(IMAGE),), running=False)):
        lab.remote(node.name).call(f"dd of={IMAGE} conv=notrunc status=none", stdin=boot_sector())
        assert node.virsh("start", NAME).returncode == 0
        found = Busy(node, node.pid(NAME))
        found.wait(lambda now: now.passes >= 1)
        yield found


def under_load(busy: Busy, work: Callable[[], None]) -> Load:
    """Let the work be done, and tell what the guest saw of it."""
    before = busy.counters()
    with busy.watched() as watched:
        work()
    after = busy.counters()
    said = busy.node.virsh("domblkerror", NAME).stdout.decode().strip()
    return Load(before, watched, after, busy.failures(), said, busy.node.pid(NAME) == busy.pid)
