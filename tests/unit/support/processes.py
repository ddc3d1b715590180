# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that hold files, for tests of what is in use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.svirt.fleet.plugins.module_utils._host.base.root import Root

OPENS = "import sys; file = open(sys.argv[1], 'rb')"


class OwnProcesses(Root):
    """This machine with only the processes that tests started: where tests run in a box, others cannot be looked at."""

    def __init__(self) -> None:
        self._started = os.getpid()

    def listdir(self, path: str) -> list[str]:
        result = super().listdir(path)
        return [name for name in result if path != "/proc" or self._ours(name)]

    def _ours(self, pid: str) -> bool:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False
        return pid.isdigit() and int(fields[1]) == self._started


def holding(program: str, *words: str) -> subprocess.Popen[bytes]:
    """A process that runs this program, says when it has come so far, and waits to be killed."""
    child = subprocess.Popen(
        [sys.executable, "-c", f"{program}\nprint(flush=True)\nimport time\ntime.sleep(60)", *words],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    return child
