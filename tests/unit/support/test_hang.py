# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hang is interrupted, whatever errors the work catches, and nothing of the limits is left behind."""

from __future__ import annotations

import contextlib
import signal
import time
import typing as t

import pytest

from tests.unit.support.fuzzing import CASES, Cases
from tests.unit.support.hang import HangError, interrupted


def endless_loop() -> None:
    while True:
        with contextlib.suppress(Exception):
            sum(range(1000))


def endless_wait() -> None:
    while True:
        with contextlib.suppress(Exception):
            time.sleep(1000)


def state() -> list[object]:
    """Timers and handlers."""
    pairs = ((signal.ITIMER_PROF, signal.SIGPROF), (signal.ITIMER_REAL, signal.SIGALRM))
    return [(signal.getitimer(timer), signal.getsignal(number)) for timer, number in pairs]


def hang(work: t.Callable[[], None], computing: float = 60.0, waiting: float = 600.0) -> str:
    """How work that does not end is interrupted."""
    before = state()
    with pytest.raises(HangError) as error, interrupted("case 1", computing, waiting) as watch:  # noqa: PT012
        watch.restart("case 2")
        work()
    assert state() == before
    return str(error.value)


def test_an_endless_loop_is_interrupted_and_named() -> None:
    assert hang(endless_loop, computing=0.05) == "case 2 hangs: it computes without end"


def test_an_endless_wait_is_interrupted_and_named() -> None:
    assert hang(endless_wait, waiting=0.05) == "case 2 hangs: it waits without end"


def test_work_that_ends_leaves_nothing_behind() -> None:
    before = state()
    with interrupted("work"):
        assert state() != before
    assert state() == before


def test_cases_are_the_same_for_the_same_numbers(cases: Cases) -> None:
    later = [(number, chance.random()) for number, chance in cases(3, 2)]
    assert later == [(number, chance.random()) for number, chance in cases(5)][2:]
    assert [number for number, _chance in cases()] == list(range(CASES))
