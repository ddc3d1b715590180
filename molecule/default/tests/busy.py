# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that works its disk all the time, and what it saw. See disk_exerciser.py for what runs in it."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disk_exerciser import COUNTERS, LAST, Counters, boot_sector, counters_of

from tests.lab.host.domains import LOCAL, Disk, Guest
from tests.lab.lab import Lab
from tests.scenarios.node import Node

PROGRAM = Path(__file__).with_name("host_watch.py")
HOST, NAME, IMAGE = "kvm1", "busy", f"{LOCAL}/busy.raw"
WATCH = "/run/svirt-watch"
READY, STOP = f"{WATCH}.ready", f"{WATCH}.stop"
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

    def watch(self) -> None:
        """Let a program in the host look at the counters all the time, from now on until ``watched``."""
        words = shlex.join([str(self.pid), boot_sector().hex(), READY, STOP])
        self.node.lab.remote(HOST).call(f"cat >{WATCH}.py", stdin=PROGRAM.read_text())
        self.node.shell(f"setsid nohup python3 {WATCH}.py {words} </dev/null >{WATCH}.json 2>{WATCH}.err &")
        self.node.shell(f"for _ in $(seq 120); do [ -e {READY} ] && exit; sleep 1; done; cat {WATCH}.err; exit 1")

    def watched(self) -> dict[str, Any]:
        """End the watching; what was seen."""
        wait = f"for _ in $(seq 120); do [ -s {WATCH}.json ] && exec cat {WATCH}.json; sleep 1; done; cat {WATCH}.err"
        found: dict[str, Any] = json.loads(self.node.shell(f"touch {STOP}; {wait}"))
        return found


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


def begin(lab: Lab) -> Busy:
    """Such a guest, at work. It stays until the lab is gone."""
    node = Node(lab, HOST)
    assert LAST * 512 <= 1 << 20, "the lab's disks have one mebibyte"
    node.make(Guest(NAME, (Disk(IMAGE),), running=False))
    lab.remote(HOST).call(f"dd of={IMAGE} conv=notrunc status=none", stdin=boot_sector())
    assert node.virsh("start", NAME).returncode == 0
    found = Busy(node, node.pid(NAME))
    found.wait(lambda now: now.passes >= 1)
    return found


def load_of(busy: Busy, before: Counters) -> Load:
    """What the guest saw since ``before`` was counted and the watching began."""
    watched = busy.watched()
    after = busy.counters()
    said = busy.node.virsh("domblkerror", NAME).stdout.decode().strip()
    return Load(before, watched, after, busy.failures(), said, busy.node.pid(NAME) == busy.pid)
