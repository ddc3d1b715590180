# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs commands in turn and keeps their wall-clock times."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


class BenchError(Exception):
    """A command that was to be measured failed."""


@dataclass
class Series:
    """Wall-clock seconds of one command's counted runs."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median, seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Command:
    """A command line, its environment, and the exit statuses that mean it did its work."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    expected: tuple[int, ...] = (0,)

    def run(self) -> float:
        """Run it once; its seconds. Raises BenchError with the tail of its output when it fails."""
        started = time.monotonic()
        result = subprocess.run(self.words, env=dict(self.environment), capture_output=True, text=True, check=False)
        seconds = time.monotonic() - started
        if result.returncode not in self.expected:
            tail = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
            raise BenchError(f"{' '.join(self.words)} ended with {result.returncode}:\n{tail}")
        return seconds


def take_turns(commands: Mapping[str, Command], runs: int) -> dict[str, Series]:
    """One warm-up and ``runs`` counted runs of each command, A B C A B C …"""
    series = {name: Series() for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            seconds = command.run()
            if turn:
                series[name].seconds.append(seconds)
            print(f"  {'warm-up' if not turn else f'run {turn} of {runs}'}: {name} {seconds:.1f} s", flush=True)
    return series


def table(series: Mapping[str, Series]) -> str:
    """The figures, a line each."""
    lines = [f"{'seconds':<22}{'median':>8}{'min':>8}{'max':>8}"]
    for name, one in series.items():
        lines.append(f"{name:<22}{one.median:8.2f}{min(one.seconds):8.2f}{max(one.seconds):8.2f}")
    return "\n".join(lines)
