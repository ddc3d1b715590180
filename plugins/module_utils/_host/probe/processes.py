# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of virtualisation, from one pass through /proc: QEMU, helpers, libvirt's daemons, containers.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ..._core.selinux.context import type_of
from ..._core.snapshot.model import ContainerLabel, Process
from ..base.root import Root, reason, text_of

QEMU = "qemu"
_QEMU_PROGRAM = re.compile(r"(qemu-system-[A-Za-z0-9_]+|qemu-kvm)\Z")
#: Programs that serve a guest, by name; dbus-daemon only where it serves one.
_HELPERS = frozenset(
    "swtpm passt passt.avx2 pasta slirp-helper slirp4netns virtiofsd qemu-pr-helper nbdkit vhost-user-gpu qemu-rdp "
    "qemu-storage-daemon".split()
)
_DAEMONS = frozenset(("libvirtd", "virtqemud", "virtxend"))
_CONTAINER_TYPE = re.compile(r"(container_(?!runtime|auth|engine_exec)\w*_?t|svirt_(?:lxc|qemu|kvm)_net_t)\Z")
_SCOPE = re.compile(r"machine-(?:qemu|lxc)[^/]*\.scope|[^/]*\.libvirt-qemu")
_DBUS_OF_GUEST = "/libvirt/qemu/dbus/"

_NAME = re.compile(r"(?:\A|,)guest=([^,]*)")
_MAX_NAME = 1024
_MAX_PIDS = 8
_CLOCK_TICKS = 100  # USER_HZ: the same on every Linux that libvirt runs on


@dataclass(repr=False, eq=False)
class SeenProcess:
    """A QEMU or helper, with its control group."""

    process: Process
    #: Control group scope of the guest that it runs in.
    scope: str | None = None


@dataclass(repr=False, eq=False)
class ProcessTable:
    """Processes of interest of a host."""

    guests: list[SeenProcess] = field(default_factory=list)
    daemons: list[Process] = field(default_factory=list)
    containers: list[ContainerLabel] = field(default_factory=list)
    #: Why /proc could not be listed; empty when it was.
    problem: str = ""
    #: Processes whose program or label could not be read.
    hidden: int = 0
    booted_at: int | None = None

    def context_of(self, pid: int | None) -> str | None:
        """The label of a QEMU or helper."""
        return next((seen.process.context for seen in self.guests if seen.process.pid == pid), None)


def read(root: Root, guest_types: t.Collection[str]) -> ProcessTable:
    """Read every process once. Those that end meanwhile are left out."""
    table = ProcessTable(booted_at=_boot_time(root))
    try:
        pids = sorted(int(name) for name in root.listdir("/proc") if name.isdigit())
    except OSError as error:
        table.problem = reason(error)
        return table
    by_label: dict[str, list[int]] = {}
    for pid in pids:
        _look(root, pid, table, by_label, guest_types)
    table.containers = [
        ContainerLabel(label, members[:_MAX_PIDS], len(members)) for label, members in sorted(by_label.items())
    ]
    return table


def _look(
    root: Root, pid: int, table: ProcessTable, by_label: dict[str, list[int]], guest_types: t.Collection[str]
) -> None:
    try:
        exe = _exe(root, pid)
    except FileNotFoundError:
        return
    context = _context(root, pid)
    type_ = type_of(context) if context else None
    if type_ and _CONTAINER_TYPE.match(type_):
        by_label.setdefault(context or "", []).append(pid)
    program = _program(root, pid, exe)
    if program is None:
        table.hidden += root.exists(f"/proc/{pid}")
        return
    role = _role(root, pid, program, type_ in guest_types)
    if role is not None:
        table.guests.append(_seen(root, pid, role, exe, context, table.booted_at))
    elif program in _DAEMONS:
        table.daemons.append(_seen(root, pid, program, exe, context, table.booted_at).process)


def identify(root: Root, pid: int, booted_at: int | None) -> Process | None:
    """One process, with its program's name as its role; None when it has ended."""
    try:
        exe = _exe(root, pid)
    except FileNotFoundError:
        return None
    program = _program(root, pid, exe)
    return _seen(root, pid, program, exe, _context(root, pid), booted_at).process if program else None


def _exe(root: Root, pid: int) -> str | None:
    """The path of the program, or None when it is hidden. Raises FileNotFoundError for a thread of the kernel."""
    try:
        return root.readlink(f"/proc/{pid}/exe")
    except FileNotFoundError:
        raise
    except ProcessLookupError as error:
        raise FileNotFoundError(str(error)) from error
    except OSError:
        return None


def _context(root: Root, pid: int) -> str | None:
    try:
        return text_of(root.peek(f"/proc/{pid}/attr/current")).rstrip("\0\n") or None
    except OSError:  # EINVAL without a security module that has labels
        return None


def _program(root: Root, pid: int, exe: str | None) -> str | None:
    """The program's name; from the command line where the link may not be read."""
    if exe is None:
        words = _words(root, pid)
        if not words or not words[0]:
            return root.line(f"/proc/{pid}/comm")
        exe = words[0]
    if exe.endswith(" (deleted)"):  # the package was updated under the running process
        exe = exe[: -len(" (deleted)")]
    return exe.rsplit("/", 1)[-1]


def _role(root: Root, pid: int, program: str, has_guest_label: bool) -> str | None:
    if _QEMU_PROGRAM.match(program):
        return QEMU
    if program in _HELPERS or has_guest_label:  # whatever runs with a guest's label belongs to a guest
        return "passt" if program == "passt.avx2" else program[:_MAX_NAME]
    if program == "dbus-daemon" and any(_DBUS_OF_GUEST in word for word in _words(root, pid)):
        return program
    return None


def _seen(root: Root, pid: int, role: str, exe: str | None, context: str | None, booted_at: int | None) -> SeenProcess:
    process = Process(pid=pid, role=role, exe=exe, context=context, uid=_uid(root, pid))
    process.started_at = _started_at(root, pid, booted_at)
    if role == QEMU:
        process.name = _guest_name(_words(root, pid))
    return SeenProcess(process, _scope(root, pid))


def _words(root: Root, pid: int) -> list[str]:
    try:
        return text_of(root.peek(f"/proc/{pid}/cmdline", 65536)).split("\0")
    except OSError:
        return []


def _guest_name(words: list[str]) -> str | None:
    """The value of -name: ``guest=NAME,debug-threads=on`` with doubled commas, or just the name."""
    for option, value in zip(words, words[1:]):
        if option in ("-name", "--name"):
            single = value.replace(",,", "\0")
            match = _NAME.search(single)
            name = match.group(1) if match else single.split(",", 1)[0]
            return name.replace("\0", ",")[:_MAX_NAME] or None
    return None


def _uid(root: Root, pid: int) -> int | None:
    try:
        for line in root.peek(f"/proc/{pid}/status").split(b"\n"):
            if line.startswith(b"Uid:"):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def _started_at(root: Root, pid: int, booted_at: int | None) -> float | None:
    if booted_at is None:
        return None
    try:
        # The program's name, in brackets, may hold anything; the 22nd field is the 20th after it.
        ticks = int(root.peek(f"/proc/{pid}/stat").rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
    return booted_at + ticks / _CLOCK_TICKS


def _boot_time(root: Root) -> int | None:
    try:
        for line in root.read_bytes("/proc/stat").split(b"\n"):
            if line.startswith(b"btime "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def _scope(root: Root, pid: int) -> str | None:
    try:
        match = _SCOPE.search(text_of(root.peek(f"/proc/{pid}/cgroup", 65536)))
    except OSError:
        return None
    return match.group(0) if match else None


def match_guests(table: ProcessTable, pids: t.Mapping[int, str]) -> None:
    """Set the guest of each process: by pid, and by the control group that a guest's QEMU is in.

    ``pids`` are the guests' uuids by pid, as libvirt has them. The command line is no proof.
    """
    scopes: dict[str, str] = {}
    for seen in table.guests:
        uuid = pids.get(seen.process.pid)
        if uuid is not None:
            seen.process.guest = uuid
            if seen.scope:
                scopes[seen.scope] = uuid
    for seen in table.guests:
        # Only helpers: a second QEMU in a guest's control group is not that guest.
        if seen.process.guest is None and seen.process.role != QEMU and seen.scope:
            seen.process.guest = scopes.get(seen.scope)
