# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by prepare.yml: faults in all hosts, and a guest that works its disk, watched until the end of the story."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

from busy import Busy, begin
from story import FAULTS, busy_file

from tests.lab import faults
from tests.lab.lab import Lab


def main() -> None:
    lab = Lab.at(os.environ["SVIRT_LAB_DIR"])
    busy: Busy = begin(lab)
    before = busy.counters()
    busy.watch()
    busy_file(lab).write_text(json.dumps({"pid": busy.pid, "before": vars(before)}))

    def fill(host: str) -> None:
        faults.inject(host, *faults.default_faults(host), *FAULTS[host], lab=lab.folder)
        # Asked the first time after its start, libvirt tries QEMU out in a folder of its own among the guests'.
        lab.remote(host).call("virsh capabilities")

    with ThreadPoolExecutor(len(lab.names())) as pool:
        list(pool.map(fill, lab.names()))


main()
