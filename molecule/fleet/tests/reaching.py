# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every class of reach, put into two hosts, and what an audit and the drill see of it."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.drill import stage
from tests.drill.outcome import Attempt, Disk
from tests.lab import faults
from tests.lab.host.domains import SHARE
from tests.lab.lab import Lab
from tests.scenarios.playbooks import Audit

#: A class of reach each, and guests whose labels change by nobody's choice.
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


def inject(lab: Lab) -> None:
    """Put the faults into both hosts."""
    with ThreadPoolExecutor(len(FAULTS)) as pool:
        list(pool.map(lambda host: faults.inject(host, *FAULTS[host], lab=lab.folder), FAULTS))
    for host in lab.names():
        lab.remote(host).call("virsh capabilities")  # asked the first time, libvirt tries QEMU out in a folder


def drilled(lab: Lab) -> list[Attempt]:
    """Every running guest on every other guest's disk, and on the file of none."""
    return stage.drill(lab, [*stage.guests(lab).disks, LOST])


def keep(lab: Lab, attempts: list[Attempt]) -> None:
    """Keep attempts for a later step of the scenario."""
    _file(lab).write_text(json.dumps([asdict(attempt) for attempt in attempts]))


def kept(lab: Lab) -> list[Attempt]:
    """What an earlier step kept."""
    found = json.loads(_file(lab).read_text())
    return [Attempt(**{**plain, "disk": Disk(**plain["disk"])}) for plain in found]


def _file(lab: Lab) -> Path:
    return lab.folder / "attempts.json"


if __name__ == "__main__":
    inject(Lab.at(os.environ["SVIRT_LAB_DIR"]))
