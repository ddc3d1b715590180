# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What stands between the two halves of the drill: the playbooks as an operator runs them, on the lab.

The lab's guests may be power-cycled: nobody works on them, and they have no operating system that could be asked to
shut down. The QEMU that was started by hand is the lab's too, and is ended first.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.lab import faults
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.scenarios.playbooks import Run, run

from .outcome import Guests

#: Faults that only people can end.
BY_HAND = ("qemu-by-hand",)
#: The hosts are the lab's own, so no canary goes first; and what soaks for denials on a fleet need not here.
_VARIABLES: dict[str, Any] = {
    "svirt_serial": "100%",
    "svirt_timeout": 120,
    "svirt_guest_power_cycle_force": True,
    "kvm_node_guest_power_cycle_timeout": 2,
    "categories_guest_power_cycle_timeout": 2,
    "selinux_soak_seconds": 0,
}


def end_by_hand(lab: Lab) -> list[str]:
    """End what runs outside libvirt; returns the hosts where there was something."""
    return [host for host in lab.names() if faults.undo(host, *BY_HAND, lab=lab.folder)]


def harden(lab: Lab, guests: Guests, report: Path) -> Run:
    """``svirt.fleet.harden``."""
    return _play("harden", lab, guests, report)


def allocate(lab: Lab, guests: Guests, report: Path) -> Run:
    """``svirt.fleet.allocate``: one label domain, labels for life, in a ledger beside the report."""
    domain = {"name": "lab", "hosts": lab.names(), "strategy": "static", "migration": True}
    store = f"sqlite:///{report.absolute()}/fleet.db"
    return _play("allocate", lab, guests, report, svirt_store=store, svirt_label_domains=[domain])


def _play(name: str, lab: Lab, guests: Guests, report: Path, **more: Any) -> Run:
    folder = report.absolute() / name
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted({disk.guest for disk in guests.disks})
    variables = {**_VARIABLES, "svirt_report_dir": str(folder), "svirt_guest_power_cycle": names, **more}
    started = time.monotonic()
    result = run(f"svirt.fleet.{name}", lab.inventory, **variables)
    log = folder / "output.txt"
    log.write_text(result.output)
    print(f"{name}: {time.monotonic() - started:.0f} s, {log}", file=sys.stderr, flush=True)
    if not (folder / "report.json").is_file():
        raise LabError(f"svirt.fleet.{name} ended with {result.status} and without an audit:\n{result.output[-3000:]}")
    return result


def summary(done: Run, report: Path, name: str) -> Iterable[str]:
    """What a playbook did, in a few lines."""
    cycled = sorted(
        guest
        for item in done.results
        if item["action"].rpartition(".")[2] == "guest_power_cycle"
        for guest in _cycled(item["result"])
    )
    hosts = sorted({host for host, _task in done.changed})
    yield f"changed: {', '.join(hosts) or 'nothing'}"
    if cycled:
        yield f"power-cycled: {', '.join(cycled)}"
    document = json.loads((report / name / "report.json").read_text(encoding="utf-8"))
    rules = sorted({item["rule"] for item in document["findings"]})
    yield f"audit after it: {document['verdict']}" + (f" ({', '.join(rules)})" if rules else "")


def _cycled(result: dict[str, Any]) -> list[str]:
    return [str(step["subject"]).removeprefix("guest ") for step in result.get("plan", []) if result.get("changed")]
