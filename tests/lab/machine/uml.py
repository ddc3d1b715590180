# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""A host as a User-Mode Linux process, with a QEMU beside it that is nothing but its user network.

Cards are socket pairs: no packet leaves the processes. A host that reboots executes itself anew and keeps them.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.lab.network import HostSpec

from .accel import MEMORY_FOLDER, MEMORY_MIB

#: Bytes that wait in a card: a burst of NFS is not to be dropped.
_BUFFER = 1 << 20

#: Its console is the standard output; the rest of its consoles go nowhere.
_CONSOLE = ("con=null", "con0=null,fd:1", "ssl=null", "console=tty0")
_BOOT = ("seccomp=auto", "root=/dev/ubda1", "rw", "security=selinux", "panic=-1", "net.ifnames=0")
#: Where a kernel puts the file that is its host's memory.
ENVIRONMENT = {"TMPDIR": str(MEMORY_FOLDER), "TMP": str(MEMORY_FOLDER), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def card() -> tuple[socket.socket, socket.socket]:
    """Both ends of a cable."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    return ends


def switch_argv(end: socket.socket) -> list[str]:
    """A QEMU without a machine: what comes in at this end goes to its user network, which qemu.start gives it."""
    return [
        *("qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none", "-no-user-config"),
        *("-netdev", "hubport,id=outward,hubid=0,netdev=uplink"),
        *("-netdev", f"dgram,id=card,local.type=fd,local.str={end.fileno()}"),
        *("-netdev", "hubport,id=inward,hubid=0,netdev=card"),
    ]


def kernel_argv(kernel: Path, disk: Path, overlay: Path, control: Path, name: str) -> list[str]:
    """The command line of a host without cards. overlay takes what the host writes, and disk stays as it is.

    It stays on one processor: a system call in the host wakes one process by another, which on two processors, of
    which one sleeps, takes six times as long.
    """
    return [
        *("taskset", "--cpu-list", str(_processor()), str(kernel)),
        *(f"mem={MEMORY_MIB}M", f"ubd0={overlay},{disk}", f"uml_dir={control}", f"umid={name}"),
        *_CONSOLE,
        *_BOOT,
    ]


def _processor() -> int:
    """The processor of this machine to which the fewest such hosts are bound."""
    mine = sorted(os.sched_getaffinity(0))
    bound: list[int] = []
    for exe in Path("/proc").glob("[0-9]*/exe"):
        with suppress(OSError):
            if Path(os.readlink(exe)).parent.name.startswith("kernel-"):
                bound += os.sched_getaffinity(int(exe.parent.name))
    return min(mine, key=bound.count)


def cards(spec: HostSpec, ends: Sequence[socket.socket]) -> list[str]:
    """Its cards: the uplink, and the one to the other host where there is one."""
    return [
        f"vec{number}:transport=fd,fd={end.fileno()},mac={mac},depth=64,gro=0"
        for number, (end, mac) in enumerate(zip(ends, (spec.uplink_mac, spec.link_mac), strict=False))
    ]


def start(argv: Sequence[str], serial: Path, ends: Sequence[socket.socket]) -> int:
    """Start it for as long as it likes to run; returns its process id."""
    with serial.open("ab") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[end.fileno() for end in ends],
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )
    process.returncode = 0  # it is to outlive this program: nobody waits for it here
    return process.pid
