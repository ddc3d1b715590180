# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that reads and writes all the time sees no error while the whole of svirt.fleet.harden runs over its host.

See disk_exerciser.py for what runs in the guest. That it counts errors is proved too: by what a careless hardening
would do to the guest, a wrong label on its image while it runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from disk_exerciser import COUNTERS, LAST, Counters, boot_sector, counters_of

from tests.lab import faults
from tests.lab.host.domains import LOCAL, Disk, Guest
from tests.lab.lab import Lab
from tests.scenarios.node import Node
from tests.scenarios.playbooks import Run, run

PROGRAM = Path(__file__).with_name("host_watch.py")
NAME, IMAGE = "busy", f"{LOCAL}/busy.raw"
READY, STOP = "/run/svirt-watch.ready", "/run/svirt-watch.stop"
#: So that harden has work to do: a file and a restart of the daemon, a label, a definition.
FAULTS = ("driver-implicit", "image-orphan", "network-filter-partial")
OTHERS = "system_u:object_r:svirt_image_t:s0:c101,c202"
#: Seconds until something that must happen has happened; a limit, however slow the machine is.
PATIENCE = 120.0


@dataclass(frozen=True)
class Busy:
    """A running guest that works its disk."""

    node: Node
    pid: int

    def counters(self) -> Counters:
        """What the program in the guest has counted, as QEMU's monitor has it."""
        said = self.node.virsh("qemu-monitor-command", "--hmp", NAME, f"xp /4wx {COUNTERS:#x}")
        assert said.returncode == 0, said.stderr
        return counters_of(said.stdout.decode())

    def wait(self, met: Callable[[Counters], bool]) -> Counters:
        """The counters once they meet a condition. Fails when they never do."""
        end = time.monotonic() + PATIENCE
        while not met(found := self.counters()):
            assert time.monotonic() < end, f"not within {PATIENCE:.0f} s: {found}"
            time.sleep(1)
        return found

    def failures(self) -> dict[str, int]:
        """QEMU's own count of requests that failed, and of those that were asked."""
        said = self.node.virsh("qemu-monitor-command", NAME, json.dumps({"execute": "query-blockstats"}))
        stats = json.loads(said.stdout)["return"][0]["stats"]
        names = ("failed_rd_operations", "failed_wr_operations", "rd_operations", "wr_operations")
        return {name: stats[name] for name in names}

    @contextmanager
    def watched(self) -> Iterator[dict[str, Any]]:
        """Look at the counters all the time while the block runs; what was seen is in the dict afterwards."""
        seen: dict[str, Any] = {}
        words = (str(self.pid), boot_sector().hex(), READY, STOP)
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(self.node.python, PROGRAM, *words, timeout=3600.0)
            try:
                self.node.shell(f"for _ in $(seq 120); do [ -e {READY} ] && exit; sleep 1; done; exit 1")
                yield seen
            finally:
                self.node.shell(f"touch {STOP}")
                seen.update(job.result())


@pytest.fixture
def busy(lab: Lab) -> Iterator[Busy]:
    node = Node(lab, "kvm1")
    assert LAST * 512 <= 1 << 20, "the lab's disks have one mebibyte"
    with node.guests(Guest(NAME, (Disk(IMAGE),), running=False)):
        lab.remote(node.name).call(f"dd of={IMAGE} conv=notrunc status=none", stdin=boot_sector())
        assert node.virsh("start", NAME).returncode == 0
        found = Busy(node, node.pid(NAME))
        found.wait(lambda now: now.passes >= 1)
        yield found


def harden(lab: Lab, folder: Path) -> Run:
    extra = {"svirt_report_dir": str(folder), "svirt_timeout": 120, "selinux_soak_seconds": 0}
    return run("svirt.fleet.harden", lab.inventory, limit="kvm1", **extra)


def test_guest_sees_no_error_while_its_host_is_hardened(busy: Busy, lab: Lab, tmp_path: Path) -> None:
    node = busy.node
    journal = node.journal()
    try:
        faults.inject(node.name, *FAULTS, lab=lab.folder)
        before = busy.counters()
        assert before.clean, before
        with busy.watched() as seen:
            done = harden(lab, tmp_path)
        after = busy.counters()
        # The closing audit may find what this test is not about.
        wrong = [item for item in done.results if item["failed"] and not item["action"].endswith("fleet_analysis")]
        assert not wrong, done.output
        modules = {"libvirt_security", "libvirt_restart", "image_label", "guest_network_filter"}
        assert {name for name in modules if any(item["changed"] for item in done.of(node.name, name))} == modules
        assert seen["errors"] == 0, seen
        assert seen["last"] > seen["first"] > 0, seen
        assert before.steps < after.steps
        assert after.clean, after
        assert busy.wait(lambda now: now.passes > after.passes).clean, "it goes on afterwards"
        assert node.pid(NAME) == busy.pid
        assert node.virsh("domblkerror", NAME).stdout.decode().strip() == "No errors found"
        stats = busy.failures()
        assert stats["failed_rd_operations"] == stats["failed_wr_operations"] == 0, stats
        assert min(stats["rd_operations"], stats["wr_operations"]) >= after.steps, stats
    finally:
        node.put_back(journal)
        faults.undo(node.name, *FAULTS, lab=lab.folder)


def test_error_is_counted_and_a_guest_gets_its_image_back(busy: Busy) -> None:
    node = busy.node
    own = node.shell(f"getfattr --only-values -n security.selinux {IMAGE}").rstrip("\0")
    assert busy.counters().clean
    node.shell(f"setfattr -n security.selinux -v {OTHERS} {IMAGE}")
    lost = busy.wait(lambda now: now.failed > 0)
    assert lost.wrong > 0, "what was not read is not what was written"
    assert busy.failures()["failed_rd_operations"] > 0

    done = node.module("image_label", repair=["in_use"], within=[IMAGE.rpartition("/")[0]])
    assert [(line["action"], line["to"]) for line in done["plan"]] == [("relabel", own)], done
    back = busy.counters()
    since = busy.wait(lambda now: now.passes > back.passes)
    later = busy.wait(lambda now: now.passes > since.passes + 1)
    assert (later.failed, later.wrong) == (since.failed, since.wrong), "no error since"
    assert node.pid(NAME) == busy.pid
