# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Survey of files: files of guests as they are on the host, the storage below them, and files without an owner.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..._core.libvirt import file_labels
from ..._core.result import Reason
from ..._core.snapshot.model import FileFacts, Guest, Resource, Snapshot
from ..._core.system.mounts import Export
from ..base.paths import MountTable
from ..base.process_view import ProcessView
from ..base.root import Root
from . import guest_files, guests, orphans, selinux, storage
from .coverage import CoverageLog
from .guests import ReadGuest

_NOT_ROOT = Reason("not_root", "the probe did not run as root")
#: More mounts of network file systems are listed only where they hold guests' files.
_MAX_REMOTE = 1000
_LABELLED = frozenset(("image", "shared", "content", "own"))


def not_root(what: str) -> Reason:
    """What could not be read, for the probe is not root."""
    return Reason(_NOT_ROOT.code, f"{_NOT_ROOT}: {what}")


@dataclass(repr=False, eq=False)
class FileSurvey:
    """Fills in the snapshot's files, storage and orphans; the guests and their paths are there already."""

    root: Root
    ledger: CoverageLog
    snapshot: Snapshot
    timeout: float
    orphan_search: tuple[str, ...]
    #: All files of guests are known.
    complete: bool
    #: The guests with their definitions.
    guests: list[ReadGuest] = field(default_factory=list)
    mounts: MountTable = field(default_factory=lambda: MountTable(()))
    exported: list[Export] = field(default_factory=list)
    #: Disks that are block devices: path -> device number.
    devices: dict[str, int] = field(default_factory=dict)
    #: Storage that did not answer: mount point -> why.
    stuck: dict[str, Reason] = field(default_factory=dict)

    def read(self) -> None:
        """Read all areas. Errors go into the coverage."""
        with self.ledger.area("storage"):
            self.mounts, problem = storage.mount_table(self.root)
            self.exported, more = storage.exports(self.root)
            self.ledger.unknown("storage", problem, more)
        with self.ledger.area("images"):
            self._files()
        if self.ledger.applies("orphans"):
            with self.ledger.area("orphans"):
                self._orphans()
        with self.ledger.area("storage"):
            self._storage()

    def _files(self) -> None:
        if self.root.privileged:
            problems = orphans.add_states(self.root, self.snapshot.guests)
            self.ledger.unknown("images", *problems)
            self._may_own(problems)
        reader = guest_files.FileReader(self.root, self.mounts, self.timeout)
        self._look(reader, [(guest, item) for guest in self.snapshot.guests for item in guest.resources])
        self._follow(reader)
        for problem in reader.bugs:
            self.ledger.bug("images", problem)
        self.stuck = reader.stuck
        self.ledger.unknown("images", *(why.about(point) for point, why in reader.stuck.items()))
        if not self.root.privileged:
            self.ledger.unknown("images", not_root("what libvirt remembers of files cannot be read"))
        if not self.complete:
            why = "files of guests that could not be read wholly are not known"
            self.ledger.unknown("images", Reason("guest_unread", why))

    def _may_own(self, problems: t.Iterable[Reason]) -> None:
        """What was not read may name files that look ownerless."""
        self.ledger.unknown("orphans", *problems)

    def _follow(self, reader: guest_files.FileReader) -> None:
        """Follow chains into the headers of images, as far as the XML leaves that to libvirt."""
        every = orphans.open_chains(self.guests)
        chains = [chain for chain in every if chain.goes_on() and not self._contained(chain.guest.guest)]
        types = file_labels.ImageTypes.of(self.snapshot.selinux.image_types)
        while chains and self.root.privileged:
            wanted = {chain.last.path or "": chain.last.format or "" for chain in chains}
            headers, problems = reader.read_headers(wanted)
            self.ledger.unknown("images", *problems)
            self._may_own(problems)
            longer = [chain for chain in chains if chain.last.path in headers]
            chains = [chain for chain in longer if chain.extend(headers[chain.last.path or ""])]
            for chain in longer:
                self._look(reader, [(chain.guest.guest, item) for item in guests.add_resources(chain.guest, types)])
        problems = [problem for chain in every for problem in chain.problems]
        self.ledger.unknown("images", *problems)
        self._may_own(problems)

    def _contained(self, guest: Guest) -> bool:
        """Whether the guest's QEMU runs in a container: its paths are not the host's, so no header is read by them."""
        if guest.pid is None or not ProcessView(self.root, guest.pid).has_own_root(self.mounts):
            return False
        why = f"guest {guest.name[:80]!r}: backing chains in a container were not followed"
        self.ledger.unknown("images", Reason("chain_in_container", why))
        return True

    def _look(self, reader: guest_files.FileReader, wanted: list[tuple[Guest, Resource]]) -> None:
        """Read the facts about these files, devices as their guest sees them."""
        by_guest: dict[str, list[Resource]] = {}
        for guest, item in wanted:
            by_guest.setdefault(guest.uuid, []).append(item)
        outside: list[tuple[Guest, list[Resource]]] = []
        contained: dict[str, dict[str, guest_files.PathFacts]] = {}
        for guest in self.snapshot.guests:
            items = by_guest.get(guest.uuid, [])
            inside = [item for item in items if guest.pid is not None and _in_own_dev(item)]
            others = [item for item in items if item not in inside] if inside else items
            outside.append((guest, others))
            seen = reader.look_inside(guest.pid, [item.path for item in inside]) if guest.pid is not None else {}
            for item in inside:
                item.in_namespace = True
                self._keep(item, seen[item.path])
            if others and guest.pid is not None and ProcessView(self.root, guest.pid).has_own_root(self.mounts):
                contained[guest.uuid] = reader.look_contained(guest.pid, [item.path for item in others])
        looks = reader.look_all(item.path for guest, items in outside if guest.uuid not in contained for item in items)
        for guest, items in outside:
            facts = contained.get(guest.uuid, looks)
            devices = [facts[item.path].device for item in items if item.kind != file_labels.TAP]
            own = self._own_devices(reader, guest, devices)
            for item in items:
                self._keep_outside(item, facts[item.path], own)
        for guest, items in outside if contained else ():
            missing = [item.path for item in items if item.file.exists and item.file.mount is None]
            for path in missing if guest.uuid in contained else ():
                why = f"{path}: it lies in a container, on storage that the host lacks"
                self.ledger.unknown("storage", Reason("storage_in_container", why))

    def _own_devices(
        self, reader: guest_files.FileReader, guest: Guest, paths: list[str]
    ) -> dict[str, guest_files.PathFacts]:
        """Devices that links outside /dev lead to, as a running guest sees them: in its own /dev."""
        wanted = [path for path in paths if path and guest.active]
        if not wanted:
            return {}
        if guest.pid is not None:
            return reader.look_inside(guest.pid, wanted)
        why = "the pid of the guest's QEMU is not known, so neither is its own /dev"
        return {path: guest_files.PathFacts(FileFacts(error=f"{path}: {why}")) for path in wanted}

    def _keep_outside(
        self, item: Resource, look: guest_files.PathFacts, own: t.Mapping[str, guest_files.PathFacts]
    ) -> None:
        inside = None if item.kind == file_labels.TAP else own.get(look.device)
        if inside is None:
            self._keep(item, look)
            return
        real = inside.facts.resolved or look.device
        item.in_namespace = True
        self._keep(item, inside._replace(facts=replace(inside.facts, resolved=real if real != item.path else None)))

    def _keep(self, item: Resource, seen: guest_files.PathFacts) -> None:
        item.file = seen.facts
        if seen.facts.error:
            self.ledger.unknown("images", Reason("file_unread", seen.facts.error))
        if seen.facts.kind == "block":
            self.devices[item.path] = seen.rdev
            item.file.mount = item.path

    def _orphans(self) -> None:
        if not self.complete:  # a guest that was not read may own any of them
            why = "guests could not be read wholly, so they may own files that look ownerless"
            self.ledger.unknown("orphans", Reason("guest_unread", why))
            return
        if not self.root.privileged:
            self.ledger.unknown("orphans", _NOT_ROOT)
            return
        owned = orphans.OwnedFiles()
        images: list[str] = []
        for guest in self.snapshot.guests:
            for item in guest.resources:
                owned.add(item.path, item.file)
                if item.role in _LABELLED and item.file.kind != "block":
                    images.append(item.file.resolved or item.path)
        types = frozenset((selinux.image_type(self.snapshot.selinux),))
        search = orphans.OrphanSearch(self.root, self.mounts, owned, types, self.timeout, frozenset(self.stuck))
        search.run({*orphans.FOLDERS, *self._folders(images), *self.orphan_search})
        ownerless = [search.found[path] for path in sorted(search.found)]
        known = self.snapshot.guests
        problems = orphans.give_to_openers(self.root, known, self.snapshot.processes, ownerless)
        reader = guest_files.FileReader(self.root, self.mounts, self.timeout)
        orphans.give_to_chains(reader.read_headers, known, ownerless)
        self.snapshot.orphans = ownerless
        self.ledger.unknown("orphans", *problems, *search.problems)
        for problem in search.bugs:
            self.ledger.bug("orphans", problem)

    def _folders(self, images: list[str]) -> list[str]:
        """Folders that hold images: of guests here, of storage pools, and what other hosts' guests may use."""
        pools = [storage.pool_folder(self.root, name) for name in storage.pools(self.root)]
        named = [folder for folder in pools if folder] + [item.path for item in self.exported]
        return [*orphans.folders_of(images), *(folder for folder in named if orphans.is_narrow(folder))]

    def _storage(self) -> None:
        points = {item.file.mount for guest in self.snapshot.guests for item in guest.resources}
        points |= {orphan.mount for orphan in self.snapshot.orphans}
        used = {point: self.mounts.of(point) for point in points if point and point not in self.devices}
        for item in self.exported:
            mount = self.mounts.of(item.path)
            if mount is not None:
                used[mount.mount] = mount
        # Guests of this host, and guests that migrate here, can reach them even without a file there today.
        for mount in self.mounts.remote()[:_MAX_REMOTE]:
            used.setdefault(mount.mount, mount)
        known = [mount for mount in used.values() if mount is not None]
        entries = storage.describe(self.root, self.mounts, known, self.exported)
        entries += [storage.block_device(self.root, path, number) for path, number in self.devices.items()]
        self.snapshot.storage = sorted(entries, key=lambda item: item.mount)


def _in_own_dev(item: Resource) -> bool:
    """Whether a running guest's QEMU has the node in its own /dev; a tap is handed to it by libvirt."""
    return item.path.startswith("/dev/") and item.kind != file_labels.TAP
