# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a host: ``make`` or ``remove`` guests of a test, with their disks. Each guest comes as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys

from host import images, virt  # type: ignore[import-not-found]  # the lab's code, as it is inside a host
from host.domains import Disk, Guest  # type: ignore[import-not-found]


def guest_of(text: str) -> Guest:
    """A guest as it was sent."""
    plain = json.loads(text)
    plain["disks"] = tuple(Disk(**disk) for disk in plain["disks"])
    return Guest(**plain)


def make(guest: Guest) -> None:
    """Define a guest, and start it if it is to run."""
    for disk in guest.disks:
        images.make_disk(disk)
    virt.define(guest)
    if guest.running:
        virt.start(guest.name)


def remove(guest: Guest) -> None:
    """Neither it nor its disks are there any more."""
    virt.remove(guest.name)
    for disk in guest.disks:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(disk.path)


verb, *texts = sys.argv[1:]
for sent in texts:
    {"make": make, "remove": remove}[verb](guest_of(sent))
print("null")
