# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of virtualisation, from one pass through /proc: QEMU, helpers, libvirt's daemons, containers.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ..._core.result import Reason
from ..._core.selinux.context import type_of
from ..._core.selinux.shipped_types import is_container_type
from ..._core.snapshot.model import ContainerLabel, Process
from ..._core.system.control_groups import of_engine
from ..base.root import Root, text_of, trouble

QEMU = "qemu"
#: Names of the system emulator, with what distributions and vendors add: -snp-experimental, .real, nix's wrappers.
_QEMU_PROGRAM = re.compile(r"(?:\.?qemu-(?:system-[A-Za-z0-9_]|kvm)[A-Za-z0-9_.+-]*|qemu|qemu-dm|kvm)\Z")
#: Options that make a command line QEMU's, by whatever name the program goes.
_QEMU_OPTIONS = frozenset(
    "machine accel enable-kvm cpu smp blockdev drive netdev chardev qmp nodefaults no-user-config sandbox incoming "
    "daemonize nographic rtc vnc hda".split()
)
_ENOUGH_OPTIONS = 3
#: Programs that carry another one's command line.
_LAUNCHERS = frozenset(
    "bash sh dash zsh ksh busybox env sudo su doas runuser runcon setpriv timeout nohup nice ionice taskset numactl "
    "chrt setsid unshare nsenter strace ltrace gdb perf time script screen tmux watch xargs ssh systemd-run conmon "
    "crun runc podman docker catatonit tini dumb-init perl".split()
)
_LAUNCHER = re.compile(r"python[0-9.]*\Z")
_ELF = b"\x7fELF"
#: Every system emulator has it, for its option --version; qemu-img, qemu-nbd and others have their own name there.
_SIGNATURE = b"QEMU emulator version"
_MAX_PROGRAM = 256 * 1024 * 1024

#: Programs that serve a guest, by name; dbus-daemon only where it serves one.
_HELPERS = frozenset(
    "swtpm passt passt.avx2 pasta slirp-helper slirp4netns virtiofsd qemu-pr-helper nbdkit vhost-user-gpu qemu-rdp "
    "qemu-storage-daemon".split()
)
_DAEMONS = frozenset(("libvirtd", "virtqemud", "virtxend"))
#: The control group of a guest: the whole path, since anybody may name a group of his own like that of a guest.
_SCOPE = re.compile(r"(?:/[^/\n]*)*?/(?:machine-(?:qemu|lxc)[^/\n]*\.scope|[^/\n]*\.libvirt-qemu)(?=/|$)")
_DBUS_OF_GUEST = "/libvirt/qemu/dbus/"

_NAME = re.compile(r"(?:\A|,)guest=([^,]*)")
_MAX_NAME = 1024
_MAX_PIDS = 8
_CLOCK_TICKS = 100  # USER_HZ: the same on every Linux that libvirt runs on
#: Ticks, seconds and numbers of processes are below it.
_MOST = 2**53


@dataclass(repr=False, eq=False)
class SeenProcess:
    """A QEMU or helper, with its control group."""

    process: Process
    #: Path of the control group of the guest that it runs in.
    scope: str | None = None


@dataclass(repr=False, eq=False)
class ProcessTable:
    """Processes of interest of a host."""

    guests: list[SeenProcess] = field(default_factory=list)
    daemons: list[Process] = field(default_factory=list)
    containers: list[ContainerLabel] = field(default_factory=list)
    #: Why /proc could not be listed; None when it was.
    problem: Reason | None = None
    #: Processes whose program or label could not be read.
    hidden: int = 0
    booted_at: int | None = None

    def context_of(self, pid: int | None) -> str | None:
        """The label of a QEMU or helper."""
        return next((seen.process.context for seen in self.guests if seen.process.pid == pid), None)


def read(root: Root, guest_types: t.Collection[str], container_types: t.Collection[str] = ()) -> ProcessTable:
    """Read every process once. Those that end meanwhile are left out. The types are the policy's own lists."""
    table = ProcessTable(booted_at=_boot_time(root))
    try:
        pids = sorted(int(name) for name in root.listdir("/proc") if name.isdigit())
    except OSError as error:
        table.problem = trouble(error)
        return table
    by_label: dict[str, list[int]] = {}
    types = _KnownTypes(guest_types, container_types)
    for pid in pids:
        _look(root, pid, table, by_label, types)
    table.containers = [
        ContainerLabel(label, members[:_MAX_PIDS], len(members)) for label, members in sorted(by_label.items())
    ]
    return table


@dataclass(frozen=True)
class _KnownTypes:
    guests: t.Collection[str]
    containers: t.Collection[str]

    def contain(self, root: Root, pid: int, context: str | None) -> bool:
        """The label is a container's: by its type, or by categories in a control group that an engine made."""
        type_ = type_of(context) if context else None
        if is_container_type(type_, self.containers):
            return True
        has_pair = context is not None and type_ not in self.guests and "," in context and ":s0:c" in context
        return has_pair and any(map(of_engine, _cgroups(root, pid)))


def _look(root: Root, pid: int, table: ProcessTable, by_label: dict[str, list[int]], types: _KnownTypes) -> None:
    try:
        exe = _exe(root, pid)
    except FileNotFoundError:
        return
    context = _context(root, pid)
    type_ = type_of(context) if context else None
    if types.contain(root, pid, context):
        by_label.setdefault(context or "", []).append(pid)
    program = _program(root, pid, exe)
    if program is None:
        table.hidden += root.exists(f"/proc/{pid}")
        return
    role = _role(root, pid, program, type_ in types.guests)
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
    words = _words(root, pid)
    if _is_qemu(root, pid, program, words):
        return QEMU
    if program in _HELPERS or has_guest_label:
        return "passt" if program == "passt.avx2" else program[:_MAX_NAME]
    if program == "dbus-daemon" and any(_DBUS_OF_GUEST in word for word in words):
        return program
    return None


def _is_qemu(root: Root, pid: int, program: str, words: list[str]) -> bool:
    """Whether a process is a system emulator: by its executable, and by name and command line together with it."""
    named = _QEMU_PROGRAM.match(program) is not None
    if not named and (program in _HELPERS or program in _DAEMONS or not _has_qemu_options(words)):
        return False
    path = f"/proc/{pid}/exe"
    try:
        if root.peek(path, len(_ELF)) != _ELF:
            return False
        return named or root.holds(path, _SIGNATURE, _MAX_PROGRAM)
    except OSError:  # not for us to read
        return named or not (program in _LAUNCHERS or _LAUNCHER.match(program))


def _has_qemu_options(words: list[str]) -> bool:
    options = {word.lstrip("-") for word in words[1:] if word.startswith("-")}
    return len(options & _QEMU_OPTIONS) >= _ENOUGH_OPTIONS


def _seen(root: Root, pid: int, role: str, exe: str | None, context: str | None, booted_at: int | None) -> SeenProcess:
    process = Process(pid=pid, role=role, exe=exe, context=context, uid=_uid(root, pid))
    process.parent, process.started_at = _parent_and_start(root, pid, booted_at)
    if role == QEMU:
        words = _words(root, pid)
        process.name = _guest_name(words)
        process.machine = _value_of(words, "machine", "M", last=True)  # a later one overrides
    groups = _cgroups(root, pid)
    process.cgroup = groups[0][:_MAX_NAME] if groups else None
    matches = (_SCOPE.match(group) for group in groups)
    return SeenProcess(process, next((match.group(0) for match in matches if match), None))


def _words(root: Root, pid: int) -> list[str]:
    try:
        return text_of(root.peek(f"/proc/{pid}/cmdline", 65536)).split("\0")
    except OSError:
        return []


def _guest_name(words: list[str]) -> str | None:
    """The value of -name: ``guest=NAME,debug-threads=on`` with doubled commas, or just the name."""
    value = _value_of(words, "name", limit=None)
    if value is None:
        return None
    single = value.replace(",,", "\0")
    match = _NAME.search(single)
    name = match.group(1) if match else single.split(",", 1)[0]
    return name.replace("\0", ",")[:_MAX_NAME] or None


def _value_of(words: list[str], *names: str, limit: int | None = _MAX_NAME, last: bool = False) -> str | None:
    """The first value of an option on QEMU's command line, or the last; an option takes one dash or two."""
    pairs = list(zip(words, words[1:]))
    for option, value in reversed(pairs) if last else pairs:
        if option.startswith("-") and option[1:].removeprefix("-") in names:
            return value[:limit]
    return None


def _uid(root: Root, pid: int) -> int | None:
    try:
        for line in root.peek(f"/proc/{pid}/status").split(b"\n"):
            if line.startswith(b"Uid:"):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def _parent_and_start(root: Root, pid: int, booted_at: int | None) -> tuple[int | None, float | None]:
    try:
        # The program's name, in brackets, may hold anything; the 4th field is the 2nd after it, the 22nd the 20th.
        fields = root.peek(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        parent, ticks = int(fields[1]), int(fields[19])
    except (OSError, ValueError, IndexError):
        return None, None
    if max(abs(parent), abs(ticks)) > _MOST:  # no number of a kernel, and none that a snapshot takes
        return None, None
    return parent, None if booted_at is None else booted_at + ticks / _CLOCK_TICKS


def _boot_time(root: Root) -> int | None:
    try:
        for line in root.read_bytes("/proc/stat").split(b"\n"):
            if line.startswith(b"btime "):
                seconds = int(line.split()[1])
                return seconds if abs(seconds) <= _MOST else None
    except (OSError, ValueError):
        pass
    return None


def _cgroups(root: Root, pid: int) -> list[str]:
    """Paths of the control groups of a process: one, or with version 1 one for each controller."""
    try:
        lines = text_of(root.peek(f"/proc/{pid}/cgroup", 65536)).split("\n")
    except OSError:
        return []
    return [line.split(":", 2)[2] for line in lines if line.count(":") >= 2]


def match_guests(table: ProcessTable, pids: t.Mapping[int, str]) -> None:
    """Set the guest of each process: by pid, by the control group that a guest's QEMU is in, or by its parent.

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
        # By the group only helpers: a second QEMU in a guest's control group is not that guest.
        if seen.process.guest is None and seen.process.role != QEMU and seen.scope:
            seen.process.guest = scopes.get(seen.scope)
        elif seen.process.guest is None and _is_child(table, seen.process, pids):
            seen.process.guest = pids[seen.process.parent or 0]
        if seen.process.guest is not None:
            seen.process.parent = seen.process.machine = None
            seen.process.cgroup = None if seen.scope else seen.process.cgroup


def _is_child(table: ProcessTable, process: Process, pids: t.Container[int]) -> bool:
    """Whether a guest's QEMU itself made the process, and it has the guest's label.

    With <async-teardown> QEMU has a child that shares its memory, and with it program and command line: it frees the
    memory when QEMU has ended.
    """
    parent = process.parent
    return process.role == QEMU and parent in pids and process.context == table.context_of(parent)


def drop_ended(root: Root, table: ProcessTable) -> None:
    """Drop processes that belong to no guest and have ended meanwhile: their guest may have ended, too."""
    table.guests = [
        seen for seen in table.guests if seen.process.guest is not None or root.exists(f"/proc/{seen.process.pid}")
    ]
