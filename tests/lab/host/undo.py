# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The kinds of steps that take a fault back."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import selinuxfs, virt
from .journal import Journal, restore_attributes

Step = dict[str, Any]


def undo(journal: Journal) -> None:
    """Take every step back, last one first. A step that was taken back is not taken again after a failure."""
    while journal.steps:
        step = journal.steps[-1]
        KINDS[step["kind"]](step)
        journal.steps.pop()
    journal.close()


def _file(step: Step) -> None:
    path = Path(step["path"])
    content = base64.b64decode(step["content"])
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)  # in place: the same inode, as before
    restore_attributes(step)


def _unlink(step: Step) -> None:
    Path(step["path"]).unlink(missing_ok=True)


def _rmdir(step: Step) -> None:
    with contextlib.suppress(OSError):  # there was something else in it
        Path(step["path"]).rmdir()


def _rmtree(step: Step) -> None:
    shutil.rmtree(step["path"], ignore_errors=True)


def _remove_guest(step: Step) -> None:
    virt.remove(step["name"])


def _define_xml(step: Step) -> None:
    virt.connection().defineXML(step["xml"])


def _define_filter(step: Step) -> None:
    virt.define_filter(step["xml"])


def _enforcing(step: Step) -> None:
    selinuxfs.set_enforcing(step["on"])


def _boolean(step: Step) -> None:
    selinuxfs.set_boolean(step["name"], step["on"])


def _policy(_step: Step) -> None:
    subprocess.run(["load_policy"], check=True, capture_output=True)


def _daemon(step: Step) -> None:
    if step.get("reload"):
        virt.reload_units()
    virt.restart_daemon()


def _kill(step: Step) -> None:
    """The process is named by number and start time: after a reboot the number may be another's."""
    with contextlib.suppress(OSError):
        if started(step["pid"]) == step["started"]:
            os.kill(step["pid"], signal.SIGKILL)


def _run(step: Step) -> None:
    subprocess.run(step["argv"], check=step.get("check", True), capture_output=True)


def started(pid: int) -> int:
    """Start time of a process, in clock ticks since boot. Raises OSError when there is none."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


KINDS: dict[str, Callable[[Step], None]] = {
    "file": _file,
    "attributes": restore_attributes,
    "unlink": _unlink,
    "rmtree": _rmtree,
    "rmdir": _rmdir,
    "remove_guest": _remove_guest,
    "define_xml": _define_xml,
    "define_filter": _define_filter,
    "enforcing": _enforcing,
    "boolean": _boolean,
    "policy": _policy,
    "daemon": _daemon,
    "kill": _kill,
    "run": _run,
    "nothing": lambda _step: None,
}
