# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a host that decide whether libvirt accepts values of qemu.conf. Files alone are read: a service could hang.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import errno
import posixpath
import re
import stat
import typing as t

from ..._core.errors import HostReadError
from ..._core.libvirt import qemu_conf_host as core
from ..._core.libvirt.qemu_conf_host import HostFact
from ..._core.system.mounts import parse_mountinfo
from .paths import MountTable, Paths, may_hang
from .root import Root

#: Sources of nsswitch.conf that name no user beyond what files hold.
_LOCAL = frozenset(("files", "compat", "altfiles", "systemd"))
_PROGRAMS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
_LIBRARIES = ("/usr/lib64", "/usr/lib", "/lib64", "/usr/local/lib64", "/usr/local/lib")
_FIRMWARE = ("/usr/share/qemu/firmware", "/etc/qemu/firmware")
#: MAJOR * 1000 + MINOR, then MICRO.
_LIBRARY = re.compile(r"libvirt\.so\.0\.([0-9]{4,6})\.([0-9]{1,3})\Z")
_MOUNTINFO = "/proc/self/mountinfo"
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def read(root: Root, facts: t.Iterable[HostFact]) -> dict[HostFact, bool | str | None]:
    """Whether each fact holds; None where that cannot be found out. Never raises."""
    wanted = list(dict.fromkeys(facts))
    return _Reader(root).read(wanted) if wanted else {}


def installed_version(root: Root) -> str | None:
    """Version of the libvirt library on disk, which a restarted daemon uses; None where none is found."""
    versions = []
    for folder in _library_folders(root):
        try:
            names = root.names(folder)
        except (OSError, HostReadError):
            continue
        versions += [match.groups() for name in names if (match := _LIBRARY.match(name))]
    numbers = max(((int(number), int(micro)) for number, micro in versions), default=None)
    return None if numbers is None else f"{numbers[0] // 1000}.{numbers[0] % 1000}.{numbers[1]}"


def _library_folders(root: Root) -> list[str]:
    try:
        archs = [name for name in root.names("/usr/lib") if name.endswith(("-gnu", "-musl"))]
    except (OSError, HostReadError):
        archs = []
    return [*_LIBRARIES, *(f"/usr/lib/{name}" for name in archs)]


class _Reader:
    def __init__(self, root: Root) -> None:
        self._root = root
        try:
            self._mounts = MountTable(parse_mountinfo(root.read_text(_MOUNTINFO)))
            self._mounts_known = True
        except (OSError, HostReadError):
            self._mounts, self._mounts_known = MountTable(()), False
        self._paths = Paths(root, self._mounts)

    def read(self, facts: t.Iterable[HostFact]) -> dict[HostFact, bool | str | None]:
        root = self._root
        ask: dict[str, t.Callable[[str], bool | str | None]] = {
            core.USER: lambda name: self._is_named(name, "passwd"),
            core.GROUP: lambda name: self._is_named(name, "group"),
            core.EXISTS: self._exists,
            core.HUGEPAGES: self._is_hugetlbfs,
            core.CREATABLE: self._is_creatable,
            core.LOCK_MANAGER: self._is_lock_manager,
            core.SCHED_CORE: lambda _value: self._schedules_cores(),
            core.FIRMWARE_LIST: lambda _value: self._has_firmware_descriptions(),
            core.EBTABLES: lambda name: any(root.exists(f"{folder}/{name}") for folder in _PROGRAMS),
            core.CAPABILITY: lambda _name: None,
            core.CANONICAL: self._canonical,
        }
        answers: dict[HostFact, bool | str | None] = {}
        for fact in facts:
            try:
                answers[fact] = ask[fact.kind](fact.subject)
            except (OSError, HostReadError, ValueError):
                answers[fact] = None
        return answers

    def _is_named(self, name: str, database: str) -> bool | None:
        rows = self._root.read_text(f"/etc/{database}").split("\n")
        if any(row.split(":")[0] == name for row in rows if ":" in row):
            return True
        return False if self._sources(database) <= _LOCAL else None

    def _sources(self, database: str) -> set[str]:
        try:
            lines = self._root.read_text("/etc/nsswitch.conf").split("\n")
        except FileNotFoundError:
            return {"files"}
        words = [line.partition("#")[0].split() for line in lines]
        return {word for line in words if line[:1] == [f"{database}:"] for word in line[1:] if word[0] != "["}

    def _exists(self, path: str) -> bool | None:
        return self._stat(path) is not None if self._may_touch(path) else None

    def _stat(self, path: str) -> t.Any:
        """Facts about a path; None when nothing is there. Raises OSError for other trouble."""
        try:
            return self._root.stat(path) if path else None
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise

    def _may_touch(self, path: str) -> bool:
        """Whether looking at a path, which the daemon sees from /, cannot hang."""
        return self._mounts_known and not may_hang(self._mounts.of(self._resolved(path)))

    def _resolved(self, path: str) -> str:
        return self._paths.resolve(posixpath.join("/", path))

    def _is_hugetlbfs(self, path: str) -> bool | None:
        if not path or not self._may_touch(path):
            return None if path else False
        mount = self._mounts.of(self._resolved(path))
        return self._exists(path) is True and mount is not None and mount.type == "hugetlbfs"

    def _is_creatable(self, path: str) -> bool | None:
        if not path:
            return False
        folder = posixpath.join("/", path)
        while self._may_touch(folder):
            facts = self._stat(folder)
            if facts is not None:
                mount = self._mounts.of(self._resolved(folder))
                return stat.S_ISDIR(facts.st_mode) and (mount is None or "ro" not in mount.options)
            folder = posixpath.dirname(folder.rstrip("/")) or "/"
        return None

    def _is_lock_manager(self, name: str) -> bool | None:
        if "/" in name:
            return None
        folders = [f"{library}/libvirt" for library in _library_folders(self._root)]
        if any(self._root.exists(f"{folder}/lock-driver/{name}.so") for folder in folders):
            return True
        # libvirt's own modules lie in the same folder; without them its folder of modules is unknown.
        return False if any(self._root.exists(folder) for folder in folders) else None

    def _schedules_cores(self) -> bool | None:
        if self._root.line("/sys/devices/system/cpu/smt/active") != "1":
            return False
        release = self._root.line("/proc/sys/kernel/osrelease")
        for path in (f"/boot/config-{release}", f"/lib/modules/{release}/config"):
            if self._root.exists(path):
                return "\nCONFIG_SCHED_CORE=y\n" in self._root.read_text(path)
        return None

    def _has_firmware_descriptions(self) -> bool:
        """With these, libvirt ignores the key nvram."""
        return any(name.endswith(".json") for folder in _FIRMWARE for name in self._root.names(folder))

    def _canonical(self, path: str) -> str | None:
        """The path without links, empty when it does not exist."""
        if not path:
            return ""
        return (self._resolved(path) if self._exists(path) else "") if self._may_touch(path) else None
