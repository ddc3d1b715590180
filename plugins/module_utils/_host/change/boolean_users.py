# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a guest needs what a boolean opens: switched off under it, a running guest would lose its disk.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..._core.errors import HostReadError
from ..._core.libvirt.file_labels import ImageTypes
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
#: Daemons that guests talk to through the boolean's door.
_DAEMONS = {"virt_use_sanlock": ("sanlock",), "virt_use_glusterd": ("glusterd", "glusterfsd")}


@dataclass(repr=False, eq=False)
class DoorUse:
    """Looks at guests, running and defined, once it is asked."""

    root: Root
    table: processes.ProcessTable
    facts: SELinux
    _found: list[guests.ReadGuest] | None = field(default=None, init=False)
    _problem: str = field(default="", init=False)

    def of(self, name: str) -> str:
        """Why the boolean must not be switched off; empty when nothing here needs it."""
        try:
            if name in _STORAGE:
                return self._storage(_STORAGE[name])
            if name == "virt_use_execmem":
                return self._emulation()
            return self._daemon(_DAEMONS.get(name, ()))
        except (OSError, HostReadError) as error:
            return f"whether a guest needs it cannot be told: {reason(error)}"

    def _storage(self, concerns: t.Callable[[str], bool]) -> str:
        mounts = parse_mountinfo(self.root.read_text("/proc/self/mountinfo"))
        bare = [item for item in mounts if concerns(item.type) and not item.labelled and item.context is None]
        if not bare:
            return ""
        table = MountTable(mounts)
        for seen in self.table.guests:
            path = self._open_on(seen.process.pid, table, bare)
            if path:
                return f"process {seen.process.pid} of a guest has {path[:200]} open"
        paths = Paths(self.root, table)
        for found in self._guests():
            for resource in found.guest.resources:
                if table.of(paths.resolve(resource.path)) in bare:
                    return f"guest {found.guest.uuid} has {resource.path[:200]}"
        return self._problem

    def _open_on(self, pid: int, table: MountTable, bare: list[Mount]) -> str:
        """A file on one of the mounts that the process has open. Only names are read: nothing there can hang."""
        folder = f"/proc/{pid}/fd"
        try:
            names = self.root.listdir(folder)
        except (FileNotFoundError, ProcessLookupError):
            return ""  # it ended meanwhile
        for name in names:
            try:
                path = self.root.readlink(f"{folder}/{name}")
            except OSError:
                continue
            if path.startswith("/") and table.of(path) in bare:
                return path
        return ""

    def _emulation(self) -> str:
        """Emulated guests need executable memory, where the policy has no type of its own for them."""
        types = set(self.facts.guest_types)
        if len(types) > 1:
            return ""
        if not types:
            return "the policy's guest types cannot be read, so emulated guests may need it"
        for found in self._guests():
            if found.guest.kind == "qemu":
                return f"guest {found.guest.uuid} is emulated"
        return self._problem

    def _daemon(self, programs: tuple[str, ...]) -> str:
        if not programs:
            return ""
        for name in self.root.listdir("/proc"):
            if name.isdigit() and (self.root.line(f"/proc/{name}/comm") or "") in programs:
                return f"{self.root.line(f'/proc/{name}/comm')} runs here"
        return ""

    def _guests(self) -> list[guests.ReadGuest]:
        if self._found is None:
            status = guests.status_names(self.root)
            guests.read_status(self.root, status)
            alive = {seen.process.pid for seen in self.table.guests}
            self._found, problems = guests.without_libvirt(self.root, status, alive)
            for found in self._found:
                guests.fill_resources(self.root, found, ImageTypes.of(self.facts.image_types))
            if problems:
                self._problem = f"whether a guest needs it cannot be told: {problems[0]}"[:500]
        return self._found
