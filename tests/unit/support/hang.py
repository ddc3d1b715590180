# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that hangs is interrupted and named, so that its test fails instead of the run.

The limits are far beyond what any work needs: they measure no speed. Processor time is what an endless loop uses; the
clock on the wall is for work that waits. Children have no limit from here: their parent waits for them.
"""

from __future__ import annotations

import contextlib
import signal
import types
import typing as t

import pytest

#: Seconds of processor time after which work is in an endless loop.
COMPUTING = 60.0
#: Seconds after which work waits for what never comes.
WAITING = 600.0

_TIMERS = ((signal.ITIMER_PROF, signal.SIGPROF), (signal.ITIMER_REAL, signal.SIGALRM))


class HangError(BaseException):
    """Work that did not end. It is no Exception: the work under test may catch those."""


class Watch:
    """Limits of the work that runs now, in the main thread."""

    def __init__(self, work: object, computing: float, waiting: float) -> None:
        self._work = work
        self._seconds = (computing, waiting)

    def restart(self, work: object) -> None:
        """The next work begins, with the whole of both limits."""
        self._work = work
        for (timer, _number), seconds in zip(_TIMERS, self._seconds):
            signal.setitimer(timer, seconds)

    def stop(self) -> None:
        """No work runs any longer."""
        for timer, _number in _TIMERS:
            signal.setitimer(timer, 0)

    def interrupt(self, number: int, _frame: types.FrameType | None) -> t.NoReturn:
        """Handler of both signals."""
        kind = "computes" if number == signal.SIGPROF else "waits"
        raise HangError(f"{self._work} hangs: it {kind} without end")


@contextlib.contextmanager
def interrupted(work: object, computing: float = COMPUTING, waiting: float = WAITING) -> t.Iterator[Watch]:
    """Interrupt the work inside with HangError if it does not end; not nested."""
    watch = Watch(work, computing, waiting)
    before = [(number, signal.signal(number, watch.interrupt)) for _timer, number in _TIMERS]
    try:
        watch.restart(work)
        yield watch
    finally:
        watch.stop()
        for number, handler in before:
            signal.signal(number, handler)


@pytest.fixture
def no_hang(request: pytest.FixtureRequest) -> t.Iterator[Watch]:
    """The test is interrupted if it does not end."""
    with interrupted(request.node.name) as watch:
        yield watch
