# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The hosts of a lab as the stage of the drill: one round trip for their guests, one for all attempts of a host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.agent import program
from tests.lab.errors import LabError
from tests.lab.host.domains import SHARE
from tests.lab.lab import Lab

from .outcome import Attempt, Disk, Guests, attempts_of, guests_of, targets_on

_PROGRAM = Path(__file__).with_name("host_attempts.py")
#: Seconds that a host may take; it gives up its attempts before, see there.
_LIMIT = 1200.0


def guests(lab: Lab) -> Guests:
    """The guests of all hosts."""
    names = lab.names()
    with ThreadPoolExecutor(len(names)) as pool:
        said = pool.map(lambda host: program(lab.remote(host), _PROGRAM, "guests"), names)
        return guests_of(dict(zip(names, said, strict=True)), [SHARE])


def drill(lab: Lab, disks: Sequence[Disk]) -> list[Attempt]:
    """Every running guest on every disk. One host after the other: each lends its disks to QEMU's user meanwhile."""
    attempts: list[Attempt] = []
    for host in lab.names():
        targets = json.dumps([{"path": disk.path} for disk in targets_on(host, disks)])
        answer = program(lab.remote(host), _PROGRAM, "attempts", targets, timeout=_LIMIT)
        if not isinstance(answer, dict):
            raise LabError(f"{host}: the drill's program answered {answer!r}")
        attempts += attempts_of(host, answer, disks)
    return attempts
