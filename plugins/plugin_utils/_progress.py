# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of one task over many hosts: how many are done, and which have been at work longest.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..module_utils._core.audit.text import escape

#: Hosts that a line names.
_NAMED = 3
#: The longest time between two lines, in seconds.
_LONGEST = 60.0


@dataclass
class TaskProgress:
    """Progress of one task. Times are seconds of one clock.

    name: the task, as a line names it.
    total: hosts of the play when the task began.
    """

    name: str
    total: int
    began: float
    #: Seconds until the first line.
    after: float = 10.0
    _at_work: dict[str, float] = field(default_factory=dict)
    _done: int = 0
    _lines: int = 0

    def started(self, host: str, now: float) -> None:
        self._at_work[host] = now

    def ended(self, host: str) -> None:
        """The host is done; a host that was not started is not counted."""
        if self._at_work.pop(host, None) is not None:
            self._done += 1

    def wait(self) -> float:
        """Seconds until the next line: as many more each time as until the first one."""
        return max(self.after, min(self.after * (self._lines + 1), _LONGEST))

    def line(self, now: float) -> str:
        """The line of this moment; empty when no host is at work."""
        if not self._at_work:
            return ""
        self._lines += 1
        slowest = sorted(self._at_work.items(), key=lambda item: (item[1], item[0]))
        named = ", ".join(f"{escape(host)} ({now - since:.0f} s)" for host, since in slowest[:_NAMED])
        further = len(slowest) - _NAMED
        more = f" and {further} more" if further > 0 else ""
        count = f"{self._done} of {self.total} hosts done after {now - self.began:.0f} s"
        return f"{self.name}: {count}; at work: {named}{more}"
