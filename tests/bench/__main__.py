# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the probe and the audit against their peers on one lab host: ``python -m tests.bench``.

Before that the controller's own work, on invented fleets: see analysis.py, allocation.py and runs.py.

All commands take turns in one run, so that a machine whose speed drifts slows them alike. Figures are seconds of
wall clock, median with minimum and maximum; what to quote is the ratio. Nothing here judges.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tests.bench import crowd, peers
from tests.bench.timing import Series, table, take_turns
from tests.lab.image.files import PYTHON_FOLDER, PYTHON_MODULE
from tests.lab.lab import Lab

LAB = "build/lab-bench"
AUDIT, HARDEN = "audit playbook", "harden playbook"
#: What is measured without a host: modules here, each with a ``measure()``.
CONTROLLER = ("analysis", "allocation", "runs")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--inventory", type=Path, help="inventory with the host (default: a lab started for this)")
    parser.add_argument("--host", default="kvm1", help="inventory name of the host")
    parser.add_argument("--guests", type=int, default=200, help="guests to define; each has two images")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each command, after one warm-up")
    parser.add_argument("--stock-guests", type=int, default=3, help="guests that the loop of stock modules visits")
    parser.add_argument("--only", choices=["hosts", *CONTROLLER], help="measure this alone (default: all)")
    args = parser.parse_args()
    for name in CONTROLLER:
        if args.only in (None, name):
            importlib.import_module(f"tests.bench.{name}").measure()
            print(flush=True)
    if args.only in CONTROLLER:
        return 0

    with own_lab(args.host) if args.inventory is None else nullcontext(args.inventory) as inventory:
        measure(peers.Target(inventory, args.host), args)
    return 0


@contextmanager
def own_lab(host: str) -> Iterator[Path]:
    """A lab of one host without faults, for as long as the block lasts; gives its inventory."""
    lab = [sys.executable, "-m", "tests.lab"]
    try:
        subprocess.run([*lab, "up", "--install", "--dir", LAB, "--hosts", host, "--faults", "none"], check=True)
        # Users' hosts compile what Ansible sends at every run, and so does the host that is measured.
        Lab.at(LAB).remote(host).call(f"rm -f {PYTHON_FOLDER}/{PYTHON_MODULE}.pth")
        yield Path(LAB) / "inventory" / "hosts.yml"
    finally:
        subprocess.run([*lab, "down", "--dir", LAB], check=True)


def measure(target: peers.Target, args: argparse.Namespace) -> None:
    """Let the commands take turns on the host as it is and on the host full of guests, and print the result."""
    with tempfile.TemporaryDirectory() as scratch:
        commands = peers.commands(target, Path(scratch), args.stock_guests)
        print(f"{args.host} as it is", flush=True)
        lightly = {name: commands[name] for name in ("ping playbook", AUDIT)}
        if args.inventory is None:  # a host that is not ours is only read
            lightly[HARDEN] = peers.hardening(target, Path(scratch))
        few = take_turns(lightly, args.runs)
        print(f"{args.host}: defining {args.guests} guests with {2 * args.guests} images", flush=True)
        with crowd.defined(target, args.guests):
            series = take_turns(commands, args.runs)
            snapshot = json.loads((Path(scratch) / "snapshots" / f"{args.host}.json").read_text(encoding="utf-8"))
            memory = peers.peak_memory(target)
    print(f"\n{args.host} as it is\n\n{table(few)}\n")
    print(f"audit playbook / ping playbook     {ratio(few):8.2f}   budget 1.50")
    if HARDEN in few:
        print(f"nothing to harden / audit playbook {few[HARDEN].median / few[AUDIT].median:8.2f}   budget 3.00")
    report(series, snapshot, memory, args.stock_guests)


def ratio(series: dict[str, Series]) -> float:
    """What an audit costs by the measure of a playbook that does nothing."""
    return series[AUDIT].median / series["ping playbook"].median


def report(series: dict[str, Series], snapshot: dict[str, Any], memory: int, visited: int) -> None:
    """Print the full host's figures and the ratios against their budgets."""
    images = sum(len(guest["resources"]) for guest in snapshot["guests"])
    print(f"\n{len(snapshot['guests'])} guests, {images} resources\n\n{table(series)}")
    probe, setup, ping = (series[name].median for name in ("svirt_info", "setup", "ping"))
    audit, play = series[AUDIT].median, series["ping playbook"].median
    stock = (series["stock loop"].median - play) / visited
    ours = max(audit - play, 0.001) / len(snapshot["guests"])
    print()
    print(f"probe / setup                      {probe / setup:8.2f}   budget 1.00")
    print(f"probe / ping                       {probe / ping:8.2f}")
    print(f"audit playbook / ping playbook     {ratio(series):8.2f}   (the budget is for the host as it is)")
    print(f"per guest, stock loop / ours       {stock / ours:8.0f}   budget 100   ({visited} guests visited)")
    print(f"peak memory of the probe, MiB      {memory / 1024:8.1f}   budget 64")


if __name__ == "__main__":
    sys.exit(main())
