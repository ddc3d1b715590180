# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labelled parties of a host (guests, unmanaged QEMUs, images, containers) for the fleet comparison.

Four kinds have a level of their own:

- guests that run;
- QEMU processes that libvirt does not know, such as those of a user's own daemon: it draws from the same categories
  without knowing which the system's daemon has assigned;
- files at rest with a guest's label, of a guest that is off or of none: every party with that label reaches them;
- containers: their engine draws from the same categories too.

Left out, because rules about guests report them: parties with fewer than two categories or an unconstrained type.

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
from ...snapshot.model import NOT_APPLICABLE, UNKNOWN, Guest, Resource, SecLabel, Snapshot

GUEST = "guest"
SESSION = "process"
FILE = "file"
CONTAINER = "container"

#: Compared labels of a host with more than FEW categories. No guest needs one; each may contain all others, so a host
#: with thousands would make the analysis of the whole fleet too slow.
MAX_WIDE = 32
_TOO_WIDE = Reason(
    "too_many_wide_labels",
    f"more than {MAX_WIDE} labels here have more than {FEW} categories, so not all could be compared",
)
#: Kinds of files that a running guest does not use now: earlier runs may have left labels on them.
_LEFT_KINDS = frozenset(("save", "memory_snapshot", "snapshot", "defined"))


@dataclass(frozen=True, eq=False)
class Party:
    """A labelled party of a host, as it is compared."""

    uuid: str
    name: str
    host: str
    level: Level
    #: The level in canonical form: the same text wherever the level is the same.
    key: str
    #: Mount point and path of each of its files; None: not known, so anywhere on the host.
    files: tuple[tuple[str, str], ...] | None
    #: Identity: equal texts are one guest. Its uuid, unless duplicate_uuids.py shows that there are several.
    identity: str
    #: The level's categories, as dominance.py lists them.
    bits: tuple[int, ...] = ()
    kind: str = GUEST
    #: Label of its process, as read; empty for a party that is no process.
    context: str = ""
    #: Label of one of its files, as the loaded policy may be asked about it.
    file_label: str = ""
    #: False: not a process, but the label of the next start by a definition.
    active: bool = True
    #: False: paused, as on one side of a migration.
    running: bool = True
    #: libvirt drew its categories.
    drawn: bool = False
    #: Its files.
    names: tuple[FileName, ...] = ()
    #: Its own disks, as a host with the same storage or device would name them.
    disks: frozenset[str] = frozenset()

    def evidence(self) -> dict[str, t.Any]:
        """The party as an entry of a finding's evidence."""
        entry: dict[str, t.Any] = {"guest": self.name, "host": self.host, "level": self.key, "uuid": self.uuid}
        if self.kind == FILE:
            entry["file"] = self.files[0][1] if self.files else ""
        elif self.kind != GUEST:
            entry["kind"] = self.kind
        if not self.active and self.kind == GUEST:
            entry["state"] = "defined"
        return entry


@dataclass(frozen=True)
class Parties:
    """All labelled parties of one host."""

    guests: tuple[Party, ...] = ()
    #: Guests with a static label: running with it (the same objects as above), or by their definition.
    statics: tuple[Party, ...] = ()
    #: Files not in use: of guests that are off, and files without an owner that a running guest reaches.
    at_rest: tuple[Party, ...] = ()
    containers: tuple[Party, ...] = ()
    #: Why guests here could not be compared; empty when all were.
    doubts: tuple[Reason, ...] = ()


def labelled_parties(host: str, snapshot: Snapshot) -> Parties:
    """The host's part. ``host`` is its name in the inventory."""
    selinux = snapshot.coverage["selinux"].status
    if snapshot.selinux.mode == "disabled" or selinux == NOT_APPLICABLE:
        return Parties()
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
    return reader.parties()


@dataclass
class _Reader:
    host: str
    snapshot: Snapshot
    guests: list[Party] = field(default_factory=list)
    statics: list[Party] = field(default_factory=list)
    at_rest: list[Party] = field(default_factory=list)
    container_parties: list[Party] = field(default_factory=list)
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

    def parties(self) -> Parties:
        """All parties that were added."""
        return Parties(
            tuple(self.guests),
            tuple(self.statics),
            tuple(self.at_rest),
            tuple(self.container_parties),
            tuple(self.doubts),
        )

    def running(self, guest: Guest) -> None:
        """Add a running guest, and the label of its next start by its definition."""
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
        if self._is_comparable(context):
            key = str(context.high)
            seclabel = confinement(guest.live)
            drawn = seclabel.type in (None, "dynamic") if seclabel is not None else draws_categories(guest)
            placed = Party(
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
                names=tuple(name for item in guest.resources if self._is_shared(item) for name in _names(item)),
                disks=frozenset(self._disks(guest)),
            )
            self.guests.append(placed)
            if seclabel is not None and seclabel.type == "static":
                self.statics.append(placed)
        self._defined(guest, key)

    def off(self, guest: Guest) -> None:
        """Add a guest that is off: its defined label and the labels of its files."""
        self._defined(guest, None)
        for item in guest.resources:
            self._file(guest, item)

    def _file(self, guest: Guest, item: Resource) -> None:
        """Add a file that its guest does not use now."""
        context, storage = read_context(item.file.label), self._shared.get(item.file.mount or "")
        if context is None or storage is None or item.file.kind in images.SPECIAL:
            return
        path = file_path(item)
        shared = images.shared_with_hosts(storage, path)
        if self._is_comparable(context) and (guest.active or shared or not self._used_here(item)):
            movable = shared and not guest.active  # its guest may run on another host with this label
            self._add_at_rest(
                guest.uuid if movable else "",
                guest.name,
                context,
                (str(item.file.mount), path),
                guest.uuid,
                names=_names(item) if movable else (),
            )

    def orphans(self) -> None:
        """Add local files without an owner whose categories a running guest has."""
        for orphan in by_reporter(self.snapshot).reached:
            context = parse_context(orphan.label)
            self._add_at_rest("", "no guest", context, (orphan.mount or "", orphan.path), f"file {orphan.path}")

    def _add_at_rest(
        self,
        uuid: str,
        name: str,
        context: Context,
        file: tuple[str, str],
        identity: str,
        names: tuple[tuple[str, int], ...] = (),
    ) -> None:
        self.at_rest.append(
            Party(
                uuid,
                name,
                self.host,
                context.high,
                str(context.high),
                (file,),
                identity,
                few(context.categories),
                kind=FILE,
                file_label=str(context),
                active=False,
                names=names,
            )
        )

    def _used_here(self, item: Resource) -> bool:
        """Whether a running guest of this host uses the file."""
        key = (item.file.device, item.file.inode) if item.file.inode is not None else file_path(item)
        return key in self._in_use_here

    def sessions(self) -> None:
        """Add QEMU processes that libvirt does not know; that of a container represents its container too."""
        for process, kind in outsiders.outside_qemus(self.snapshot):
            context = read_context(process.context)
            if context is None or not self._is_comparable(context):
                continue
            key = str(context.high)
            contained = kind == outsiders.CONTAINER
            # QEMUs of one container have one label by design; another container has another control group.
            place = f"container {process.cgroup}" if contained and process.cgroup else f"process {process.pid}"
            if contained:
                self.engines.add(context)
            self.guests.append(
                Party(
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
        """Add the labels of containers, each once."""
        for container in self.snapshot.containers:
            context = read_context(container.context)
            if context is None or not self._is_comparable(context) or context in self.engines:
                continue
            key = str(context.high)
            self.container_parties.append(
                Party(
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

    def _is_comparable(self, context: Context) -> bool:
        """Whether its type is constrained, and its categories are neither too few nor too many to be compared."""
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
        """Add static labels of the guest's definition and managed save, unless the guest runs with them already."""
        defined = self._static(guest, guest.persistent_labels, running)
        if guest.saved_labels is not None:
            self._static(guest, guest.saved_labels, running if defined is None else defined)

    def _static(self, guest: Guest, seclabels: t.Sequence[SecLabel], known: str | None) -> str | None:
        """Add a static label, unless it is known already; gives its key."""
        seclabel = confinement(seclabels) if guest.persistent else None
        context = read_context(seclabel.label) if seclabel is not None and seclabel.type == "static" else None
        if context is None or not self._is_comparable(context) or runs_open(self.snapshot, context.type):
            return None
        key = str(context.high)
        if key != known:
            level, bits = context.high, few(context.categories)
            self.statics.append(
                Party(guest.uuid, guest.name, self.host, level, key, _files(guest), guest.uuid, bits, active=False)
            )
        return key

    def _disks(self, guest: Guest) -> t.Iterator[str]:
        """The guest's own disks. A disk without a name on other hosts is qualified by its host."""
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

    def _is_shared(self, item: Resource) -> bool:
        storage = self._shared.get(item.file.mount or "")
        return storage is not None and not item.in_namespace and images.shared_with_hosts(storage, file_path(item))


def _names(item: Resource) -> tuple[FileName, ...]:
    name = file_name(item)
    return () if name is None else (name,)


def _files(guest: Guest) -> tuple[tuple[str, str], ...] | None:
    """Mount and path of the guest's own files; None when those of one are unknown."""
    own = [item for item in guest.resources if item.role == IMAGE and item.file.kind not in ("block", "char")]
    # libvirt may not have created a directory or socket yet; a missing disk is unknown.
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
