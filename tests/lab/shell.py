# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Progress lines and processes: the only place that starts a command and waits for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .errors import LabError

_START = time.monotonic()


def say(text: str) -> None:
    """Print one progress line, with the seconds since the program began."""
    print(f"[{time.monotonic() - _START:6.1f}s] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a step and say how many seconds it took."""
    say(f"{text} ...")
    begin = time.monotonic()
    yield
    say(f"{text}: {time.monotonic() - begin:.1f} s")


class Progress:
    """Counts what a long step has done, and says so every few seconds."""

    EVERY = 15.0

    def __init__(self, subject: str, total: int) -> None:
        self.subject, self.total, self.done = subject, total, 0
        self._said = time.monotonic()

    def count(self) -> None:
        self.done += 1
        if time.monotonic() - self._said >= self.EVERY:
            self._said = time.monotonic()
            say(f"{self.subject}: {self.done} of about {max(self.total, self.done)}")


def run(
    argv: Sequence[str],
    *,
    stdin: str | bytes | None = None,
    timeout: float | None = None,
    check: bool = True,
    env: dict[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end and return it with its output.

    timeout is in seconds. descriptors: open files that the command inherits. Raises LabError when the command is
    missing, runs out of time, or (check) fails.
    """
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(
            list(argv),
            input=data if data is not None else b"",
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **env} if env else None,
            pass_fds=descriptors,
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]}: no such command; install the package that has it") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv)[:200]}: not done after {timeout:.0f} s") from error
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(argv)[:200]}: exit status {done.returncode}\n{tail(done.stderr or done.stdout)}")
    return done


def mortal(argv: Sequence[str], signal: str = "TERM") -> list[str]:
    """The command, ended when this program is killed: it is not to write where the next run cleans up."""
    return ["setpriv", "--pdeathsig", signal, *argv]


def tail(output: bytes, lines: int = 25) -> str:
    """The last lines of an output, safe to print."""
    text = output.decode("utf-8", "replace").rstrip().splitlines()[-lines:]
    return "\n".join("".join(c if c.isprintable() or c == "\t" else "?" for c in line) for line in text)


def as_root(argv: Sequence[str]) -> list[str]:
    """The command as root: as it is when we are root, else through sudo. Raises LabError without either."""
    if os.geteuid() == 0:
        return list(argv)
    sudo = shutil.which("sudo")
    if sudo is None:
        raise LabError(f"{argv[0]} must run as root, and there is no sudo; run the lab as root")
    return [sudo, *argv]
