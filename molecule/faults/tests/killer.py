# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a host: waits for a module to begin its changes, and strikes at a chosen point of them.

    python3 -c PROGRAM '{"at": 3, "target": "module", "act": "kill", "limit": 300}'

It holds the journal's lock until a module comes for it, so that it knows the module's processes before the first
change. From then on each change of a file that the kernel reports (inotify) is a point, and ``at`` says which: the
program runs before everything else on its processor, so that the module is struck where it stands. ``{"after": 0.5,
"target": "daemon"}`` strikes libvirt's daemon so many seconds after a new one has started.

It prints a line when it is ready, a line when it has struck, and when the module has ended what was seen. With act
``stop``, the module stands still until a line comes in.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import struct
import sys
import time
from pathlib import Path

JOURNAL = "/var/lib/svirt-fleet/journal"
LOCK = f"{JOURNAL}/lock"
#: Where modules change files, or libvirt does for them.
FOLDERS = (
    *("/etc", "/etc/default", "/etc/selinux", "/boot/grub", "/etc/svirt-fleet", "/usr/sbin", "/usr/local/lib"),
    *("/usr/local/lib/svirt-fleet", "/etc/libvirt", "/etc/libvirt/hooks", "/etc/libvirt/hooks/qemu.d"),
    *("/etc/libvirt/qemu", "/run/libvirt/qemu"),
)
#: Guests write here too, so only labels, owners and modes count.
IMAGES = ("/var/lib/libvirt/images", "/srv/vms")
DAEMONS = ("libvirtd", "virtqemud")

MODIFY, ATTRIB, MOVED_TO, CREATE, DELETE, OPEN, IS_FOLDER = 0x2, 0x4, 0x80, 0x100, 0x200, 0x20, 0x40000000
WORDS = {MODIFY: "write", ATTRIB: "attributes", MOVED_TO: "rename", CREATE: "create", DELETE: "delete"}
HEAD = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """The kernel's word on what changes in some folders."""

    def __init__(self) -> None:
        self.handle = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self.folders: dict[int, str] = {}
        for folder in FOLDERS:
            self.add(folder, MODIFY | ATTRIB | MOVED_TO | CREATE | DELETE)
        for folder in IMAGES:
            self.add(folder, ATTRIB)
        self.add(JOURNAL, MODIFY | MOVED_TO | CREATE | OPEN)

    def add(self, folder: str, mask: int) -> None:
        number = _libc.inotify_add_watch(self.handle, os.fsencode(folder), mask)
        if number >= 0:  # a folder that is not there yet is added when it is created
            self.folders[number] = folder

    def events(self, wait: float) -> list[tuple[str, int]]:
        """Path and what happened to it, of all that is known by now."""
        if not select.select([self.handle], [], [], wait)[0]:
            return []
        data, found, place = os.read(self.handle, 1 << 16), [], 0
        while place < len(data):
            number, mask, _cookie, size = HEAD.unpack_from(data, place)
            name = data[place + HEAD.size : place + HEAD.size + size].rstrip(b"\0").decode()
            place += HEAD.size + size
            path = f"{self.folders.get(number, '')}/{name}"
            if mask & CREATE and mask & IS_FOLDER:
                self.add(path, MODIFY | ATTRIB | MOVED_TO | CREATE | DELETE)
            found.append((path, mask))
        return found


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def stat_of(pid: int) -> list[str]:
    """State, parent, … of a process; nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def lives(pid: int) -> bool:
    return stat_of(pid)[:1] not in ([], ["Z"], ["X"])


def holders() -> list[int]:
    """Who has the journal's lock file open, this program aside."""
    found = []
    for pid in pids():
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if LOCK in links and pid != os.getpid():
            found.append(pid)
    return found


def family(pid: int) -> list[int]:
    """All of a module that is Python, its parents first."""
    while name_of(parent := int((stat_of(pid) or ["", "0"])[1])).startswith("python"):
        pid = parent
    found = [pid]
    for member in found:
        found += [
            other for other in pids() if stat_of(other)[1:2] == [str(member)] and name_of(other).startswith("python")
        ]
    return found


def daemon() -> int:
    """libvirt's daemon, or 0."""
    return next((pid for pid in pids() if name_of(pid) in DAEMONS and lives(pid)), 0)


def send(number: int, members: list[int]) -> None:
    for pid in members:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def strike(order: dict[str, object], module: list[int]) -> list[int]:
    """Kill or stop whom the order names; all stand still before the first one dies."""
    target = order.get("target", "module")
    members = [pid for pid in [daemon()] if pid] if target == "daemon" else module[:1] if target == "top" else module
    send(signal.SIGSTOP, members)
    if order.get("act", "kill") == "kill":
        send(signal.SIGKILL, members)
    return members


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def wait_for_module(watch: Watch, until: float) -> list[int]:
    """The module's processes, once it has come for the lock; nothing when nobody comes."""
    while time.monotonic() < until:
        if select.select([sys.stdin], [], [], 0)[0]:
            return []  # whoever wanted this has gone
        if any(path == LOCK and mask & OPEN for path, mask in watch.events(0.2)):
            found = holders()
            if found:
                return family(found[0])
    return []


def hunt(watch: Watch, order: dict[str, object], module: list[int], until: float) -> tuple[list[str], list[int]]:
    """Follow the module's changes to the point, and strike there; gives the points and who was struck."""
    seen: list[str] = []
    at = int(str(order.get("at", 0)))
    while time.monotonic() < until:
        for path, mask in watch.events(0.05):
            word = next((word for bit, word in WORDS.items() if mask & bit), "")
            if word and path != LOCK:
                seen.append(f"{word} {path}")
                if len(seen) == at:
                    return seen, strike(order, module)
        if not lives(module[0]):
            break
    return seen, []


def ambush(order: dict[str, object], old: int, module: list[int], until: float) -> list[int]:
    """Strike the daemon so long after a new one has started."""
    while time.monotonic() < until and lives(module[0]):
        now = daemon()
        if now not in (0, old):
            time.sleep(float(str(order["after"])))
            return strike(order, module)
        time.sleep(0.01)
    return []


def main() -> None:
    order = json.loads(sys.argv[1])
    until = time.monotonic() + float(order.get("limit", 300))
    os.makedirs(JOURNAL, mode=0o700, exist_ok=True)
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    watch, old = Watch(), daemon()
    say(ready=True)
    module = wait_for_module(watch, until)
    if not module:
        say(struck=[], seen=[], why="no module came for the journal's lock")
        return
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    watch.events(0)
    os.close(lock)
    if "after" in order:
        seen, struck = [], ambush(order, old, module, until)
    else:
        seen, struck = hunt(watch, order, module, until)
    say(struck=struck, seen=seen, module=module)
    if order.get("act") == "stop" and struck:
        sys.stdin.readline()
        send(signal.SIGCONT, struck)
    while any(lives(pid) for pid in module) and time.monotonic() < until and order.get("target") != "daemon":
        time.sleep(0.05)
    say(left=[pid for pid in module if lives(pid)])


if __name__ == "__main__":
    main()
