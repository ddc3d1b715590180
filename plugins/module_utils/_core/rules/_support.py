# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rules share: how subjects are named, how labels are read without ever failing, which types are guests'.

Subjects are written one way everywhere: ``host``, ``type NAME``, ``boolean NAME``, ``qemu.conf`` or ``qemu.conf KEY``,
``daemon NAME``, ``guest NAME``, ``process PID NAME``, ``image PATH``, ``folder PATH``, ``storage MOUNT``,
``interface MAC of guest NAME``. Names and paths stand there as read: whoever shows them escapes them. Keys, which make
fingerprints, hold what stays the same from run to run: a uuid, a path, the name of a type.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import functools
import posixpath
import typing as t

from ..errors import LabelError
from ..expected import confinement
from ..finding import Unsure
from ..label import Context, parse_context, type_of
from ..snapshot import Guest, Interface, Process, QemuConf, Snapshot, TypeFacts

HOST = "host"
#: Where qemu.conf as a whole is the subject.
CONF = "qemu.conf"
#: Kinds of problems in qemu.conf for which libvirt refuses the file, so that its daemon does not start again.
REFUSED = frozenset(("syntax", "wrong_type", "bad_value"))

#: Types that policies give to guests. A policy's own list (contexts/virtual_domain_context) is added to these.
SHIPPED_GUEST_TYPES = ("svirt_t", "svirt_tcg_t")
#: Types that libvirt's daemons run in. A QEMU started without a label of its own stays in them.
DAEMON_TYPES = ("virtd_t", "virtqemud_t")
#: Types beside those named unconfined…: the policy holds them back from next to nothing.
_OPEN_TYPES = frozenset((*DAEMON_TYPES, "init_t", "initrc_t", "kernel_t", "spc_t", "sysadm_t"))
#: Kinds of guests that run as a QEMU process.
QEMU_KINDS = frozenset(("kvm", "qemu"))

NIST_AC3 = "NIST SP 800-53 AC-3"  # access enforcement
NIST_AC4 = "NIST SP 800-53 AC-4"  # information flow enforcement
NIST_AC6 = "NIST SP 800-53 AC-6"  # least privilege
NIST_CM3 = "NIST SP 800-53 CM-3"  # configuration change control
NIST_CM6 = "NIST SP 800-53 CM-6"  # configuration settings
NIST_CM7 = "NIST SP 800-53 CM-7"  # least functionality
NIST_SC4 = "NIST SP 800-53 SC-4"  # information in shared system resources
NIST_SC7 = "NIST SP 800-53 SC-7"  # boundary protection
NIST_SC39 = "NIST SP 800-53 SC-39"  # process isolation
NIST_SI2 = "NIST SP 800-53 SI-2"  # flaw remediation


def guest_name(guest: Guest) -> str:
    """A guest as a subject."""
    return f"guest {guest.name or guest.uuid}"


def interface_name(guest: Guest, interface: Interface) -> str:
    """An interface of a guest as a subject."""
    return f"interface {interface.mac or interface.target or '?'} of {guest_name(guest)}"


def image_name(path: str) -> str:
    """A file of a guest as a subject."""
    return f"image {path}"


def process_name(process: Process) -> str:
    """A process as a subject: its guest's name, else its program's."""
    name = process.name or posixpath.basename(process.exe or "")
    return f"process {process.pid} {name}".rstrip()


@functools.lru_cache(maxsize=4096)  # several rules read each label, and many files have the same
def read_context(label: str | None) -> Context | None:
    """A label as a context, or None where it was not read or is none."""
    if not label:
        return None
    try:
        return parse_context(label)
    except LabelError:
        return None


def unreadable(label: str | None, what: str) -> str:
    """Why ``read_context`` gave None."""
    if not label:
        return f"{what} could not be read"
    try:
        parse_context(label)
    except LabelError as error:
        return f"{what}: {error}"
    return ""


def selinux_off(snapshot: Snapshot) -> bool:
    """The kernel runs without SELinux. One rule says so, the others cannot judge labels that mean nothing."""
    return snapshot.selinux.mode == "disabled"


def off_is_unsure(snapshot: Snapshot) -> tuple[Unsure, ...]:
    """What a rule about labels says while SELinux is off."""
    return (Unsure(HOST, "SELinux is off, so labels mean nothing now"),) if selinux_off(snapshot) else ()


def guest_types(snapshot: Snapshot) -> frozenset[str]:
    """Process types that are meant for guests on this host."""
    return frozenset(snapshot.selinux.guest_types) | frozenset(SHIPPED_GUEST_TYPES)


def runs_open(type_: str) -> bool:
    """The policy holds a process of this type back from next to nothing."""
    return type_ in _OPEN_TYPES or type_.startswith("unconfined") or type_.endswith("_unconfined_t")


def facts_of(snapshot: Snapshot, type_: str) -> TypeFacts:
    """What the loaded policy says of a type; nothing, when it was not asked."""
    return next((facts for facts in snapshot.selinux.types if facts.name == type_), TypeFacts(type_))


def qemu_guests(snapshot: Snapshot) -> t.Iterator[Guest]:
    """The guests that sVirt's rules for QEMU are about."""
    return (guest for guest in snapshot.guests if guest.kind in QEMU_KINDS)


def draws_categories(guest: Guest) -> bool:
    """libvirt draws the guest's categories: those of the running process, else those of the next start."""
    seclabel = confinement(guest.live if guest.active else guest.persistent_labels)
    if seclabel is None:
        return not guest.active and not guest.error
    return seclabel.type in (None, "dynamic")


def open_type_of(label: str | None) -> str | None:
    """The label's type when it is one that confines nothing; works without levels too."""
    type_ = type_of(label) if label else None
    return type_ if type_ is not None and runs_open(type_) else None


def below(path: str, folder: str) -> bool:
    """Whether a path is the folder or lies under it."""
    folder = folder.rstrip("/")
    return path == folder or path.startswith(folder + "/")


def below_any(path: str, folders: t.Iterable[str]) -> bool:
    """Whether a path lies under one of the folders."""
    return any(below(path, folder) for folder in folders)


def conf_key(key: str) -> str:
    """A key of qemu.conf as a subject."""
    return f"{CONF} {key}"


def conf_doubt(conf: QemuConf | None, key: str) -> Unsure | None:
    """Why the file's word on a key cannot be judged; None when it can."""
    if conf is None:
        return Unsure(CONF, "the file could not be read")
    for problem in conf.problems:
        if problem.kind == "syntax":
            return Unsure(CONF, f"libvirt cannot parse the file: line {problem.line}: {problem.message}")
        if problem.kind in REFUSED and problem.key == key:
            return Unsure(conf_key(key), f"libvirt refuses the value: {problem.message}")
    return None
