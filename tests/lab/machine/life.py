# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Distinguishes a slow boot from a hang, by a host's serial log and the processor time that it uses."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Seconds without a sign of life after which a host is given up: far more than any step of a boot that waits.
SILENCE = 300.0
#: Processor seconds that count as a sign of life. A host that hangs idle takes longer than SILENCE for them.
WORK = 5.0
#: Processor seconds without a word on the serial line after which a host is given up: a whole emulated boot takes 90.
SPIN = 600.0
#: Seconds that no boot takes, however slow the machine is.
LONGEST = 5400.0

_FATAL = re.compile(
    r"Kernel panic|end Kernel panic|Oops: |Unable to mount root|Failed to load SELinux policy|"
    r"You are in emergency mode|grub rescue>"
)


@dataclass
class Life:
    """What was seen of a host since it was started. Times in seconds; ``now`` is of a clock that only goes forward."""

    started: float
    heard: int = 0  #: bytes of its serial log
    cpu_at_word: float = 0.0
    cpu_at_sign: float = 0.0
    last_sign: float = 0.0

    def __post_init__(self) -> None:
        self.last_sign = self.started

    def look(self, now: float, serial: int, cpu: float) -> str | None:
        """Note the size of the serial log and the processor seconds used; why the host is given up, or None.

        A log that became shorter was begun anew, by a reboot.
        """
        if serial != self.heard:
            self.heard, self.cpu_at_word = serial, cpu
            self.cpu_at_sign, self.last_sign = cpu, now
        elif cpu - self.cpu_at_sign >= WORK:
            self.cpu_at_sign, self.last_sign = cpu, now
        if now - self.last_sign > SILENCE:
            return f"no sign of life for {SILENCE:.0f} s: its serial log does not grow and it uses no processor"
        if cpu - self.cpu_at_word > SPIN:
            return f"it used {SPIN:.0f} processor seconds without a word on its serial line"
        if now - self.started > LONGEST:
            return f"it still boots after {LONGEST:.0f} s"
        return None


def fatal(serial: bytes) -> str | None:
    """The words in a serial log after which a host does not come up any more."""
    found = _FATAL.search(serial.decode("utf-8", "replace"))
    return found.group(0) if found else None
