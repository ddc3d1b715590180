# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labelled parties of a host (guests, unmanaged QEMUs, images, containers) for the fleet comparison.

Four kinds have a level of their own:

- guests that run;
- QEMU processes that libvirt does not know, such as those of a user's own daemon: it draws from the same categories
  without knowing what the system's daemon gave out;
- files at rest that carry a guest's label, of a guest that is off or of none: whoever has it reaches them;
- containers: their engine draws from the same categories too.

Left out, since rules about guests tell of them: who has fewer than two categories, or a type that none constrains.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ...errors import LabelError
from ...facts import images, outsiders
from ...facts.guests import draws_categories, qemu_guests
from ...facts.orphans import by_reporter
from ...facts.process_types import container_file_type, image_type, runs_open
from ...facts.storage import FileName, file_name, file_path
from ...facts.subjects import process_name
from ...libvirt.file_labels import IMAGE, confinement
from ...result import Reason
from ...selinux.context import Context, Level, parse_context, read_context
from ...selinux.dominance import FEW, few
from ...snapshot.model import NOT_APPLICABLE, UNKNOWN, Guest, Resource, Snapshot

GUEST = "guest"
SESSION = "process"
FILE = "file"
CONTAINER = "container"

#: So many labels of a host with more than FEW categories are compared. Nobody needs even one; each may contain all
#: others, so a host that names thousands would cost the whole fleet its analysis.
MAX_WIDE = 32
_TOO_WIDE = Reason(
    "too_many_wide_labels",
    f"more than {MAX_WIDE} labels here have more than {FEW} categories, so not all could be compared",
)
#: Kinds of files that a running guest does not use now: earlier runs may have left labels on them.
_LEFT_KINDS = frozenset(("save", "memory_snapshot", "snapshot", "defined"))


@dataclass(frozen=True, eq=False)
class Placed:
    """A labelled party of a host, with what is compared."""

    uuid: str
    name: str
    host: str
    level: Level
    #: The level in canonical form: the same text wherever the level is the same.
    key: str
    #: Mount point and path of each of its files; None: not known, so anywhere on the host.
    files: tuple[tuple[str, str], ...] | None
    #: Parties with the same text are one guest. Its uuid, unless duplicate_uuids.py shows that there are several.
    who: str
    #: The level's categories, as dominance.py lists them.
    bits: tuple[int, ...] = ()
    kind: str = GUEST
    #: Label of its process, as read; empty for what is no process.
    context: str = ""
    #: Label of one of its files, as the loaded policy may be asked about it.
    file_label: str = ""
    #: False: not a process, but what a definition gives to the next start.
    active: bool = True
    #: False: paused, as on one side of a migration.
    running: bool = True
    #: libvirt drew its categories.
    drawn: bool = False
    #: Its files.
    names: tuple[FileName, ...] = ()
    #: Its own disks, as a host with the same storage or device would name them.
    disks: frozenset[str] = frozenset()

    def told(self) -> dict[str, t.Any]:
        """It in evidence."""
        told: dict[str, t.Any] = {"guest": self.name, "host": self.host, "level": self.key, "uuid": self.uuid}
        if self.kind == FILE:
            told["file"] = self.files[0][1] if self.files else ""
        elif self.kind != GUEST:
            told["kind"] = self.kind
        if not self.active and self.kind == GUEST:
            told["state"] = "defined"
        return told


@dataclass(frozen=True)
class Placement:
    """All of one host."""

    guests: tuple[Placed, ...] = ()
    #: Static labels of guests here: those that run with one (the same objects as above), and those of definitions.
    statics: tuple[Placed, ...] = ()
    #: Files that nobody uses: of guests that are off, and files without an owner that a running guest reaches.
    at_rest: tuple[Placed, ...] = ()
    containers: tuple[Placed, ...] = ()
    #: Why guests here could not be compared; empty when all were.
    doubts: tuple[Reason, ...] = ()


def place(host: str, snapshot: Snapshot) -> Placement:
    """The host's part. ``host`` is its name in the inventory."""
    selinux = snapshot.coverage["selinux"].status
    if snapshot.selinux.mode == "disabled" or selinux == NOT_APPLICABLE:
        return Placement()
    reader = _Reader(host, snapshot)
    for guest in qemu_guests(snapshot):
        if guest.active:
            reader.running(guest)
        else:
            reader.off(guest)
    if snapshot.coverage["guests"].status != UNKNOWN:
        reader.sessions()
    reader.containers()
    reader.orphans()
    return reader.placement()


@dataclass
class _Reader:
    host: str
    snapshot: Snapshot
    guests: list[Placed] = field(default_factory=list)
    statics: list[Placed] = field(default_factory=list)
    at_rest: list[Placed] = field(default_factory=list)
    found: list[Placed] = field(default_factory=list)
    doubts: list[Reason] = field(default_factory=list)
    #: Labels of containers in which a QEMU runs that is compared itself.
    engines: set[Context] = field(default_factory=set)
    #: Category sets of the wide labels that are compared.
    wide: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        selinux = self.snapshot.selinux
        self._unconstrained = {entry.name for entry in selinux.types if entry.constrained is False}
        self._image_type = image_type(self.snapshot)
        self._container_file = container_file_type(self.snapshot)
        self._devices = {
            storage.mount: storage.identity
            for storage in self.snapshot.storage
            if storage.type == images.BLOCK and storage.identity
        }
        self._shared = {storage.mount: storage for storage in self.snapshot.storage if not images.not_real(storage)}

        running = [item for guest in qemu_guests(self.snapshot) if guest.active for item in guest.resources]
        self._in_use_here = {file_path(item) for item in running} | {
            (item.file.device, item.file.inode) for item in running if item.file.inode is not None
        }

    def placement(self) -> Placement:
        """What was read."""
        return Placement(
            tuple(self.guests),
            tuple(self.statics),
            tuple(self.at_rest),
            tuple(self.found),
            tuple(self.doubts),
        )

    def running(self, guest: Guest) -> None:
        """A guest with a process, and what its definition makes of its next start."""
        try:
            context = parse_context(guest.context or "")
        except LabelError as error:
            why = str(error) if guest.context else "its process's label was not read"
            text = f"guest {guest.name[:80]!r} could not be compared: {why}"
            self.doubts.append(Reason("label_unreadable", text))
            self._defined(guest, None)
            return
        for item in guest.resources:
            level = read_context(item.file.label) if item.kind in _LEFT_KINDS else None
            if level is not None and level.high != context.high:
                self._file(guest, item)
        key = None
        if self._sound(context):
            key = str(context.high)
            seclabel = confinement(guest.live)
            drawn = seclabel.type in (None, "dynamic") if seclabel is not None else draws_categories(guest)
            placed = Placed(
                guest.uuid,
                guest.name,
                self.host,
                context.high,
                key,
                _files(guest),
                guest.uuid,
                few(context.categories),
                context=str(context),
                file_label=_file_label(guest, key, self._image_type),
                running=guest.state == "running",
                drawn=drawn,
                names=tuple(name for item in guest.resources if self._seen_elsewhere(item) for name in _names(item)),
                disks=frozenset(self._disks(guest)),
            )
            self.guests.append(placed)
            if seclabel is not None and seclabel.type == "static":
                self.statics.append(placed)
        self._defined(guest, key)

    def off(self, guest: Guest) -> None:
        """A guest without a process: what its definition says, and what its files carry."""
        self._defined(guest, None)
        for item in guest.resources:
            self._file(guest, item)

    def _file(self, guest: Guest, item: Resource) -> None:
        """A file that its guest does not use now."""
        context, storage = read_context(item.file.label), self._shared.get(item.file.mount or "")
        if context is None or storage is None or item.file.kind in images.SPECIAL:
            return
        path = file_path(item)
        shared = images.shared_with_hosts(storage, path)
        if self._sound(context) and (guest.active or shared or not self._used_here(item)):
            movable = shared and not guest.active  # its guest may run on another host, and have the label by right
            self._rests(
                guest.uuid if movable else "",
                guest.name,
                context,
                (str(item.file.mount), path),
                guest.uuid,
                names=_names(item) if movable else (),
            )

    def orphans(self) -> None:
        """Local files without an owner whose categories a running guest has."""
        for orphan in by_reporter(self.snapshot).reached:
            context = parse_context(orphan.label)
            self._rests("", "no guest", context, (orphan.mount or "", orphan.path), f"file {orphan.path}")

    def _rests(
        self,
        uuid: str,
        name: str,
        context: Context,
        place_: tuple[str, str],
        who: str,
        names: tuple[tuple[str, int], ...] = (),
    ) -> None:
        self.at_rest.append(
            Placed(
                uuid,
                name,
                self.host,
                context.high,
                str(context.high),
                (place_,),
                who,
                few(context.categories),
                kind=FILE,
                file_label=str(context),
                active=False,
                names=names,
            )
        )

    def _used_here(self, item: Resource) -> bool:
        """A running guest of this host uses the file."""
        key = (item.file.device, item.file.inode) if item.file.inode is not None else file_path(item)
        return key in self._in_use_here

    def sessions(self) -> None:
        """QEMU processes that libvirt does not know; a container's stands for its container, too."""
        for process, kind in outsiders.outside_qemus(self.snapshot):
            context = read_context(process.context)
            if context is None or not self._sound(context):
                continue
            key = str(context.high)
            contained = kind == outsiders.CONTAINER
            # QEMUs of one container have one label by design; another container has another control group.
            place = f"container {process.cgroup}" if contained and process.cgroup else f"process {process.pid}"
            if contained:
                self.engines.add(context)
            self.guests.append(
                Placed(
                    "",
                    process_name(process),
                    self.host,
                    context.high,
                    key,
                    None,
                    f"{place} on {self.host}",
                    few(context.categories),
                    kind=SESSION,
                    context=str(context),
                    file_label=f"system_u:object_r:{self._container_file if contained else self._image_type}:{key}",
                )
            )

    def containers(self) -> None:
        """Labels of containers, each once."""
        for container in self.snapshot.containers:
            context = read_context(container.context)
            if context is None or not self._sound(context) or context in self.engines:
                continue
            key = str(context.high)
            self.found.append(
                Placed(
                    "",
                    str(context),
                    self.host,
                    context.high,
                    key,
                    None,
                    str(context),
                    few(context.categories),
                    kind=CONTAINER,
                    context=str(context),
                    file_label=f"system_u:object_r:{self._container_file}:{key}",
                )
            )

    def _sound(self, context: Context) -> bool:
        """Categories hold it, and it has enough of them, and not too many, to be compared with others."""
        weight, mask = len(context.categories), context.categories.mask
        if weight < 2 or context.type in self._unconstrained:
            return False
        if weight <= FEW or mask in self.wide:
            return True
        if len(self.wide) >= MAX_WIDE:
            if _TOO_WIDE not in self.doubts:
                self.doubts.append(_TOO_WIDE)
            return False
        self.wide.add(mask)
        return True

    def _defined(self, guest: Guest, running: str | None) -> None:
        """The static label of the guest's definition, when it does not run with it already."""
        seclabel = confinement(guest.persistent_labels) if guest.persistent else None
        context = read_context(seclabel.label) if seclabel is not None and seclabel.type == "static" else None
        if context is None or not self._sound(context) or runs_open(self.snapshot, context.type):
            return
        key = str(context.high)
        if key != running:
            level, bits = context.high, few(context.categories)
            self.statics.append(
                Placed(guest.uuid, guest.name, self.host, level, key, _files(guest), guest.uuid, bits, active=False)
            )

    def _disks(self, guest: Guest) -> t.Iterator[str]:
        """The guest's own disks. One that cannot be named on other hosts is named by its host too."""
        if guest.error:
            yield f"unknown on {self.host}"
        for item in guest.resources:
            if item.kind not in images.OWN_KINDS:
                continue
            if item.in_namespace or item.file.kind in ("block", "char"):
                yield self._devices.get(item.path) or f"{item.path} on {self.host}"
            elif item.file.inode is not None:
                yield f"{file_path(item).rpartition('/')[2]} {item.file.inode}"
            else:
                yield file_path(item) if item.file.mount is not None else f"{item.path} on {self.host}"

    def _seen_elsewhere(self, item: Resource) -> bool:
        storage = self._shared.get(item.file.mount or "")
        return storage is not None and not item.in_namespace and images.shared_with_hosts(storage, file_path(item))


def _names(item: Resource) -> tuple[FileName, ...]:
    name = file_name(item)
    return () if name is None else (name,)


def _files(guest: Guest) -> tuple[tuple[str, str], ...] | None:
    """Where the guest's own files lie; None when that is not known of one of them."""
    own = [item for item in guest.resources if item.role == IMAGE and item.file.kind not in ("block", "char")]
    # libvirt may not have made a directory or socket for it; a missing disk is another matter.
    own = [item for item in own if item.file.exists is not False or item.kind in images.OWN_KINDS]
    if guest.error or not guest.resources or any(item.file.mount is None for item in own if not item.in_namespace):
        return None
    return tuple((str(item.file.mount), file_path(item)) for item in own if item.file.mount is not None)


def _file_label(guest: Guest, key: str, image_type: str) -> str:
    """The label of one of the guest's own files at its level; as libvirt would give it, where none was read."""
    for item in guest.resources:
        context = read_context(item.file.label) if item.role == IMAGE else None
        if context is not None and str(context.high) == key:
            return str(context)
    return f"system_u:object_r:{image_type}:{key}"
