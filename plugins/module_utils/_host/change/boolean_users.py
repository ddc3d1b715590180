# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests and daemons that need a boolean: a running guest would lose its disk if it were switched off.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..._core.errors import HostReadError
from ..._core.libvirt.file_labels import ImageTypes
from ..._core.result import Reason
from ..._core.snapshot.model import SELinux
from ..._core.system.mounts import Mount, parse_mountinfo
from ..base.paths import MountTable, Paths
from ..base.root import Root, reason
from ..probe import guests, processes

_STORAGE: dict[str, t.Callable[[str], bool]] = {
    "virt_use_nfs": lambda type_: type_ in ("nfs", "nfs4"),
    "virt_use_samba": lambda type_: type_ in ("cifs", "smb3"),
    "virt_use_fusefs": lambda type_: type_.startswith("fuse") and type_ != "fusectl",
}
#: Daemons that guests may talk to while the boolean is on.
_DAEMONS = {"virt_use_sanlock": ("sanlock",), "virt_use_glusterd": ("glusterd", "glusterfsd")}


@dataclass(repr=False, eq=False)
class BooleanUsers:
    """The users of booleans among guests, running and defined; these are read once, when first needed."""

    root: Root
    table: processes.ProcessTable
    facts: SELinux
    _listed: list[guests.ReadGuest] | None = field(default=None, init=False)
    _problem: Reason | None = field(default=None, init=False)

    def of(self, name: str) -> Reason | None:
        """The reason not to switch the boolean off; None when nothing here needs it."""
        try:
            if name in _STORAGE:
                return self._storage(_STORAGE[name])
            if name == "virt_use_execmem":
                return self._emulation()
            return self._daemon(_DAEMONS.get(name, ()))
        except (OSError, HostReadError) as error:
            return Reason("boolean_use_unknown", f"whether a guest needs it is not known: {reason(error)}")

    def _storage(self, concerns: t.Callable[[str], bool]) -> Reason | None:
        mounts = parse_mountinfo(self.root.read_text("/proc/self/mountinfo"))
        bare = [item for item in mounts if concerns(item.type) and not item.labelled and item.context is None]
        if not bare:
            return None
        table = MountTable(mounts)
        for user in self.table.guests:
            path = self._open_on(user.process.pid, table, bare)
            if path:
                return _in_use(f"process {user.process.pid} of a guest has {path[:200]} open")
        paths = Paths(self.root, table)
        for listed in self._guests():
            for resource in listed.guest.resources:
                if table.of(paths.resolve(resource.path)) in bare:
                    return _in_use(f"guest {listed.guest.uuid} has {resource.path[:200]}")
        return self._problem

    def _open_on(self, pid: int, table: MountTable, bare: list[Mount]) -> str:
        """A file on one of the mounts that the process has open. Only names are read: nothing there can hang."""
        folder = f"/proc/{pid}/fd"
        try:
            names = self.root.listdir(folder)
        except (FileNotFoundError, ProcessLookupError):
            return ""  # the process ended meanwhile
        for name in names:
            try:
                path = self.root.readlink(f"{folder}/{name}")
            except OSError:
                continue
            if path.startswith("/") and table.of(path) in bare:
                return path
        return ""

    def _emulation(self) -> Reason | None:
        """Emulated guests need executable memory, where the policy has no type of its own for them."""
        types = set(self.facts.guest_types)
        if len(types) > 1:
            return None
        if not types:
            why = "the policy's guest types cannot be read, so emulated guests may need it"
            return Reason("boolean_use_unknown", why)
        for listed in self._guests():
            if listed.guest.kind == "qemu":
                return _in_use(f"guest {listed.guest.uuid} is emulated")
        return self._problem

    def _daemon(self, programs: tuple[str, ...]) -> Reason | None:
        for name in self.root.listdir("/proc") if programs else ():
            comm = (self.root.line(f"/proc/{name}/comm") or "") if name.isdigit() else ""
            if comm in programs:
                return _in_use(f"{comm} runs here")
        return None

    def _guests(self) -> list[guests.ReadGuest]:
        if self._listed is None:
            status = guests.status_names(self.root)
            guests.read_status(self.root, status)
            alive = {user.process.pid for user in self.table.guests}
            self._listed, problems = guests.without_libvirt(self.root, status, alive)
            for listed in self._listed:
                guests.fill_resources(self.root, listed, ImageTypes.of(self.facts.image_types))
            if problems:
                why = f"whether a guest needs it is not known: {problems[0]}"[:500]
                self._problem = Reason("boolean_use_unknown", why)
        return self._listed


def _in_use(why: str) -> Reason:
    return Reason("boolean_in_use", why)
