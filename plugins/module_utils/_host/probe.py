# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a whole host: orders the readers and puts the snapshot together.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field

from .._core import snapshot as s
from .._core.expected import ImageTypes
from .._core.label import type_of
from .._core.mounts import Export
from . import connection, daemon, files, guests, orphans, processes, selinux, storage, system
from .bounded import Job
from .coverage import Ledger
from .paths import MountTable
from .root import Root

Ask = t.Callable[[str, t.Collection[str]], t.Iterable[t.Dict[str, t.Any]]]

_NO_LIBVIRT = "no libvirt daemon for QEMU is installed"
_OFF = "SELinux is off on this host"
_APPARMOR = "AppArmor is in force here, not SELinux"
_NEEDS_ROOT = "the probe did not run as root"


@dataclass
class Options:
    """What the caller may choose."""

    timeout: float = 30.0
    orphan_search: tuple[str, ...] = ()


@dataclass
class Tools:
    """What the probe uses beside the host's files; tests put their own in."""

    ask: Ask = connection.ask
    run_command: system.RunCommand | None = None
    #: Raise errors that nobody foresaw.
    strict: bool = False
    now: t.Callable[[], float] = time.time


@dataclass
class Probe:
    """One look at one host; ``take`` is called once."""

    root: Root
    options: Options = field(default_factory=Options)
    tools: Tools = field(default_factory=Tools)

    def take(self) -> s.Snapshot:
        """Read the host. Never raises for what a host may hold: coverage says what could not be read."""
        self.ledger = Ledger(self.tools.strict)
        taken_at = self.tools.now()
        security = self._selinux()
        table = self._processes(security.facts)
        libvirt, job = self._libvirt(table)
        snapshot = s.Snapshot(
            host=system.host(self.root, table.booted_at),
            selinux=security.facts,
            libvirt=libvirt,
            coverage={},
            taken_at=taken_at,
            xen=self._xen(),
        )
        self._boot(snapshot)
        found = self._guests(snapshot, table, job)
        self._files(snapshot, found)
        self._questions(snapshot, security.oracle, table)
        self._finish(snapshot, table)
        return snapshot

    def _selinux(self) -> selinux.Reading:
        reading = selinux.Reading(s.SELinux(mode="disabled"))
        with self.ledger.area("selinux"):
            reading = selinux.read(self.root)
            self.ledger.unknown("selinux", *reading.missing)
        facts = reading.facts
        if facts.mode == "disabled":
            # Where SELinux was configured, AppArmor in its place is a fault, not a choice.
            chosen = "apparmor" in facts.lsms and facts.configured_mode in (None, "disabled")
            for area in ("selinux", "images") if chosen else ():
                self.ledger.not_applicable(area, _APPARMOR)
            for area in ("containers", "orphans"):
                self.ledger.not_applicable(area, _APPARMOR if chosen else _OFF)
        return reading

    def _processes(self, facts: s.SELinux) -> processes.Table:
        table = processes.Table()
        with self.ledger.area("processes", "containers"):
            table = processes.read(self.root, {*facts.guest_types, *selinux.GUEST_TYPES})
            for area in ("processes", "containers"):
                self.ledger.unknown(area, table.problem)
                if table.hidden:
                    self.ledger.unknown(area, f"{table.hidden} processes could not be looked at")
            if not self.root.privileged:
                self.ledger.unknown("processes", f"{_NEEDS_ROOT}: programs of others are known by their names only")
        return table

    def _xen(self) -> s.Xen | None:
        if not system.is_xen_host(self.root):
            self.ledger.not_applicable("xen", "the host does not run Xen")
            return None
        xen = s.Xen()
        with self.ledger.area("xen"):
            run_command = self.tools.run_command
            if run_command is None:
                self.ledger.unknown("xen", "xl was not asked")
                return xen
            job = Job(lambda: system.flask(run_command), self.options.timeout)
            for mode, problem in job.items():
                xen.flask = mode
                self.ledger.unknown("xen", problem)
            self.ledger.unknown("xen", job.problem)
        return xen

    def _libvirt(self, table: processes.Table) -> tuple[s.Libvirt, Job | None]:
        """What the host's files say of libvirt, and a connection that is under way."""
        self.status = guests.StatusFiles()
        libvirt = s.Libvirt()
        job = None
        with self.ledger.area("libvirt", "guests"):
            xen = system.is_xen_host(self.root)
            libvirt = daemon.find(self.root, table.daemons, xen)
            if not libvirt.installed:
                for area in ("libvirt", "guests", "images", "storage"):
                    self.ledger.not_applicable(area, _NO_LIBVIRT)
                return libvirt, None
            self.status = guests.status_names(self.root)
            why = daemon.may_connect(self.root, libvirt)
            if why:
                self.ledger.unknown("libvirt", why)
                self.ledger.unknown("guests", why)
            else:
                uri = connection.XEN_URI if xen else connection.QEMU_URI
                names = frozenset(self.status.names)
                job = Job(lambda: self.tools.ask(uri, names), self.options.timeout)
            libvirt.conf, problem = daemon.configuration(self.root)
            self.ledger.unknown("libvirt", problem)
        return libvirt, job

    def _boot(self, snapshot: s.Snapshot) -> None:
        with self.ledger.area("boot"):
            snapshot.selinux.boot_entries, problems = system.boot_entries(self.root)
            self.ledger.unknown("boot", *problems)

    def _guests(self, snapshot: s.Snapshot, table: processes.Table, job: Job | None) -> list[guests.Found]:
        if not self.ledger.applies("guests"):
            return []
        types = ImageTypes.of(snapshot.selinux.image_types)
        found: list[guests.Found] = []
        with self.ledger.area("guests"):
            guests.read_status(self.root, self.status)
            self.ledger.unknown("guests", self.status.problem)
            if job is not None:
                found = self._answered(snapshot.libvirt, job)
            if not snapshot.libvirt.connected:
                alive = {seen.process.pid for seen in table.guests}
                found, problems = guests.without_libvirt(self.root, self.status, alive)
                self.ledger.unknown("guests", *problems)
            uid, gids = daemon.qemu_user(self.root, snapshot.libvirt.conf, snapshot.host.os_id)
            snapshot.libvirt.qemu_uid, snapshot.libvirt.qemu_gids = uid, gids
            for item in found:
                guests.fill_resources(self.root, item, types)
        snapshot.guests = sorted((item.guest for item in found), key=lambda item: item.uuid)
        self._match(snapshot, table)
        return found

    def _answered(self, libvirt: s.Libvirt, job: Job) -> list[guests.Found]:
        """Guests as libvirt lists them; what came before it hung is kept."""
        found: list[guests.Found] = []
        for item in connection.gather(job.items()):
            if isinstance(item, connection.Listed):
                found.append(guests.from_libvirt(item, self.status))
                continue
            libvirt.connected = item.connected
            libvirt.driver, libvirt.version, libvirt.models = item.driver, item.version, item.models
        if job.problem:
            for area in ("libvirt", "guests"):
                (self.ledger.bug if job.bug else self.ledger.unknown)(area, job.problem)
        return found

    def _match(self, snapshot: s.Snapshot, table: processes.Table) -> None:
        """Bring guests and processes together, by pid."""
        processes.match_guests(table, {item.pid: item.uuid for item in snapshot.guests if item.pid is not None})
        for item in snapshot.guests:
            if item.pid is not None:
                item.context = table.context_of(item.pid) or selinux.current(self.root, item.pid)
            if item.error:
                self.ledger.unknown("guests", f"a guest could not be read wholly: {item.error}")

    def _files(self, snapshot: s.Snapshot, found: list[guests.Found]) -> None:
        """What the guests' files look like, the storage under them, and files that no guest owns."""
        if not (self.ledger.applies("storage") or self.ledger.applies("orphans")):
            return
        mounts, exported = MountTable(()), list[Export]()
        with self.ledger.area("storage"):
            mounts, problem = storage.mount_table(self.root)
            exported, more = storage.exports(self.root)
            self.ledger.unknown("storage", problem, more)
        devices: dict[str, int] = {}
        with self.ledger.area("images"):
            devices = self._look(snapshot, mounts)
        with self.ledger.area("orphans"):
            self._orphans(snapshot, mounts, exported)
        with self.ledger.area("storage"):
            self._storage(snapshot, mounts, exported, devices)
        if not self.ledger.whole("guests"):
            self.ledger.unknown("images", "the guests were not wholly read")

    def _look(self, snapshot: s.Snapshot, mounts: MountTable) -> dict[str, int]:
        """Fill in the facts of every resource; gives the device number of each disk that is a block device."""
        reader = files.Reader(self.root, mounts, self.options.timeout)
        outside: list[s.Resource] = []
        devices: dict[str, int] = {}
        for guest in snapshot.guests:
            inside = [item for item in guest.resources if guest.pid is not None and item.path.startswith("/dev/")]
            outside += [item for item in guest.resources if item not in inside]
            seen = reader.look_inside(guest.pid, [item.path for item in inside]) if guest.pid is not None else {}
            for item in inside:
                item.in_namespace = True
                self._take(item, seen[item.path], devices)
        everything = reader.look_all(item.path for item in outside)
        for item in outside:
            self._take(item, everything[item.path], devices)
        for problem in reader.bugs:
            self.ledger.bug("images", problem)
        for point, why in reader.stuck.items():
            self.ledger.unknown("images", f"{point}: {why}")
        if not self.root.privileged:
            self.ledger.unknown("images", f"{_NEEDS_ROOT}: what libvirt remembers of files cannot be read")
        return devices

    def _take(self, item: s.Resource, seen: files.Look, devices: dict[str, int]) -> None:
        item.file = seen.facts
        if seen.facts.error:
            self.ledger.unknown("images", seen.facts.error)
        if seen.facts.kind == "block":
            devices[item.path] = seen.rdev
            item.file.mount = item.path

    def _orphans(self, snapshot: s.Snapshot, mounts: MountTable, exported: list[Export]) -> None:
        if not self.ledger.applies("orphans"):
            return
        owned = orphans.Owned()
        images: list[str] = []
        for guest in snapshot.guests:
            for item in guest.resources:
                owned.add(item.path, item.file)
                if item.role in ("image", "shared", "content", "own") and item.file.kind != "block":
                    images.append(item.file.resolved or item.path)
        pools = [guests.pool_folder(self.root, name) for name in guests.pools(self.root)]
        folders = {*orphans.FOLDERS, *orphans.folders_of(images), *(item.path for item in exported)}
        folders |= {folder for folder in pools if folder and folder not in orphans.TOO_WIDE}
        types = frozenset((*selinux.IMAGE_TYPES[:1], *snapshot.selinux.image_types[:1]))
        search = orphans.Search(self.root, mounts, owned, types, self.options.timeout)
        search.run({*folders, *self.options.orphan_search})
        snapshot.orphans = [search.found[path] for path in sorted(search.found)]
        self.ledger.unknown("orphans", *search.problems)
        for problem in search.bugs:
            self.ledger.bug("orphans", problem)
        if not self.root.privileged:
            self.ledger.unknown("orphans", _NEEDS_ROOT)
        if not self.ledger.whole("guests"):
            self.ledger.unknown("orphans", "the guests were not wholly read")

    def _storage(
        self, snapshot: s.Snapshot, mounts: MountTable, exported: list[Export], devices: dict[str, int]
    ) -> None:
        points = {item.file.mount for guest in snapshot.guests for item in guest.resources}
        points |= {orphan.mount for orphan in snapshot.orphans}
        used = {mount.mount: mount for mount in (mounts.of(point) for point in points if point) if mount}
        for item in exported:
            mount = mounts.of(item.path)
            if mount is not None:
                used[mount.mount] = mount
        found = storage.describe(self.root, [mount for point, mount in used.items() if point in points], exported)
        found += storage.describe(self.root, [mount for point, mount in used.items() if point not in points], exported)
        found += [storage.block_device(self.root, path, number) for path, number in devices.items()]
        snapshot.storage = sorted(found, key=lambda item: item.mount)

    def _questions(self, snapshot: s.Snapshot, oracle: selinux.Oracle | None, table: processes.Table) -> None:
        """What the loaded policy says of the types and labels that were seen."""
        facts = snapshot.selinux
        guest_types = {*facts.guest_types, *selinux.GUEST_TYPES}
        labels = [seen.process.context for seen in table.guests] + [item.context for item in table.daemons]
        labels += [item.context for item in table.containers]
        labels += [base for model in snapshot.libvirt.models or () for base in model.baselabels.values()]
        names = guest_types | {type_ for type_ in (type_of(text) for text in labels if text) if type_}
        if facts.mode == "disabled":
            return
        with self.ledger.area("selinux"):
            facts.types = selinux.types(oracle, names, facts.image_types)
            known = {item.name for item in facts.types if item.known}
            files_ = [item.file.label for guest in snapshot.guests for item in guest.resources]
            facts.access, why = selinux.access(oracle, guest_types & known, selinux.type_labels(files_))
            self.ledger.unknown("selinux", why, oracle.problem if oracle else "")

    def _finish(self, snapshot: s.Snapshot, table: processes.Table) -> None:
        snapshot.processes = [seen.process for seen in table.guests]
        snapshot.containers = table.containers if self.ledger.applies("containers") else []
        snapshot.coverage = self.ledger.result()
