# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Category sets in use on a host by guests, containers and files: new labels must avoid them.

Every label counts: of running processes, of live and persistent XML, of guests' files, of files without an owner, of
containers. ``s0`` without categories does not count.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ..errors import LabelError
from ..libvirt.category_range import DaemonRange, libvirt_range
from ..libvirt.file_labels import confinement, relabels
from ..selinux.context import CategorySet, Context, parse_categories, parse_context
from ..snapshot.model import NOT_APPLICABLE, UNKNOWN, Guest, SecLabel, Snapshot

#: Areas of a snapshot that contain labels in use.
_AREAS = ("guests", "processes", "containers", "images", "orphans")
_MAX_NAME = 200
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


@dataclass(frozen=True)
class GuestUse:
    """A guest on a host, and its labels there."""

    host: str
    uuid: str
    name: str
    kind: str = "kvm"
    active: bool = False
    persistent: bool = True
    #: Why it could not be read completely; empty: it was.
    error: str = ""
    #: Static label of its definition; None: it has none.
    defined: Context | None = None
    #: Whether libvirt relabels its files, by its definition.
    relabels: bool = True
    #: Its process runs with the static label of its live XML.
    static: bool = False
    #: Categories of its process.
    running: CategorySet | None = None
    #: Category sets of its processes and in its XML.
    held: frozenset[CategorySet] = frozenset()
    #: Category sets of its files.
    files: frozenset[CategorySet] = frozenset()

    @property
    def subject(self) -> str:
        """Name and uuid, for messages."""
        return f"{self.name[:80]} ({self.uuid})"


@dataclass(frozen=True)
class HostUse:
    """Labels in use on a host."""

    host: str
    guests: tuple[GuestUse, ...] = ()
    #: Category sets of processes and containers that belong to no guest.
    strangers: frozenset[CategorySet] = frozenset()
    #: Category sets of files that no guest of the host owns.
    files: frozenset[CategorySet] = frozenset()
    #: libvirt's base label by kind of guest; empty: it could not be asked, or has no SELinux driver.
    baselabels: t.Mapping[str, str] = field(default_factory=dict)
    #: Range that the daemon draws from; None: not known.
    range: DaemonRange | None = None
    #: Why not all labels of the host are known; empty: they are.
    doubts: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all labels in use on the host are known."""
        return not self.doubts


def stored(use: HostUse) -> dict[str, t.Any]:
    """The category sets as plain data, for runs that cannot read the host."""
    return {
        "guests": {guest.uuid: sorted(map(str, guest.held)) for guest in use.guests},
        "images": {guest.uuid: sorted(map(str, guest.files)) for guest in use.guests},
        "strangers": sorted(map(str, use.strangers)),
        "files": sorted(map(str, use.files)),
    }


def from_stored(host: str, document: t.Mapping[str, t.Any]) -> HostUse:
    """The data of ``stored``. Raises LabelError, KeyError, TypeError or AttributeError for anything else."""
    guests = tuple(
        GuestUse(host, uuid, uuid, held=_read(levels), files=_read(document["images"].get(uuid, ())))
        for uuid, levels in document["guests"].items()
    )
    return HostUse(host, guests, _read(document["strangers"]), _read(document["files"]))


def _read(texts: t.Iterable[str]) -> frozenset[CategorySet]:
    return frozenset(map(parse_categories, texts))


def label_use(host: str, snapshot: Snapshot) -> HostUse:
    """Labels in use by a snapshot. ``host`` is the name in the inventory."""
    uuids = {guest.uuid for guest in snapshot.guests}
    others = [process.context for process in snapshot.processes if process.guest not in uuids]
    others += [container.context for container in snapshot.containers]
    helpers: dict[str, list[str | None]] = {}
    for process in snapshot.processes:
        if process.guest in uuids and process.guest is not None:
            helpers.setdefault(process.guest, []).append(process.context)
    guests = [_guest(host, guest, helpers.get(guest.uuid, ())) for guest in snapshot.guests]
    models = {model.model: model.baselabels for model in snapshot.libvirt.models or ()}
    return HostUse(
        host,
        tuple(sorted(guests, key=lambda guest: guest.uuid)),
        _sets(others),
        _sets(orphan.label for orphan in snapshot.orphans),
        dict(models.get("selinux", {})),
        _range(snapshot),
        _doubts(snapshot),
    )


def _doubts(snapshot: Snapshot) -> tuple[str, ...]:
    areas = ((area, snapshot.coverage[area]) for area in _AREAS)
    doubts = [f"{area}: {coverage.why[:200]}" for area, coverage in areas if coverage.status == UNKNOWN]
    doubts += [f"guest {guest.name[:80]!r}: {guest.error[:200]}" for guest in snapshot.guests if guest.error]
    off = snapshot.selinux.mode == "disabled" or snapshot.coverage["selinux"].status == NOT_APPLICABLE
    for guest in () if off else snapshot.guests:
        if guest.active and guest.kind in ("kvm", "qemu") and _context(guest.context) is None:
            doubts.append(f"guest {guest.name[:80]!r}: the label of its process could not be read")
    return tuple(doubts[:5])


def _guest(host: str, guest: Guest, helpers: t.Iterable[str | None]) -> GuestUse:
    definition, live = confinement(guest.persistent_labels), confinement(guest.live)
    labels: list[str | None] = [guest.context, *helpers]
    for item in (*guest.live, *guest.persistent_labels, *(guest.saved_labels or ())):
        labels += [item.label, item.imagelabel]
    process = _context(guest.context)
    return GuestUse(
        host,
        guest.uuid,
        _plain(guest.name),
        guest.kind,
        guest.active,
        guest.persistent,
        guest.error if _UUID.match(guest.uuid) else f"its uuid is {guest.uuid[:40]!r}, which is none",
        _static(definition),
        relabels(definition),
        live is not None and live.type == "static",
        process.categories if process is not None and guest.active else None,
        _sets(labels),
        _sets(item.file.label for item in guest.resources),
    )


def _plain(name: str) -> str:
    """A name that any database accepts: valid Unicode of bounded length, without NUL."""
    return name[:_MAX_NAME].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _static(seclabel: SecLabel | None) -> Context | None:
    return _context(seclabel.label) if seclabel is not None and seclabel.type == "static" else None


def _range(snapshot: Snapshot) -> DaemonRange | None:
    daemon = snapshot.libvirt.daemon
    try:
        return libvirt_range(daemon.context) if daemon is not None and daemon.context else None
    except LabelError:
        return None  # libvirt draws no pair there; the rules about daemons report it


def _sets(labels: t.Iterable[str | None]) -> frozenset[CategorySet]:
    contexts = (_context(label) for label in set(labels))
    return frozenset(context.categories for context in contexts if context is not None and context.categories.mask)


def _context(label: str | None) -> Context | None:
    try:
        return parse_context(label) if label else None
    except LabelError:
        return None  # invalid label: no process can have it
