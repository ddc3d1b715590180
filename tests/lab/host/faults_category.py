# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of categories: who shares them that should not."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from . import images
from .domains import SHARE, Disk, Guest, static_level, static_seclabel
from .faults_guest import add_guest, local, permissive_moment
from .journal import Journal
from .registry import fault
from .undo import started

#: Of a container that was started beside a guest with the same categories.
BOXED_LEVEL = static_level(251)
#: In examples of libvirt's own documentation.
COPIED_LEVEL = "s0:c392,c662"
#: Of two guests of which one is off.
MEETING_LEVEL = static_level(255)
_CONTAINER_TYPE = "container_t"
_START_LIMIT = 30.0


@fault(
    "guest-off-same-label",
    "a powered-off guest with the static label of a running one: they meet when it starts",
    "guest meets, guest met",
    expects=(("CAT-003", MEETING_LEVEL),),
)
def _meeting(journal: Journal, host: str) -> None:
    for name, running in (("met", True), ("meets", False)):
        add_guest(journal, Guest(name, local(name), static_seclabel(MEETING_LEVEL), running=running))


@fault(
    "guest-label-copied",
    "a static label copied from libvirt's documentation, as others do too",
    "guest copied",
    expects=(("CAT-009", COPIED_LEVEL),),
)
def _copied(journal: Journal, host: str) -> None:
    add_guest(journal, Guest("copied", local("copied"), static_seclabel(COPIED_LEVEL)))


@fault(
    "container-with-guest-label",
    "a container's process that has the categories of a running guest",
    "guest boxed",
    expects=(("CAT-011", BOXED_LEVEL),),
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
    label = static_level(252 + int(host[-1]))  # one label would be a finding of its own
    add_guest(journal, Guest("double", local("double"), static_seclabel(label)))


@fault(
    "image-off-label-of-other-host",
    "a powered-off guest's image on the share with the label of a guest that runs on the other host",
    "guest left{host}",
)
def _left(journal: Journal, host: str) -> None:
    name = f"left{host[-1]}"
    disk = Disk(f"{SHARE}/{name}.raw")
    add_guest(journal, Guest(name, (disk,), static_seclabel(static_level(256 + int(host[-1]))), running=False))
    images.set_label(disk.path, _label_of_other(host))


@fault(
    "orphan-of-other-host",
    "a file of no guest on the share, with the label of a guest that runs on the other host",
    f"{SHARE}/lost{{host}}.raw",
)
def _lost(journal: Journal, host: str) -> None:
    path = f"{SHARE}/lost{host[-1]}.raw"
    journal.file(path)
    images.make_raw(path, label=_label_of_other(host))


def _label_of_other(host: str) -> str:
    """The label of the files of a guest that runs on the other host: its node."""
    return f"{images.RUNNING_TYPE}:{static_level(10 * (3 - int(host[-1])) + 3)}"
