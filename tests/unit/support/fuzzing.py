# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutated texts: real captures with spans deleted, repeated, moved and overwritten, the same for the same number."""

from __future__ import annotations

import os
import random
import typing as t
from collections.abc import Sequence

import pytest

from .hang import Watch

SOAKING = os.environ.get("SVIRT_SOAK") == "1"
#: Cases of one fuzz test: few in a run of the unit tests, many in ``make soak``.
CASES = 20_000 if SOAKING else 500
#: Numbers and chances of so many cases, CASES unless stated, from a number on.
Cases = t.Callable[..., t.Iterator[tuple[int, random.Random]]]


def chance_of(number: int) -> random.Random:
    """The chance that makes a case."""
    return random.Random(number)  # noqa: S311 - nothing secret


@pytest.fixture
def cases(no_hang: Watch) -> Cases:
    """The cases of a fuzz test, each by its number, which makes its chance. One that hangs is interrupted and named."""

    def each(count: int = CASES, first: int = 0) -> t.Iterator[tuple[int, random.Random]]:
        for number in range(first, first + count):
            no_hang.restart(f"case {number}")
            yield number, chance_of(number)

    return each


def mutated(text: str, chance: random.Random, tokens: Sequence[str]) -> str:
    """The text after a few mutations; ``tokens`` are words of its language."""
    for _number in range(chance.randint(1, 6)):
        start = chance.randint(0, len(text))
        end = min(len(text), start + chance.choice((1, 1, 3, 20, 200)))
        span = text[start:end]
        edit = chance.randrange(6)
        if edit == 0:
            text = text[:start] + text[end:]
        elif edit == 1:
            text = text[:end] + span * chance.randint(1, 3) + text[end:]
        elif edit == 2:
            text = text[:start] + chance.choice(tokens) + text[start:]
        elif edit == 3:
            text = text[:start] + chr(chance.randrange(256)) + text[start + 1 :]
        elif edit == 4:
            place = chance.randint(0, len(text))
            text = text[:place] + span + text[place:]
        else:
            text = text[:start] + chance.choice(tokens) + text[end:]
    return text
