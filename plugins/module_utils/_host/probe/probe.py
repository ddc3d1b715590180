# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe: runs the readers of one host and assembles the snapshot.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field

from ..._core.libvirt.file_labels import ImageTypes
from ..._core.result import Reason
from ..._core.selinux.context import type_of
from ..._core.selinux.shipped_types import SHIPPED_GUEST_TYPES
from ..._core.snapshot import model as s
from ..._core.system.boot_loaders.files import BootFiles
from ..._core.system.change_over import from_apparmor
from ..base.deadline import Job
from ..base.loaded_policy import LoadedPolicy
from ..base.root import Root
from . import boot, daemon, guests, libvirt_reader, processes, selinux, system
from .coverage import CoverageLog
from .file_survey import FileSurvey, not_root
from .guests import GuestList, GuestLister

Ask = t.Callable[[str, t.Collection[str]], t.Iterable[dict[str, t.Any]]]

_NO_LIBVIRT = Reason("no_libvirt", "no libvirt daemon for QEMU is installed")
_OFF = Reason("selinux_off", "SELinux is off on this host")
_NO_XEN = Reason("no_xen", "the host does not run Xen")
_NOT_ASKED_FOR = Reason("not_asked_for", "not asked for")
_NOT_LISTED = Reason("not_asked_for", "the boot entries are not listed from the boot loaders' files yet")


@dataclass(repr=False, eq=False)
class Options:
    """Options of the probe."""

    timeout: float = 30.0
    orphan_search: tuple[str, ...] = ()
    #: Read the guests' files and the storage under them. Without, these areas are unknown.
    files: bool = True
    #: Read the files of the boot loaders, see ``Probe.boot_files``.
    boot: bool = False


@dataclass(repr=False, eq=False)
class Tools:
    """What the probe uses beside the host's files; tests replace it."""

    ask: Ask = libvirt_reader.ask
    run_command: system.RunCommand | None = None
    #: Raise unexpected errors.
    strict: bool = False
    now: t.Callable[[], float] = time.time


@dataclass(repr=False, eq=False)
class Probe:
    """One probe of one host; ``take`` is called once."""

    root: Root
    options: Options = field(default_factory=Options)
    tools: Tools = field(default_factory=Tools)
    #: The snapshot lacks the boot entries that are in these texts, see ``_core.facts.boot``. None: none were read.
    boot_files: BootFiles | None = field(default=None, init=False)

    def take(self) -> s.Snapshot:
        """Read the host. Never raises for what a host may hold: coverage says what could not be read."""
        self.coverage = CoverageLog(self.tools.strict)
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
        if self.options.boot:
            self._boot()
        else:
            self.coverage.unknown("boot", _NOT_ASKED_FOR)
        complete = self._guests(snapshot, table, job)
        snapshot.processes = [seen.process for seen in table.guests]
        if not self.options.files:
            for area in ("images", "storage", "orphans"):
                self.coverage.unknown(area, _NOT_ASKED_FOR)
        elif self.coverage.applies("storage") or self.coverage.applies("orphans"):
            search = tuple(self.options.orphan_search)
            FileSurvey(
                self.root, self.coverage, snapshot, self.options.timeout, search, complete, self.listing.read
            ).read()
        self._questions(snapshot, security.policy, table)
        self._finish(snapshot, table)
        return snapshot

    def _selinux(self) -> selinux.SELinuxReading:
        reading = selinux.SELinuxReading(s.SELinux(mode="disabled"))
        with self.coverage.area("selinux"):
            reading = selinux.read(self.root)
            self.coverage.unknown("selinux", *reading.missing)
        facts = reading.facts
        if facts.mode == "disabled":
            # Where SELinux was configured, AppArmor in its place is a fault, not a choice.
            chosen = "apparmor" in facts.lsms and not selinux.was_chosen(self.root, facts)
            release = system.os_release(self.root)
            apparmor = from_apparmor(release.get("ID"), release.get("ID_LIKE", "").split())
            for area in ("selinux", "images") if chosen else ():
                self.coverage.not_applicable(area, apparmor)
            for area in ("containers", "orphans"):
                self.coverage.not_applicable(area, apparmor if chosen else _OFF)
        return reading

    def _processes(self, facts: s.SELinux) -> processes.ProcessTable:
        table = processes.ProcessTable()
        with self.coverage.area("processes", "containers"):
            self.container_types = facts.container_types
            table = processes.read(self.root, {*facts.guest_types, *SHIPPED_GUEST_TYPES}, facts.container_types)
            for area in ("processes", "containers"):
                self.coverage.unknown(area, table.problem)
                if table.hidden:
                    why = f"{table.hidden} processes could not be looked at"
                    self.coverage.unknown(area, Reason("processes_hidden", why))
            if not self.root.privileged:
                self.coverage.unknown("processes", not_root("programs of others are known by their names only"))
        return table

    def _xen(self) -> s.Xen | None:
        if not system.is_xen_host(self.root):
            self.coverage.not_applicable("xen", _NO_XEN)
            return None
        xen = s.Xen()
        with self.coverage.area("xen"):
            run_command = self.tools.run_command
            if run_command is None:
                self.coverage.unknown("xen", Reason("xl_not_asked", "xl was not asked"))
                return xen
            job = Job(lambda: system.flask(run_command), self.options.timeout)
            for mode, problem in job.items():
                xen.flask = mode
                self.coverage.unknown("xen", Reason("flask_unread", problem) if problem else None)
            self.coverage.unknown("xen", job.problem)
        return xen

    def _libvirt(self, table: processes.ProcessTable) -> tuple[s.Libvirt, Job | None]:
        """libvirt by the host's files, and a connection in progress."""
        self.status = guests.StatusFiles()
        libvirt = s.Libvirt()
        job = None
        with self.coverage.area("libvirt", "guests"):
            xen = system.is_xen_host(self.root)
            libvirt = daemon.find(self.root, table.daemons, xen, self.container_types)
            if not libvirt.installed:
                for area in ("libvirt", "guests", "images", "storage"):
                    self.coverage.not_applicable(area, _NO_LIBVIRT)
                return libvirt, None
            self.status = guests.status_names(self.root)
            why = daemon.may_connect(self.root, libvirt)
            if why:
                self.coverage.unknown("libvirt", why)
                self.coverage.unknown("guests", why)
            else:
                uri = libvirt_reader.XEN_URI if xen else libvirt_reader.QEMU_URI
                names = frozenset(self.status.names)
                job = Job(lambda: self.tools.ask(uri, names), self.options.timeout, again=libvirt_reader.identity)
            libvirt.conf, problem = daemon.configuration(self.root, libvirt.daemon, self.options.timeout)
            self.coverage.unknown("libvirt", problem)
            user = daemon.qemu_user(self.root, libvirt.conf, libvirt.daemon)
            libvirt.qemu_uid, libvirt.qemu_gids = user
            libvirt.guard = daemon.guard(self.root)
        return libvirt, job

    def _boot(self) -> None:
        with self.coverage.area("boot"):
            self.boot_files = boot.read_files(self.root)
            self.coverage.unknown("boot", _NOT_LISTED)

    def _guests(self, snapshot: s.Snapshot, table: processes.ProcessTable, job: Job | None) -> bool:
        """Read the guests; return whether all of them and all their files are known."""
        self.listing = listing = GuestList(complete=False)
        if not self.coverage.applies("guests"):
            return True
        with self.coverage.area("guests"):
            lister = GuestLister(self.root, self.coverage, snapshot.libvirt, self.status)
            alive = {seen.process.pid for seen in table.guests}
            self.listing = listing = lister.take(job, alive, ImageTypes.of(snapshot.selinux.image_types))
            if snapshot.libvirt.connected and snapshot.libvirt.daemon is not None:
                daemon.complete(self.root, snapshot.libvirt.daemon, table.booted_at)
            contained = snapshot.libvirt.daemon is not None and snapshot.libvirt.daemon.own_files is not False
            if contained and (job is None or job.problem):
                listing.complete = False
                why = "libvirt's daemon keeps its guests in files of its own container"
                self.coverage.unknown("guests", Reason("guests_in_container", why))
        snapshot.guests = listing.guests
        processes.match_guests(table, {item.pid: item.uuid for item in snapshot.guests if item.pid is not None})
        processes.drop_ended(self.root, table)
        for item in snapshot.guests:
            if item.pid is not None:
                item.context = table.context_of(item.pid) or selinux.current(self.root, item.pid)
        return listing.complete

    def _questions(self, snapshot: s.Snapshot, policy: LoadedPolicy | None, table: processes.ProcessTable) -> None:
        """Ask the loaded policy about the types and labels in use."""
        facts = snapshot.selinux
        guest_types = selinux.guest_types(policy, facts)
        labels = [seen.process.context for seen in table.guests] + [item.context for item in table.daemons]
        labels += [item.context for item in table.containers]
        labels += [snapshot.libvirt.daemon.context] if snapshot.libvirt.daemon else []
        labels += [base for model in snapshot.libvirt.models or () for base in model.baselabels.values()]
        names = guest_types | {type_ for type_ in (type_of(text) for text in labels if text) if type_}
        if facts.mode == "disabled":
            return
        with self.coverage.area("selinux"):
            facts.types = selinux.types(policy, names, facts)
            self._confirm(snapshot, policy)
            known = {item.name for item in facts.types if item.known}
            files_ = [item.file.label for guest in snapshot.guests for item in guest.resources]
            facts.access, why = selinux.access(policy, guest_types & known, selinux.type_labels(files_))
            self.coverage.unknown("selinux", why, policy.problem if policy else None)

    def _confirm(self, snapshot: s.Snapshot, policy: LoadedPolicy | None) -> None:
        """Which types the policy has for the daemon, and which permissive ones the distribution ships."""
        missing: list[Reason] = []
        selinux.note_shipped(self.root, snapshot.selinux, missing)
        self.coverage.unknown("selinux", *missing)
        running = snapshot.libvirt.daemon
        if running is not None and policy is not None:
            given = daemon.given_label(self.root, policy, running.name)
            running.types = selinux.daemon_types(policy, given, snapshot.selinux)

    def _finish(self, snapshot: s.Snapshot, table: processes.ProcessTable) -> None:
        snapshot.containers = table.containers if self.coverage.applies("containers") else []
        snapshot.coverage = self.coverage.result()
