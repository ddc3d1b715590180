# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which libvirt daemon runs the guests, and its configuration file.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import time
import typing as t

from ..._core.errors import HostReadError
from ..._core.libvirt import qemu_conf
from ..._core.snapshot.model import Daemon, Libvirt, Process, QemuConf
from ..base.daemons import SOCKETS, XEN_SOCKETS, has_daemon
from ..base.root import Root, reason
from . import processes

CONF = "/etc/libvirt/qemu.conf"
#: The daemon that holds the QEMU driver's lock writes its pid here.
_DRIVER_PID = "/run/libvirt/qemu/driver.pid"
#: Written at the first start after a boot: a later start does not start guests by itself.
_AUTOSTARTED = "/run/libvirt/qemu/autostarted"

_CLOCK_TICKS = 100  # as in processes.py

#: Users that distributions run guests as: Debian's kind, and all others.
_DISTRIBUTION_USERS = ("libvirt-qemu", "qemu")


def find(root: Root, daemons: t.Sequence[Process], xen: bool = False) -> Libvirt:
    """The daemon in charge: the one that holds the driver, else the one that runs, else what a client would start."""
    sockets = XEN_SOCKETS if xen else SOCKETS
    system = {item.role: item for item in daemons if item.uid in (0, None) and item.role in sockets}
    installed = [name for name in sockets if has_daemon(root, name)]
    holder = root.line(_DRIVER_PID)
    running = [name for name, item in system.items() if str(item.pid) == holder] or [
        name for name in sockets if name in system
    ]
    activated = [name for name in sockets if name in installed and root.exists(sockets[name])]
    libvirt = Libvirt(installed=bool(installed or system))
    for name in [*running, *activated][:1]:
        process = system.get(name)
        libvirt.daemon = Daemon(name, socket=root.exists(sockets[name]))
        if process is not None:
            libvirt.daemon.pid, libvirt.daemon.context = process.pid, process.context
            libvirt.daemon.started_at = process.started_at
    return libvirt


def may_connect(root: Root, libvirt: Libvirt) -> str:
    """Why no connection may be made; empty when one may.

    A connection starts a daemon that waits behind its socket. That is harmless for one that ran since the boot and
    went to sleep, but the first start after a boot would start guests.
    """
    if libvirt.daemon is None:
        return "no libvirt daemon runs and no socket would start one"
    if libvirt.daemon.pid is None and not root.exists(_AUTOSTARTED):
        return f"{libvirt.daemon.name} has not run since the host booted; starting it would start guests"
    return ""


def drives(root: Root, pid: int) -> bool:
    """Whether the process has read its configuration and holds the QEMU driver."""
    return root.line(_DRIVER_PID) == str(pid)


def complete(root: Root, daemon: Daemon, booted_at: int | None) -> None:
    """Fill in pid, label and start time of a daemon that our own connection started."""
    pid = root.line(_DRIVER_PID)
    if daemon.pid is None and pid and pid.isdigit():
        process = processes.identify(root, int(pid), booted_at)
        if process is not None and process.role == daemon.name:
            daemon.pid, daemon.context, daemon.started_at = process.pid, process.context, process.started_at


def started_at(root: Root, daemon: Daemon) -> float | None:
    """When a daemon started, by the wall clock as it is now, to a hundredth of a second where that can be had."""
    try:
        ticks = int(root.peek(f"/proc/{daemon.pid}/stat").rpartition(b")")[2].split()[19])
        uptime = float(root.peek("/proc/uptime").split()[0])
    except (OSError, ValueError, IndexError):
        return daemon.started_at
    return time.time() - uptime + ticks / _CLOCK_TICKS


def changes(root: Root, paths: t.Iterable[str]) -> dict[str, float]:
    """Time of the last change of each file, its attributes and name included; missing files are left out."""
    times = {}
    for path in paths:
        try:
            facts = root.stat(path)
        except OSError:
            continue
        times[path] = max(float(facts.st_mtime), float(facts.st_ctime))
    return times


def configuration(root: Root) -> tuple[QemuConf | None, str]:
    """qemu.conf, empty where the host has none; or None and why it could not be read."""
    conf = QemuConf(path=CONF)
    try:
        conf.changed_at = float(root.stat(CONF).st_mtime)
        conf.present = True
        conf.assignments, conf.problems = qemu_conf.parse(root.read_text(CONF, 1024 * 1024))
    except FileNotFoundError:
        return conf, ""
    except (OSError, HostReadError) as error:
        return None, reason(error)  # no conclusion from keys that could not be read
    return conf, ""


def qemu_user(root: Root, conf: QemuConf | None) -> tuple[int | None, list[int]]:
    """The uid and the gids that guests run with, by the host's own files: a name service could hang."""
    if conf is None:
        return None, []
    users = [line.split(":") for line in _lines(root, "/etc/passwd")]
    groups = [line.split(":") for line in _lines(root, "/etc/group")]
    chosen = _text(conf, "user")
    names = (chosen,) if chosen else _DISTRIBUTION_USERS
    user = next((row for row in users if len(row) > 3 and (row[0] in names or f"+{row[2]}" in names)), None)
    number = user[2] if user else (chosen or "").lstrip("+")
    uid = int(number) if number.isdigit() else None
    gids = {
        int(row[2]) for row in groups if user and len(row) > 3 and user[0] in row[3].split(",") and row[2].isdigit()
    }
    if user and user[3].isdigit():
        gids.add(int(user[3]))
    wanted = _text(conf, "group")
    if wanted:
        number = next((row[2] for row in groups if len(row) > 2 and row[0] == wanted), wanted.lstrip("+"))
        gids |= {int(number)} if number.isdigit() else set()
    return uid, sorted(gids)


def _text(conf: QemuConf, key: str) -> str | None:
    value = next((item.value for item in conf.assignments if item.key == key), None)
    return value if isinstance(value, str) else None


def _lines(root: Root, path: str) -> list[str]:
    try:
        return root.read_text(path).split("\n")
    except (OSError, HostReadError):
        return []
