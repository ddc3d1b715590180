# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every guest of the host, from libvirt where it answers and from its files where it does not.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..._core.libvirt.file_labels import ImageTypes
from ..._core.snapshot.model import Guest, Libvirt
from ..base.deadline import Job
from ..base.root import Root
from . import guests, libvirt_reader
from .coverage import CoverageLog
from .guests import ReadGuest


@dataclass(repr=False, eq=False)
class GuestList:
    """The guests, by uuid, and whether any of them or of their files may be missing."""

    guests: list[Guest] = field(default_factory=list)
    #: The same guests with their definitions.
    read: list[ReadGuest] = field(default_factory=list)
    #: Nothing is missing: only then is a file without an owner an orphan.
    complete: bool = True


@dataclass(repr=False, eq=False)
class GuestLister:
    """Lists the guests of a host."""

    root: Root
    ledger: CoverageLog
    libvirt: Libvirt
    status: guests.StatusFiles

    def take(self, job: Job | None, alive: t.Container[int], types: ImageTypes) -> GuestList:
        """Find every guest and name its files. ``alive`` are the pids of QEMU processes."""
        guests.read_status(self.root, self.status)
        self.ledger.unknown("guests", self.status.problem)
        listing = GuestList()
        by_uuid = self._answered(job) if job is not None else {}
        if job is None or job.problem:  # libvirt's files stand in for its answer
            others, problems = guests.without_libvirt(self.root, self.status, alive)
            self.ledger.unknown("guests", *problems)
            listing.complete = not problems
            by_uuid = {**{item.guest.uuid: item for item in others}, **by_uuid}
        for _uuid, item in sorted(by_uuid.items()):
            self.ledger.unknown("images", *guests.fill_resources(self.root, item, types))
            listing.guests.append(item.guest)
            listing.read.append(item)
            if item.guest.error or item.domain is None:
                listing.complete = False
                self.ledger.unknown("guests", f"a guest could not be read wholly: {item.guest.error}")
        return listing

    def _answered(self, job: Job) -> dict[str, guests.ReadGuest]:
        """Guests as libvirt lists them; what came before it hung is kept."""
        by_uuid: dict[str, guests.ReadGuest] = {}
        for item in libvirt_reader.gather(job.items()):
            if isinstance(item, libvirt_reader.ListedGuest):
                by_uuid[item.uuid] = guests.from_libvirt(self.root, item, self.status)
                continue
            self.libvirt.connected, self.libvirt.driver = item.connected, item.driver
            self.libvirt.version, self.libvirt.models = item.version, item.models
            self.libvirt.filters, self.libvirt.networks = item.filters, item.networks
        for area in ("libvirt", "guests") if job.problem else ():
            (self.ledger.bug if job.bug else self.ledger.unknown)(area, f"libvirt: {job.problem}")
        return by_uuid
