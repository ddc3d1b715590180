# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to go wrong: a process that is killed, a controller that goes away, storage that takes nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from applying import apply, playbook
from looking import Host

from tests.lab.machine.process import descendants
from tests.lab.ssh import Remote

_PROGRAM = Path(__file__).with_name("killer.py")
#: Takes all space of the root file system but so many bytes, the blocks that are kept for root among it.
_FILL = """
import os, sys
file = os.open("/filler", os.O_WRONLY | os.O_CREAT, 0o600)
size, part = 0, 1 << 40
while part >= 4096:
    try:
        os.posix_fallocate(file, size, part)
        size += part
    except OSError:
        part //= 2
os.fsync(file)
os.ftruncate(file, size - int(sys.argv[1]))
"""
#: On a full disk, Ansible's own files go here, or no module would be run at all.
ELSEWHERE = "/run/faults"


@dataclass(repr=False, eq=False)
class Killer:
    """The program in the host that waits for a module; see killer.py."""

    process: subprocess.Popen[str]

    def line(self) -> dict[str, Any]:
        """What it says next; it never keeps silent for longer than its limit."""
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, f"the killer ended with {self.process.wait()}"
        found: dict[str, Any] = json.loads(said)
        return found

    def release(self) -> None:
        """Let a stopped module go on, or let a killer know that nobody will come any more."""
        assert self.process.stdin is not None
        self.process.stdin.close()


@contextmanager
def killer(remote: Remote, **order: Any) -> Iterator[Killer]:
    """A killer that is ready. ``at``: the how manieth change; ``target``, ``act``, ``after``, ``limit``: see there."""
    remote.connect()
    command = shlex.join(["python3", "-c", _PROGRAM.read_text(), json.dumps(order)])
    with subprocess.Popen(remote.argv(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        found = Killer(process)
        assert found.line() == {"ready": True}
        try:
            yield found
        finally:
            found.release()


def struck(host: Host, module: str, at: int, target: str = "module") -> bool:
    """Run a module and strike it at this change; gives whether it came that far."""
    with killer(host.remote, at=at, target=target) as waiting:
        done = apply(host, module)
        waiting.release()
        seen = waiting.line()
    print(f"{module} at {at}: {seen}")
    assert (done.status != 0) == bool(seen["struck"]), done.output
    return bool(seen["struck"])


def cut(host: Host, module: str, at: int) -> None:
    """Run a module, and kill the controller's side, ssh among it, while the module stands at this change."""
    with killer(host.remote, at=at, act="stop") as waiting, playbook([module]) as path:
        # A connection that is kept for others would not end with the controller.
        words = ["ansible-playbook", path, "-i", str(host.lab.inventory), "-e", "ansible_ssh_args=-oControlMaster=no"]
        nothing = subprocess.DEVNULL
        with subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing) as controller:
            stopped = waiting.line()
            assert stopped["struck"], stopped
            for pid in descendants(controller.pid):
                os.kill(pid, signal.SIGKILL)
        waiting.release()
        assert waiting.line() == {"left": []}, "the module goes on alone, and comes to its end"


@contextmanager
def full_disk(host: Host, left: int = 0) -> Iterator[None]:
    """No space on the root file system, but for so many bytes."""
    try:
        host.remote.call(f"mkdir -p {ELSEWHERE}; python3 - {left}", stdin=_FILL)
        yield
    finally:
        host.remote.call(f"rm -rf /filler {ELSEWHERE}; sync")


@contextmanager
def read_only(host: Host, folder: str) -> Iterator[None]:
    """Nobody can write below the folder."""
    try:
        host.remote.call(f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}")
        yield
    finally:
        host.remote.call(f"umount {folder} || umount --lazy {folder}")
