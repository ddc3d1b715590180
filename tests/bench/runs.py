# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Measures runs in the store on invented fleets: to store snapshots, to judge them, to write the report in each format.

A host has 100 guests, of which two have a fault. Twenty hosts share a file system, and their guests have labels of
their own. Each fleet is judged in a process of its own, so that the peak of its memory
is that of the judgement. Nothing here judges.

python -m tests.bench.runs HOSTS    one fleet, as JSON; 10,000 hosts take some minutes
"""

from __future__ import annotations

import copy
import datetime
import itertools
import json
import random
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
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s  # noqa: E402
from ansible_collections.svirt.fleet.plugins.plugin_utils import _runs  # noqa: E402
from ansible_collections.svirt.fleet.plugins.plugin_utils._formats import table, writing  # noqa: E402
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store  # noqa: E402

from tests.browser import chromium  # noqa: E402
from tests.unit.support import factory  # noqa: E402

#: Hosts of the fleets, guests of a host, hosts that share a file system.
SMALL, LARGE, GUESTS, SHARERS = 100, 1_000, 100, 20
#: Budgets for 10,000 hosts: seconds, and bytes.
_JUDGE, _HTML, _OPEN, _JSON = 120, 20, 2, 20_000_000
_BATCH = 100
_PAIRS = list(itertools.combinations(range(1024), 2))


def _collect(url: str, hosts: int) -> float:
    """Seconds to store the snapshots of so many hosts in an open run."""
    store, now = Store(url), datetime.datetime.now(datetime.UTC).timestamp()
    store.run(lambda each: _runs.begin(each, "audit", "bench", now, "1.0.0", "bench"))
    seconds = 0.0
    for start in range(0, hosts, _BATCH):
        names = [f"kvm{number:05}" for number in range(start, min(start + _BATCH, hosts))]
        snapshots = [_snapshot(name, number) for number, name in enumerate(names, start)]
        began = time.process_time()
        contents = [_runs.content_of(snapshot) for snapshot in snapshots]
        readings = [HostReading(name, now, 1.0, content.digest) for name, content in zip(names, contents, strict=True)]
        by_digest = {content.digest: content.content for content in contents}
        store.run(lambda each, readings=readings, by_digest=by_digest: _runs.add(each, "bench", readings, by_digest))  # type: ignore[misc]
        seconds += time.process_time() - began
    store.close()
    return seconds


def _snapshot(name: str, number: int) -> s.Snapshot:
    snapshot = factory.host()
    snapshot.host.name = name
    share = s.Storage("/share", "gfs2", "/dev/vg/share", True, identity=f"uuid:{number // SHARERS}", remote=True)
    snapshot.storage = [s.Storage("/", "xfs", "/dev/vda1", True, identity=f"uuid:root{number}"), share]
    pairs = random.Random(number // SHARERS).sample(_PAIRS, SHARERS * GUESTS)  # noqa: S311 - to choose, not to hide
    own = pairs[number % SHARERS * GUESTS :]
    snapshot.guests = [_guest(number, place, own[place]) for place in range(GUESTS)]
    snapshot.processes = []
    return snapshot


def _guest(number: int, place: int, pair: tuple[int, int]) -> s.Guest:
    guest, (low, high) = copy.copy(_MODEL), pair
    level = f"s0:c{low},c{high}" if place > 1 else f"s0:c{low}"  # too few categories
    label, name = factory.image_label(level), f"guest{number * GUESTS + place}"
    guest.uuid, guest.name, guest.pid = factory.uuid(number * GUESTS + place), name, 1000 + place
    guest.context = factory.process_label(level)
    guest.live = [s.SecLabel("selinux", "dynamic", True, guest.context, label)]
    path, file = f"{factory.IMAGES}/{name}.qcow2", {"inode": 1000 + place}
    guest.resources = [factory.resource("disk", path, "image", label, label, file=file)]
    return guest


_MODEL = factory.dynamic_guest()


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
        result = action.run(task_vars={})
        judged = time.process_time() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "findings": sum(result["counts"].values()),
            "store": collected,
            "judge": judged,
            "memory": memory,
            "report": report.stat().st_size,
            "database": Path(folder, "fleet.db").stat().st_size,
            "formats": _formats(report),
            "open": _opened(report.with_suffix(".html")),
        }


def _formats(file: Path) -> dict[str, tuple[float, int]]:
    """Seconds and bytes of each format."""
    report, figures = writing.load(file), {}
    for name in sorted(set(table.FORMATS) - {"json"}):
        began = time.process_time()
        written = writing.write_formats(report, file, file.parent, [name])
        figures[name] = time.process_time() - began, Path(written[name]).stat().st_size
    return figures


def _opened(page: Path) -> float | None:
    """Seconds until Chromium has loaded the page; None without Chromium."""
    if chromium.program() is None:
        return None
    with chromium.browser() as opened:
        began = time.monotonic()
        opened.open(page)
        return time.monotonic() - began


def measure() -> None:
    """Print the figures, each beside its budget for 10,000 hosts where it has one."""
    print("runs in the store, made-up fleets, SQLite", flush=True)
    small, large = _in_child(SMALL), _in_child(LARGE)
    for hosts, figures in ((SMALL, small), (LARGE, large)):
        sizes = f"report {figures['report']:,} bytes, store {figures['database']:,} bytes"
        guests = f"{hosts:,} hosts with {hosts * GUESTS:,} guests and {figures['findings']:,} findings"
        print(f"{guests}: {sizes}, peak {figures['memory']:.0f} MiB")
    print(f"budgets for 10,000 hosts: judge {_JUDGE} s, HTML {_HTML} s, report {_JSON:,} bytes; growth at most 12")
    for name in ("store", "judge"):
        print(f"{name:12}{large[name]:8.2f} s   / {SMALL:,} hosts {large[name] / small[name]:6.2f}")
    for name, (seconds, size) in large["formats"].items():
        growth = seconds / small["formats"][name][0]
        print(f"{name:12}{seconds:8.2f} s   / {SMALL:,} hosts {growth:6.2f}   {size:,} bytes")
    if large["open"] is not None:
        print(f"{'open HTML':12}{large['open']:8.2f} s   budget {_OPEN} s")


def _in_child(hosts: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.runs", str(hosts)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    print(json.dumps(judge(int(sys.argv[1]))))
