# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a host: starts tiny guests, notes the label that libvirt draws for each, and ends them.

    COUNT AT_ONCE RESTARTS      start so many, so many of them side by side, with restarts of the daemon in between

A restart comes while guests run: libvirt must take over what they hold. Their labels before and after it are noted too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from host import virt  # type: ignore[import-not-found]  # the lab's code, as it is inside a host
from host.domains import Guest  # type: ignore[import-not-found]


def label(name: str) -> str:
    """The label of a guest's process."""
    pid = Path(f"/run/libvirt/qemu/{name}.pid").read_text()
    return Path(f"/proc/{pid}/attr/current").read_text().strip("\0\n")


def start(name: str) -> None:
    """Start a guest without a disk. It stays paused: its firmware would look for one for ever, at the host's cost."""
    import libvirt

    virt.define(Guest(name)).createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)


def main(count: int, at_once: int, restarts: int) -> dict[str, object]:
    """The labels that were drawn, in order, and how many guests were unchanged at a restart of the daemon."""
    drawn: list[str] = []
    running: list[str] = []
    kept = 0
    due = [(number + 1) * count // (restarts + 1) for number in range(restarts)]
    try:
        for index in range(count):
            if index in due:
                before = [label(name) for name in running]
                virt.restart_daemon()
                kept += before == [label(name) for name in running] and bool(before)
            if len(running) == at_once:
                virt.remove(running.pop(0))
            name = f"draw{index}"
            running.append(name)
            start(name)
            drawn.append(label(name))
    finally:
        for name in running:
            virt.remove(name)
    return {"drawn": drawn, "kept": kept}


if __name__ == "__main__":
    print(json.dumps(main(*(int(word) for word in sys.argv[1:]))))
