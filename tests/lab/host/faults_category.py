# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of categories: who shares them that should not."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from . import images
from .domains import LOCAL, SHARE, Disk, Guest, static_level, static_seclabel
from .faults_guest import add_guest, local, permissive_moment
from .journal import Journal
from .registry import fault
from .undo import started

#: Of a container that was started beside a guest with the same categories.
BOXED_LEVEL = static_level(251)
#: In examples of libvirt's own documentation.
COPIED_LEVEL = "s0:c392,c662"
_CONTAINER_TYPE = "container_t"
_START_LIMIT = 30.0


@fault(
    "guest-label-copied",
    "a static label copied from libvirt's documentation, as others do too",
    "guest copied",
    expects=(("CAT-0XX", "guest copied"),),
)
def _copied(journal: Journal, host: str) -> None:
    add_guest(journal, Guest("copied", local("copied"), static_seclabel(COPIED_LEVEL)))


@fault(
    "container-with-guest-label",
    "a container's process that has the categories of a running guest",
    "guest boxed",
    expects=(("CAT-0XX", BOXED_LEVEL),),
)
def _container(journal: Journal, host: str) -> None:
    add_guest(journal, Guest("boxed", local("boxed"), static_seclabel(BOXED_LEVEL)))
    context = f"system_u:system_r:{_CONTAINER_TYPE}:{BOXED_LEVEL}"
    with permissive_moment():  # no container engine is here, and nobody else may start a process of that type
        process = subprocess.Popen(
            ["runcon", context, "sleep", "infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        journal.add("kill", pid=process.pid, started=started(process.pid))
        _wait_for_label(process.pid, context)


def _wait_for_label(pid: int, context: str) -> None:
    end = time.monotonic() + _START_LIMIT
    while (now := Path(f"/proc/{pid}/attr/current").read_text().strip("\0\n")) != context:
        if time.monotonic() > end:
            raise RuntimeError(f"process {pid} has the label {now}, not {context}")
        time.sleep(0.1)


@fault(
    "guest-on-two-hosts",
    "one guest runs on both hosts, each time with a disk of that host",
    "guest double",
)
def _two_hosts(journal: Journal, host: str) -> None:
    add_guest(journal, Guest("double", local("double"), static_seclabel(static_level(252))))


@fault(
    "orphan-of-other-host",
    "a file of no guest on the share, with the label of a guest that runs on the other host",
    f"{SHARE}/left{{host}}.raw",
)
def _orphan_elsewhere(journal: Journal, host: str) -> None:
    number = int(host[-1])
    path = f"{SHARE}/left{number}.raw"
    journal.file(path)
    images.make_raw(path, label=f"{images.RUNNING_TYPE}:{static_level(10 * (3 - number) + 3)}")
