# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which libvirt daemon runs the guests, and its configuration file.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import time
import typing as t
from dataclasses import replace

from ..._core.errors import HostReadError
from ..._core.libvirt import qemu_conf, qemu_conf_host
from ..._core.libvirt.qemu_conf_host import HostFact
from ..._core.libvirt.secrets import blanked_value
from ..._core.result import Reason
from ..._core.selinux.context import type_of
from ..._core.selinux.shipped_types import is_container_type
from ..._core.snapshot.model import Daemon, InstalledGuard, Libvirt, Process, QemuConf
from ..._core.system.control_groups import named_for_engine
from ..._core.system.daemon_setup import DaemonSetup, doubt
from ..._core.system.own_files import LINK, PROGRAM, SETTINGS
from ..base import conf_values
from ..base.daemons import SOCKETS, XEN_SOCKETS, has_daemon
from ..base.deadline import Job
from ..base.loaded_policy import LoadedPolicy
from ..base.process_view import ProcessView
from ..base.root import MAX_FILE, Root, label_of, trouble
from . import processes

CONF = "/etc/libvirt/qemu.conf"
#: The daemon that holds the QEMU driver's lock writes its pid here.
_DRIVER_PID = "/run/libvirt/qemu/driver.pid"
#: Written at the first start after a boot: a later start does not start guests by itself.
_AUTOSTARTED = "/run/libvirt/qemu/autostarted"

#: systemd's unit files: the administrator's, those until the next boot, and the distribution's.
_UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")

_CLOCK_TICKS = 100  # as in processes.py
_MAX_CONF = 1024 * 1024
#: Types in the guard's settings that are read.
_MAX_TYPES = 100
#: Type of privileged containers in the shipped policies, in which libvirt's daemon runs where it is deployed as one.
_CONTAINED_DAEMON = "spc_t"
_PROGRAMS = ("/usr/sbin/{}", "/usr/bin/{}", "/usr/local/sbin/{}")
_LABEL = "security.selinux"

#: Users that distributions run guests as: Debian's kind, and all others.
_DISTRIBUTION_USERS = ("libvirt-qemu", "qemu")


def find(
    root: Root, daemons: t.Sequence[Process], xen: bool = False, container_types: t.Container[str] = ()
) -> Libvirt:
    """The daemon in charge: the one that holds the driver, else the one that runs, else what a client would start.

    A daemon with files of its own, in a container, comes after those of the host, also after one that sleeps behind
    its socket, unless it holds the driver; one that its container confines is none of the host's.
    """
    sockets = XEN_SOCKETS if xen else SOCKETS
    holder = root.line(_DRIVER_PID)
    order = list(sockets)
    candidates = [
        (str(item.pid) != holder, reads_own_files(root, item) is True, order.index(item.role), item.pid, item)
        for item in daemons
        if item.uid in (0, None)
        and item.role in sockets
        and not is_container_type(type_of(item.context or ""), container_types)
    ]
    installed = [name for name in sockets if has_daemon(root, name)]
    libvirt = Libvirt(installed=bool(installed or candidates))
    activated = [name for name in installed if root.exists(sockets[name])]
    if candidates and not (activated and min(candidates)[:2] == (True, True)):
        process = min(candidates)[-1]
        libvirt.daemon = Daemon(process.role, process.pid, process.context, process.started_at)
        libvirt.daemon.own_files = reads_own_files(root, process)
    else:
        libvirt.daemon = Daemon(activated[0]) if activated else None
    if libvirt.daemon is not None:
        libvirt.daemon.socket = root.exists(sockets[libvirt.daemon.name])
    return libvirt


def reads_own_files(root: Root, process: Process) -> bool | None:
    """Whether a daemon reads another qemu.conf than the host's, as one in a container does; None: unknown."""
    shared = ProcessView(root, process.pid).shares(CONF)
    if shared is not None:
        return not shared
    # Not for us to see. The service manager's own daemons read the host's files.
    contained = type_of(process.context or "") == _CONTAINED_DAEMON or named_for_engine(process.cgroup)
    return None if contained else False


def given_label(root: Root, policy: LoadedPolicy, name: str) -> str | None:
    """The label that the policy gives the daemon when systemd starts its program; None: unknown."""
    init = (root.line("/proc/1/attr/current") or "").rstrip("\0") or None
    for path in (program.format(name) for program in _PROGRAMS):
        try:
            label = label_of(root.getxattr(path, _LABEL))
        except OSError:
            continue
        return policy.created(init, label, "process") if init and label and policy.loaded else None
    return None


def host_files_unread(daemon: Daemon | None) -> str:
    """Why a change of the host's files would not reach the daemon; empty when it would."""
    if daemon is None or daemon.own_files is False:
        return ""
    who = f"{daemon.name} (pid {daemon.pid})"
    if daemon.own_files is None:
        return f"whether {who} reads the host's files, or those of a container, is not known"
    return (
        f"{who} has a mount namespace of its own, as in a container, and reads the files there, not those of the host; "
        "change them where they are deployed from"
    )


def guard(root: Root) -> InstalledGuard | None:
    """The guard that libvirt sees; None where there is none."""
    try:
        if root.readlink(LINK) != PROGRAM:
            return None
    except OSError:
        return None
    try:
        settings = json.loads(root.read_text(SETTINGS, 65536))
        types = settings["readable"]
        return InstalledGuard([str(name) for name in types][:_MAX_TYPES], settings.get("ask") is True)
    except (OSError, HostReadError, ValueError, TypeError, KeyError, AttributeError):
        return InstalledGuard()


def setup_doubt(root: Root, daemon: Daemon | None) -> Reason | None:
    """Why systemd's units do not settle which daemon drives the guests; None where they do."""
    there = any(root.exists(folder) for folder in _UNIT_FOLDERS[2:])
    setup = DaemonSetup(
        enabled=tuple(name for name in SOCKETS if _is_enabled(root, name)),
        masked=tuple(name for name in SOCKETS if _is_masked(root, name)),
        services=tuple(name for name in SOCKETS if _has_service(root, name)) if there else None,
    )
    return doubt(setup, daemon)


def _is_enabled(root: Root, name: str) -> bool:
    wanted = (f"multi-user.target.wants/{name}.service", f"sockets.target.wants/{name}.socket")
    links = [f"{_UNIT_FOLDERS[0]}/{path}" for path in wanted]
    return has_daemon(root, name) and not _is_masked(root, name) and any(_is_link(root, link) for link in links)


def _is_masked(root: Root, name: str) -> bool:
    for folder in _UNIT_FOLDERS[:2]:
        try:
            if root.readlink(f"{folder}/{name}.service") == "/dev/null":
                return True
        except OSError:
            continue
    return False


def _has_service(root: Root, name: str) -> bool:
    return any(root.exists(f"{folder}/{name}.service") for folder in _UNIT_FOLDERS)


def _is_link(root: Root, path: str) -> bool:
    try:
        root.readlink(path)
    except OSError:
        return False
    return True


def may_connect(root: Root, libvirt: Libvirt) -> Reason | None:
    """Why no connection may be made; None when one may.

    A connection starts a daemon that waits behind its socket. That is harmless for one that ran since the boot and
    went to sleep, but the first start after a boot would start guests.
    """
    if libvirt.daemon is None:
        return Reason("no_daemon", "no libvirt daemon runs and no socket would start one")
    if libvirt.daemon.pid is None and not root.exists(_AUTOSTARTED):
        why = f"{libvirt.daemon.name} has not run since the host booted; starting it would start guests"
        return Reason("daemon_asleep", why)
    return None


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


def configuration(
    root: Root, daemon: Daemon | None = None, timeout: float = 30.0
) -> tuple[QemuConf | None, Reason | None]:
    """The daemon's qemu.conf, empty where it has none; or None and why it could not be read."""
    if daemon is not None and daemon.own_files is not False:
        return _own_configuration(root, daemon, timeout)
    conf = QemuConf(path=CONF)
    try:
        conf.changed_at = float(root.stat(CONF).st_mtime)
        conf.present = True
        _parse(conf, root.read_text(CONF, _MAX_CONF))
    except FileNotFoundError:
        return conf, None
    except (OSError, HostReadError) as error:
        return None, trouble(error)  # no conclusion from keys that could not be read
    items = qemu_conf.effective(conf.assignments).values()
    return qemu_conf_host.checked(conf, conf_values.read(root, qemu_conf_host.facts_of(items))), None


def _parse(conf: QemuConf, text: str) -> None:
    assignments, conf.problems = qemu_conf.parse(text)
    # A snapshot has no secrets.
    conf.assignments = [replace(item, value=blanked_value(item.key, item.value)) for item in assignments]


def _own_configuration(root: Root, daemon: Daemon, timeout: float) -> tuple[QemuConf | None, Reason | None]:
    """qemu.conf of a daemon in a container, read through its own root; never the host's in its place."""
    pid = daemon.pid
    if daemon.own_files is None or pid is None:
        return None, Reason("host_files_unread", host_files_unread(daemon))

    def work() -> t.Iterator[tuple[str, float] | None]:
        view = ProcessView(root, pid)
        try:
            yield view.read_text(CONF, _MAX_CONF), view.changed_at(CONF)
        except FileNotFoundError:
            yield None

    job = Job(work, timeout)
    answers = list(job.items())
    if job.problem:
        return None, job.problem.about(f"{daemon.name} reads a {CONF} of its own, in a container")
    conf = QemuConf(path=CONF)
    if answers[0] is not None:
        conf.present = True
        _parse(conf, answers[0][0])
        conf.changed_at = answers[0][1]
    # Whether its values hold is for the container to show: what the host has says nothing of that.
    items = qemu_conf.effective(conf.assignments).values()
    return qemu_conf_host.checked(conf, _facts_there(root, pid, qemu_conf_host.facts_of(items))), None


def _facts_there(root: Root, pid: int, facts: t.Iterable[HostFact]) -> dict[HostFact, bool | str | None]:
    """Users and groups that the container's own files name; nothing is known of others, and of other facts."""
    files = {qemu_conf_host.USER: "/etc/passwd", qemu_conf_host.GROUP: "/etc/group"}
    names = {kind: {line.split(":")[0] for line in _lines(root, ProcessView(root, pid), files[kind])} for kind in files}
    return {fact: True for fact in facts if fact.subject and fact.subject in names.get(fact.kind, ())}


def qemu_user(root: Root, conf: QemuConf | None, daemon: Daemon | None = None) -> tuple[int | None, list[int]]:
    """The uid and the gids that guests run with, by the files of the host or of the daemon's own root: a name service
    could hang."""
    if conf is None:
        return None, []
    view = ProcessView(root, daemon.pid) if daemon is not None and daemon.own_files and daemon.pid else None
    users = [line.split(":") for line in _lines(root, view, "/etc/passwd")]
    groups = [line.split(":") for line in _lines(root, view, "/etc/group")]
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


def _lines(root: Root, view: ProcessView | None, path: str) -> list[str]:
    try:
        text = root.read_text(path) if view is None else view.read_text(path, MAX_FILE)
    except (OSError, HostReadError):
        return []
    return text.split("\n")
