# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of qemu.conf that only some hosts accept: users, folders, plug-ins and security drivers that must exist.

The daemon checks them when it starts. A fact is what a reader has to find out on the host for that.
Sources: libvirt's src/qemu/qemu_conf.c and qemu_driver.c, src/util/virutil.c and virfile.c,
src/locking/lock_manager.c, src/security/.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace

from ..result import Reason
from ..snapshot.model import Assignment, ConfProblem, QemuConf
from . import qemu_conf
from .qemu_conf import SHARED, UNVERIFIED
from .qemu_conf_keys import shown

USER, GROUP = "user", "group"
EXISTS, HUGEPAGES, CREATABLE = "exists", "hugepages", "creatable"
LOCK_MANAGER, SCHED_CORE, FIRMWARE_LIST = "lock manager", "core scheduling", "firmware list"
#: A program for mac_filter; the name of a capability of QEMU, which no table of ours has.
EBTABLES, CAPABILITY = "ebtables", "capability"
#: Canonical path of a folder, empty where none exists.
CANONICAL = "canonical path"

_NUMBER = re.compile(r"\+?[0-9]{1,10}\Z")
_MAX_ID = 2**32 - 1
_BUILT_IN = "nop"  # the lock manager that needs no plug-in
_TEXTS: dict[str, str] = {
    "user": USER,
    "group": GROUP,
    "swtpm_user": USER,
    "swtpm_group": GROUP,
    "lock_manager": LOCK_MANAGER,
    "sched_core": SCHED_CORE,
    "auto_dump_path": CREATABLE,
    "memory_backing_dir": CREATABLE,
    "hugetlbfs_mount": HUGEPAGES,
    "nvram": FIRMWARE_LIST,
    "capability_filters": CAPABILITY,
    SHARED: CANONICAL,
}
_WHY = {
    USER: "this host has no such user",
    GROUP: "this host has no such group",
    EXISTS: "this folder does not exist",
    HUGEPAGES: "no hugetlbfs is mounted there",
    CREATABLE: "this folder does not exist and cannot be created",
    LOCK_MANAGER: "libvirt has no such lock manager on this host",
    SCHED_CORE: "this host's kernel has no core scheduling",
    EBTABLES: "this host has no such program",
    FIRMWARE_LIST: "each entry must be the paths of firmware and variables with one colon between them",
}


@dataclass(frozen=True)
class HostFact:
    """Something that must hold on the host."""

    kind: str
    #: Name or path.
    subject: str


#: True, False, or the canonical path; None: it could not be found out. A fact that is missing is the same as None.
HostFacts = t.Mapping[HostFact, t.Union[bool, str, None]]


def facts_of(assignments: t.Iterable[Assignment]) -> list[HostFact]:
    """Facts that decide whether the daemon accepts the values, of assignments by which each key has one."""
    return [fact for item in assignments for fact in _facts(item)]


def problems(assignments: t.Iterable[Assignment], facts: HostFacts) -> t.Iterator[ConfProblem]:
    """Values that the daemon does not accept on this host, or of which this is not known."""
    for item in assignments:
        if item.key == SHARED:
            yield from _shared_problems(item, facts)
            continue
        for fact in _facts(item):
            answer = facts.get(fact)
            if answer is False:
                message = f"{shown(fact.subject)}: {_WHY[fact.kind]}; the daemon does not start with it"
                yield ConfProblem(item.line, "bad_value", item.key, message)
                break
            if answer is None:
                message = f"{shown(fact.subject)}: whether the daemon accepts it on this host is not known"
                yield ConfProblem(item.line, UNVERIFIED, item.key, message)
                break


def checked(conf: QemuConf, facts: HostFacts) -> QemuConf:
    """The file with the problems that it has on this host, and with shared_filesystems as libvirt resolves it."""
    broken = {problem.key for problem in conf.problems if problem.kind in qemu_conf.REFUSED}
    items = [item for key, item in qemu_conf.effective(conf.assignments).items() if key not in broken]
    judged = [*conf.problems, *problems(items, facts)]
    shared = next((item.value for item in items if item.key == SHARED), None)
    folders = None if shared is None else shared_folders(shared, facts)
    return replace(conf, problems=sorted(judged, key=lambda problem: problem.line), shared_folders=folders)


def shared_folders(paths: t.Iterable[str], facts: HostFacts) -> list[str] | None:
    """Folders of shared_filesystems that libvirt uses: canonical, up to the first that does not exist.

    None where one of them is not known.
    """
    folders = []
    for path in paths:
        folder = facts.get(HostFact(CANONICAL, path))
        if folder is None:
            return None
        if not folder:
            break
        folders.append(str(folder))
    return folders


def driver_faults(conf: QemuConf, mode: str, lsms: t.Collection[str]) -> t.Iterator[Reason]:
    """Why libvirt would not start with the file's security drivers on a host with this SELinux mode and these LSMs."""
    driver = qemu_conf.security_driver(conf)
    apparmor = "apparmor" in lsms
    if driver.selinux and mode == "disabled":
        yield Reason(
            "selinux_off",
            "security_driver names selinux and SELinux is off on this host: libvirt would not start. Turn SELinux on "
            "first, which needs a reboot",
        )
    if driver.kind == "explicit" and "apparmor" in driver.names and not apparmor:
        yield Reason(
            "apparmor_off", "security_driver names apparmor and AppArmor is off on this host: libvirt would not start"
        )
    none = driver.kind == "none" or (driver.kind == "unset" and mode == "disabled" and not apparmor)
    if none and qemu_conf.setting(conf, "security_require_confined") == 1:
        yield Reason(
            "no_driver",
            "security_require_confined = 1 and no security driver would be in force: libvirt would not start. Name a "
            "driver that the host has, or leave require_confined at no",
        )


def _facts(item: Assignment) -> t.Iterator[HostFact]:
    kind = EXISTS if item.key.endswith("_tls_x509_cert_dir") else _TEXTS.get(item.key)
    if item.key == "mac_filter" and item.value == 1:
        yield HostFact(EBTABLES, "ebtables")
    values = item.value if isinstance(item.value, list) else [item.value]
    texts = [value for value in values if isinstance(value, str)]
    if kind is None or item.key not in qemu_conf.KEYS:
        return
    if kind == FIRMWARE_LIST:
        wrong = [text for text in texts if not _is_firmware(text)]
        yield from (HostFact(kind, text) for text in wrong[:1])
        return
    for text in texts:
        if kind in (USER, GROUP) and _NUMBER.match(text) and int(text) <= _MAX_ID:
            continue
        if (kind, text) in ((LOCK_MANAGER, _BUILT_IN), (SCHED_CORE, "none")):
            continue
        # libvirt makes a folder of its own below the one that memory_backing_dir names.
        yield HostFact(kind, f"{text}/libvirt/qemu" if item.key == "memory_backing_dir" else text)


def _is_firmware(text: str) -> bool:
    parts = [part.strip() for part in text.split(":")]
    return len(parts) == 2 and all(parts)


def _shared_problems(item: Assignment, facts: HostFacts) -> t.Iterator[ConfProblem]:
    for place, fact in enumerate(_facts(item)):
        folder = facts.get(fact)
        if folder is None:
            message = f"{shown(fact.subject)}: whether this folder exists is not known"
            yield ConfProblem(item.line, UNVERIFIED, item.key, message)
            return
        if not folder:
            rest = len(item.value) - place - 1
            more = f" and the {rest} after it" if rest else ""
            message = f"{shown(fact.subject)} does not exist, so libvirt ignores it{more}"
            yield ConfProblem(item.line, "ignored_value", item.key, message)
            return
