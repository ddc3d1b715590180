# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A label of its own for every guest: foretold (check), given (converge), given already (idempotence).

Those are Molecule's own steps. What comes after them, with all guests power-cycled, is here.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allocating import Allocation, allocate, domain
from reaching import drilled, kept

from tests.drill import stage
from tests.drill.outcome import Attempt
from tests.lab.lab import Lab
from tests.scenarios.looks import States, runs, taken


@dataclass(frozen=True)
class Story:
    """What was seen of the allocation, in order."""

    begin: States
    foretold: Allocation
    foretold_states: States
    done: Allocation
    again: Allocation
    cycled: Allocation
    #: Of the drill before the allocation, and after all guests were cycled.
    before: list[Attempt]
    attempts: list[Attempt]
    #: Where the ledger is.
    folder: Path


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.__stderr__, flush=True)


def tell(lab: Lab) -> Story:
    """Take what Molecule's steps left, power-cycle, and drill again."""
    begin, *after = taken(lab)
    allocations = [Allocation(run, look.report) for run, look in zip(runs(lab), after, strict=True)]
    static: dict[str, Any] = {"svirt_label_domains": [domain(lab, "static")]}
    cycled = allocate(
        lab,
        lab.folder / "report",
        svirt_guest_power_cycle=sorted({disk.guest for disk in stage.guests(lab).disks}),
        svirt_guest_power_cycle_force=True,
        categories_guest_power_cycle_timeout=2,  # the lab's guests have no system that could shut them down
        **static,
    )
    say("power-cycled")
    attempts = drilled(lab)
    say("drilled again")
    foretold, done, again = allocations
    return Story(
        begin.states, foretold, after[0].states, done, again, cycled, kept(lab), attempts, lab.folder / "report"
    )
