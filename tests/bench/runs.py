# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Measures runs in the store on invented fleets: to store the snapshots, to judge them from there, sizes.

A host has 100 guests and the snapshot of each host is different. Each fleet is judged in a process of its own, so that
the peak of its memory is that of the judgement. Nothing here judges.

python -m tests.bench.runs HOSTS    one fleet, as JSON
"""

from __future__ import annotations

import datetime
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "build" / "collections"))

from ansible_collections.svirt.fleet.plugins.action import fleet_analysis  # noqa: E402
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.run import HostReading  # noqa: E402
from ansible_collections.svirt.fleet.plugins.plugin_utils import _runs  # noqa: E402
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store  # noqa: E402

from tests.unit.support.fleets import guest, host, nfs  # noqa: E402

#: Hosts of the fleets, guests of a host.
SMALL, LARGE, GUESTS = 100, 1_000, 100
_BATCH = 100


def _collect(url: str, hosts: int) -> float:
    """Seconds to store the snapshots of so many hosts in an open run."""
    store, now = Store(url), datetime.datetime.now(datetime.UTC).timestamp()
    store.run(lambda each: _runs.begin(each, "audit", "bench", now, "1.0.0", "bench"))
    seconds = 0.0
    for start in range(0, hosts, _BATCH):
        names = [f"kvm{number:05}" for number in range(start, min(start + _BATCH, hosts))]
        snapshots = [host(name, _guests(name), storage=[nfs("/share", "nfs:filer:/vms")]) for name in names]
        began = time.process_time()
        contents = [_runs.content_of(snapshot) for snapshot in snapshots]
        readings = [HostReading(name, now, 1.0, content.digest) for name, content in zip(names, contents, strict=True)]
        by_digest = {content.digest: content.content for content in contents}
        store.run(lambda each, readings=readings, by_digest=by_digest: _runs.add(each, "bench", readings, by_digest))  # type: ignore[misc]
        seconds += time.process_time() - began
    store.close()
    return seconds


def _guests(name: str) -> list[Any]:
    return [guest(f"{name}-{place}", f"s0:c{place},c{512 + place}") for place in range(GUESTS)]


def judge(hosts: int) -> dict[str, Any]:
    """Figures of one fleet, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/fleet.db"
        collected = _collect(url, hosts)
        report = Path(folder, "report.json")
        arguments = {
            "hosts": [f"kvm{number:05}" for number in range(hosts)],
            "report": str(report),
            "store": url,
            "run": "bench",
            "run_kind": "audit",
            "enforce": False,
        }
        task = MagicMock(args=arguments, async_val=0, check_mode=False, diff=False)
        names = ("connection", "play_context", "loader", "templar", "shared_loader_obj")
        action = fleet_analysis.ActionModule(task=task, **{name: MagicMock() for name in names})
        action._load_name = "svirt.fleet.fleet_analysis"  # as the plugin loader does
        fleet_analysis._show = lambda *_arguments: None  # the figures are what is printed
        began = time.process_time()
        action.run(task_vars={})
        return {
            "store": collected,
            "judge": time.process_time() - began,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "report": report.stat().st_size,
            "database": Path(folder, "fleet.db").stat().st_size,
        }


def measure() -> None:
    """Print the figures, each beside its budget for 10,000 hosts where it has one."""
    print("runs in the store, made-up fleets, SQLite", flush=True)
    small, large = _in_child(SMALL), _in_child(LARGE)
    for hosts, figures in ((SMALL, small), (LARGE, large)):
        sizes = f"report {figures['report']:,} bytes, store {figures['database']:,} bytes"
        print(f"{hosts:,} hosts with {hosts * GUESTS:,} guests: {sizes}, peak {figures['memory']:.0f} MiB")
    for name in ("store", "judge"):
        growth = large[name] / small[name]
        print(f"{name}, {LARGE:,} hosts, seconds   {large[name]:8.2f}   budget 120 for 10,000")
        print(f"{name}, {LARGE:,} / {SMALL:,} hosts  {growth:8.2f}   budget 12.00")


def _in_child(hosts: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.runs", str(hosts)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    print(json.dumps(judge(int(sys.argv[1]))))
