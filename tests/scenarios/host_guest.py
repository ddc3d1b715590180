# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a host: makes a guest of a test, with its disks, or removes both. The guest comes as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys

from host import images, virt  # type: ignore[import-not-found]  # the lab's code, as it is inside a host
from host.domains import Disk, Guest  # type: ignore[import-not-found]


def main(verb: str, text: str) -> None:
    """``make`` defines the guest and starts one that is to run; ``remove`` undoes all of it."""
    plain = json.loads(text)
    plain["disks"] = tuple(Disk(**disk) for disk in plain["disks"])
    guest = Guest(**plain)
    if verb == "make":
        for disk in guest.disks:
            images.make_disk(disk)
        virt.define(guest)
        if guest.running:
            virt.start(guest.name)
        return
    virt.remove(guest.name)
    for disk in guest.disks:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(disk.path)


main(*sys.argv[1:])
print("null")
