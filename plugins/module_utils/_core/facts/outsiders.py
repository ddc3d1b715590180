# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that belong to no guest of the system's libvirt: what they are, by label, user, parent and control group.

The name and the command line are the process's own claims. They never make a process harmless by themselves.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import functools
import typing as t

from ..selinux.context import read_context, type_of
from ..snapshot.model import Process, Snapshot
from ..system.control_groups import of_engine
from .guest_label import fault_of
from .guests import selinux_off
from .process_types import confines_container, facts_of, guest_types, runs_open

QEMU = "qemu"

#: Kinds of QEMU. PROBE: libvirt's own, which asks QEMU what it can do and runs no guest.
PROBE = "probe"
#: Confined by a container engine, with two categories or more: KubeVirt, Kata.
CONTAINER = "container"
#: With a guest's type and categories of its own, of a user other than root and the guests' user: a session daemon's.
SESSION = "session"
#: With a guest's type and categories of its own, given by the program that started it.
CONFINED = "confined"
UNCONFINED = "unconfined"
#: SELinux is off, and an AppArmor profile is enforced on it.
APPARMOR = "apparmor"
#: SELinux is off: there is no label to judge by.
UNJUDGED = "unjudged"

_INIT = 1
_USER_SESSION = ("/user.slice/", "/user@")


def outside_qemus(snapshot: Snapshot) -> list[tuple[Process, str]]:
    """QEMU processes that belong to no guest, with their kind; libvirt's probes left out."""
    outside = [process for process in snapshot.processes if process.role == QEMU and process.guest is None]
    probes = _probes(snapshot, outside)
    return [(process, _kind(snapshot, process)) for process in outside if process.pid not in probes]


def label_bearers(snapshot: Snapshot) -> list[Process]:
    """Other processes with a guest's type that belong neither to a guest nor to a QEMU outside libvirt."""
    # A type that categories do not bind, which a guest may have been given, is no mark of guests.
    types = {type_ for type_ in guest_types(snapshot) if facts_of(snapshot, type_).constrained is not False}
    sessions = {
        (process.context, process.uid) for process, kind in outside_qemus(snapshot) if kind in (SESSION, CONFINED)
    }
    return [
        process
        for process in snapshot.processes
        if process.role != QEMU and process.guest is None and type_of(process.context or "") in types
        if (process.context, process.uid) not in sessions
    ]


def unplaced_guests(snapshot: Snapshot, context: str | None) -> list[str]:
    """Names of guests with this label whose QEMU has no control group of its own, by which helpers could be known."""
    label = read_context(context)
    unplaced = {
        process.guest
        for process in snapshot.processes
        if process.role == QEMU and process.guest is not None and process.cgroup is not None
    }
    return [
        guest.name
        for guest in snapshot.guests
        if guest.active and guest.uuid in unplaced and label is not None and read_context(guest.context) == label
    ]


def _probes(snapshot: Snapshot, processes: t.Iterable[Process]) -> set[int]:
    """Pids of libvirt's capability probes: no machine, the daemon's own domain, started by it or left to init."""
    daemon = snapshot.libvirt.daemon
    domain = type_of(daemon.context or "") if daemon is not None else None
    if daemon is None or daemon.pid is None or domain is None:
        return set()
    probes = {process.pid: process.parent for process in processes if _is_no_machine(process, domain)}
    # A probe forks once more to become a daemon; for a moment its parent is a probe, too.
    return {pid for pid, parent in probes.items() if parent in (_INIT, daemon.pid) or parent in probes}


def _is_no_machine(process: Process, domain: str) -> bool:
    machine = (process.machine or "").split(",", 1)[0]
    context = read_context(process.context)
    return machine in ("none", "type=none") and context is not None and context.type == domain


def _kind(snapshot: Snapshot, process: Process) -> str:
    if selinux_off(snapshot):
        return APPARMOR if (process.context or "").endswith(" (enforce)") else UNJUDGED
    context = read_context(process.context)
    if context is None:
        return UNCONFINED
    daemon = snapshot.libvirt.daemon
    contained = confines_container(snapshot, context.type) or _of_an_engine(snapshot, process, context.type)
    types = {context.type} if contained else guest_types(snapshot)
    opens = functools.partial(runs_open, snapshot)
    if fault_of(context, types, daemon.context if daemon else None, opens) is not None:
        return UNCONFINED
    if contained:
        return CONTAINER
    return SESSION if _of_a_session(snapshot, process) else CONFINED


def _of_an_engine(snapshot: Snapshot, process: Process, type_: str) -> bool:
    """A container engine's control group holds it, and categories bind its type, which is no guest's."""
    constrained = facts_of(snapshot, type_).constrained is True and type_ not in guest_types(snapshot)
    return constrained and of_engine(process.cgroup)


def _of_a_session(snapshot: Snapshot, process: Process) -> bool:
    if process.uid in (None, 0, snapshot.libvirt.qemu_uid):
        return False
    # Where the guests' user is unknown, only the control group of a user's session distinguishes the two.
    known = snapshot.libvirt.qemu_uid is not None
    return known or any(part in (process.cgroup or "") for part in _USER_SESSION)
