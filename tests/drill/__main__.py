# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What ``make drill`` runs: the matrix, hardening and allocation, the matrix again.

Ends with 0 only when in the end every attempt was refused by SELinux.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.lab import DEFAULT_DIR, Lab

from . import repair, stage
from .matrix import breaches, doubts, matrix
from .outcome import Attempt, Guests, numbers_of

PLAYBOOKS = (
    ("harden", repair.harden, "every host to what the audit calls clean"),
    ("allocate", repair.allocate, "every guest a label of its own for life, from one ledger"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIR, help="folder of the lab (default: %(default)s)")
    parser.add_argument("--report", type=Path, default=Path("build/drill"), help="what the playbooks leave behind")
    parser.add_argument("--look", action="store_true", help="the matrix only; repair nothing")
    options = parser.parse_args()
    try:
        return _drill(Lab.at(options.dir), options.report, options.look)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _drill(lab: Lab, report: Path, look: bool) -> int:
    guests = stage.guests(lab)
    print("THE DRILL: each guest's QEMU, as if taken over, tries to open the disk of each other guest.")
    if guests.open_to_all:
        names = sorted({disk.file for disk in guests.open_to_all})
        print(
            f"Not among the targets, for libvirt labels them for every guest: {', '.join(names)} (shared or read-only)."
        )
    print()
    before = _show(lab, guests)
    if look:
        return 0 if numbers_of(before).refused else 1
    for host in repair.end_by_hand(lab):
        print(f"\n==> on {host} the QEMU that was started by hand is ended")
    for name, play, about in PLAYBOOKS:
        print(f"\n==> svirt.fleet.{name}: {about}", flush=True)
        for line in repair.summary(play(lab, guests, report), report, name):
            print(f"  {line}", flush=True)
    print("\nTHE DRILL AGAIN, with the same guests and the same disks.\n")
    after = _show(lab, stage.guests(lab))
    print(f"\nbefore  {numbers_of(before)}\nafter   {numbers_of(after)}")
    if not numbers_of(after).refused:
        print("\nFAIL: not every attempt was refused.")
        return 1
    print("\nPASS: every guest's disk is out of every other guest's reach, on every host.")
    return 0


def _show(lab: Lab, found: Guests) -> list[Attempt]:
    attempts = stage.drill(lab, found.disks)
    print(matrix(attempts))
    for title, lines in (("breached", breaches(attempts)), ("unknown", doubts(attempts))):
        if lines:
            print(f"\n{title}")
            print("\n".join(f"  {line}" for line in lines))
    sys.stdout.flush()
    return attempts


if __name__ == "__main__":
    sys.exit(main())
