# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts with every class of reach in them: audited, drilled, and given a label of its own for every guest.

The story is told once, and most tests are about it.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allocating import Allocation, allocate, domain

from tests.drill import stage
from tests.drill.outcome import Attempt, Disk
from tests.lab import faults
from tests.lab.host.domains import SHARE
from tests.lab.lab import Lab
from tests.scenarios.lab import state_of
from tests.scenarios.node import Node
from tests.scenarios.playbooks import Audit, audit

#: A class of reach each, and guests whose labels are made anew by nobody's choice.
FAULTS = {
    "kvm1": [
        "guest-same-label",
        "static-twin",
        "label-by-chance",
        "guest-dominates",
        "guest-off-same-label",
        "container-with-guest-label",
    ],
    "kvm2": ["static-twin", "label-by-chance", "image-off-label-of-other-host", "orphan-of-other-host"],
}
#: A file of no guest is no guest's disk, but whoever has its label opens it.
LOST = Disk("lost", "kvm2", f"{SHARE}/lost2.raw", shared=True, running=False)


@dataclass(frozen=True)
class Reach:
    """What was seen of the faults."""

    #: Without a migration pool, and with one.
    apart: Audit
    pooled: Audit
    attempts: list[Attempt]


@dataclass(frozen=True)
class Story:
    """What was seen of the allocation, in order."""

    begin: dict[str, dict[str, Any]]
    foretold: Allocation
    foretold_states: dict[str, dict[str, Any]]
    done: Allocation
    again: Allocation
    cycled: Allocation
    attempts: list[Attempt]
    #: Where the ledger is.
    folder: Path


def states(lab: Lab) -> dict[str, dict[str, Any]]:
    """All that matters of every host, now."""
    with ThreadPoolExecutor(len(lab.names())) as pool:
        return dict(zip(lab.names(), pool.map(lambda host: state_of(lab, host), lab.names()), strict=True))


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.__stderr__, flush=True)


def look(lab: Lab) -> Reach:
    """Put the faults in, audit and drill. Whoever asks takes them back."""
    with ThreadPoolExecutor(len(FAULTS)) as pool:
        list(pool.map(lambda host: faults.inject(host, *FAULTS[host], lab=lab.folder), FAULTS))
    say("the faults are there")
    apart, pooled = audit(lab.inventory), audit(lab.inventory, svirt_label_domains=[domain(lab, "static")])
    say("audited")
    attempts = drilled(lab)
    say("drilled")
    return Reach(apart, pooled, attempts)


def tell(lab: Lab, folder: Path) -> Story:
    """Foretell, allocate, allocate again, power-cycle, and drill again."""
    for host in lab.names():
        Node(lab, host).virsh("capabilities")  # asked the first time, libvirt tries QEMU out in a folder of its own
    static: dict[str, Any] = {"svirt_label_domains": [domain(lab, "static")]}
    begin = states(lab)
    foretold = allocate(lab, folder, check=True, **static)
    foretold_states = states(lab)
    say("foretold")
    done = allocate(lab, folder, **static)
    say("allocated")
    again = allocate(lab, folder, **static)
    say("allocated again")
    cycled = allocate(
        lab,
        folder,
        svirt_guest_power_cycle=sorted({disk.guest for disk in stage.guests(lab).disks}),
        svirt_guest_power_cycle_force=True,
        categories_guest_power_cycle_timeout=2,  # the lab's guests have no system that could shut them down
        **static,
    )
    say("power-cycled")
    attempts = drilled(lab)
    say("drilled again")
    return Story(begin, foretold, foretold_states, done, again, cycled, attempts, folder)


def drilled(lab: Lab) -> list[Attempt]:
    """Every running guest on every other guest's disk, and on the file of none."""
    return stage.drill(lab, [*stage.guests(lab).disks, LOST])
