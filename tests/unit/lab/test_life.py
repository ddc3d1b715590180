# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that boots slowly is waited for; a host that hangs is given up, with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.machine.life import LONGEST, SILENCE, SPIN, WORK, Life, fatal


def test_host_that_speaks_is_waited_for_however_slow_it_is() -> None:
    life = Life(0.0)
    step = SILENCE - 1
    looks = [life.look(step * number, number, 0.0) for number in range(1, int(LONGEST / step))]
    assert looks == [None] * len(looks)


def test_host_that_works_without_a_word_is_waited_for_until_it_has_used_too_much() -> None:
    life = Life(0.0)
    looks = {cpu: life.look(cpu * 3, 0, float(cpu)) for cpu in range(0, int(SPIN) + 20, int(WORK))}
    assert [cpu for cpu, why in looks.items() if why] == [cpu for cpu in looks if cpu > SPIN]
    assert "processor seconds" in str(looks[max(looks)])


def test_host_that_neither_speaks_nor_works_is_given_up_after_the_silence() -> None:
    life = Life(100.0)
    assert life.look(100.0 + SILENCE, 0, WORK / 2) is None
    why = life.look(101.0 + SILENCE, 0, WORK / 2)
    assert why is not None
    assert "no sign of life" in why


def test_limit_counts_from_the_last_sign() -> None:
    life = Life(0.0)
    assert life.look(SILENCE - 1, 10, 0.0) is None
    assert life.look(2 * SILENCE - 2, 10, 0.0) is None
    assert life.look(2 * SILENCE + 1, 10, 0.0) is not None


def test_log_that_is_begun_anew_is_a_sign_of_life() -> None:
    life = Life(0.0)
    assert life.look(SILENCE, 1000, 0.0) is None
    assert life.look(2 * SILENCE, 10, 0.0) is None


def test_no_boot_goes_on_for_ever() -> None:
    life = Life(0.0)
    looks = [life.look(float(now), now, 0.0) for now in range(0, int(LONGEST) + 200, 100)]
    assert looks[-1] is not None
    assert looks[0] is None


@given(st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 50), st.floats(0, 50)), max_size=80))
def test_a_host_is_given_up_at_some_time_and_not_before_the_silence(steps: list[tuple[float, int, float]]) -> None:
    life, now, serial, cpu = Life(0.0), 0.0, 0, 0.0
    for seconds, words, work in steps:
        now, serial, cpu = now + seconds, serial + words, cpu + work
        if life.look(now, serial, cpu):
            assert now > SILENCE or cpu > SPIN
            return
    assert life.look(now + LONGEST + SILENCE, serial, cpu)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (b"[  1.0] Kernel panic - not syncing: VFS", "Kernel panic"),
        (b"\xff\xfe Oops: int3: 0000", "Oops: "),
        (b"grub rescue> ", "grub rescue>"),
        (b"[  OK  ] Reached target Multi-User System.", None),
        (b"", None),
    ],
)
def test_fatal_words(log: bytes, words: str | None) -> None:
    assert fatal(log) == words
