# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""A boot that ends by itself, to build an image or to try a kernel."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.shell import tail

from .life import Life, fatal
from .process import cpu_seconds, descendants, kill


def boot_to_end(
    argv: Sequence[str], serial: Path, *, console: bool = False, env: Mapping[str, str] | None = None
) -> bytes:
    """Run a host until its process ends, and return its serial log.

    console: its standard output is the serial line; otherwise the command writes the log itself. Raises LabError, with
    the end of the log, on a panic, when it shows no sign of life any more, or when it ends with an error.
    """
    said = serial.with_suffix(".said")
    with serial.open("wb") as log, said.open("wb") as other:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log if console else other,
            stderr=log if console else other,
            env=env,
            start_new_session=True,
        )
    try:
        _follow(process, serial)
    finally:
        if process.poll() is None:
            kill(descendants(process.pid))
            process.wait()
    if process.returncode != 0 and not console:  # User-Mode Linux ends with the number of a signal
        raise LabError(f"{argv[0]} left with {process.returncode}: {tail(said.read_bytes())}")
    return serial.read_bytes()


def _follow(process: subprocess.Popen[bytes], serial: Path) -> None:
    life = Life(time.monotonic())
    while process.poll() is None:
        log = serial.read_bytes()
        why = fatal(log) or life.look(time.monotonic(), len(log), cpu_seconds(descendants(process.pid)))
        if why:
            raise LabError(f"given up: {why}; {end_of(serial)}")
        time.sleep(0.5)


def end_of(serial: Path) -> str:
    """The end of a serial log, for a message that outlives the log."""
    data = serial.read_bytes() if serial.exists() else b""
    return f"end of its serial log ({serial}):\n{tail(data, 30)}" if data else f"its serial log ({serial}) is empty"
