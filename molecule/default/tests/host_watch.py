# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a host: reads the counters of a guest's disk_exerciser from its memory, twice a second, until stopped.

It reads the memory of the guest's process, not libvirt's monitor: the daemon is restarted meanwhile, and a question to
the monitor is a job of the guest's, with which the restart would be refused.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from pathlib import Path

ORIGIN, COUNTERS, WORDS = 0x7C00, 0x7E00, 4
PAUSE = 0.5


def memory_of(pid: int, sector: bytes) -> int:
    """Where the guest's memory begins in its process: where the program lies at its place. Raises RuntimeError."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            first, last = (int(text, 16) for text in line.split()[0].split("-"))
            if not line.split()[1].startswith("rw") or last - first < 16 << 20:
                continue
            # Only what the program does not write into itself is compared.
            memory.seek(first + ORIGIN)
            if memory.read(128) == sector[:128]:
                return first
    raise RuntimeError(f"process {pid} has no memory with the program in it")


def main(pid: int, sector: bytes, ready: Path, stop: Path) -> dict[str, object]:
    """What was seen until ``stop`` is there; ``ready`` is created with the first look."""
    start = memory_of(pid, sector)
    began = moved = time.monotonic()
    looks, pause, errors, steps, first = 0, 0.0, 0, -1, -1
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        while not stop.exists():
            memory.seek(start + COUNTERS)
            _passes, failed, wrong, now = struct.unpack(f"<{WORDS}I", memory.read(4 * WORDS))
            looks, errors = looks + 1, max(errors, failed + wrong)
            if now != steps:
                moved, steps = time.monotonic(), now
            if first < 0:
                first = now
                ready.touch()
            pause = max(pause, time.monotonic() - moved)
            time.sleep(PAUSE)
    stop.unlink()
    ready.unlink()
    seconds = time.monotonic() - began
    return {"looks": looks, "seconds": seconds, "first": first, "last": steps, "errors": errors, "pause": pause}


if __name__ == "__main__":
    _pid, _sector, _ready, _stop = sys.argv[1:]
    os.umask(0o077)
    print(json.dumps(main(int(_pid), bytes.fromhex(_sector), Path(_ready), Path(_stop))))
