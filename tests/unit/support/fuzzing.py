# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutated texts: real captures with spans deleted, repeated, moved and overwritten, the same for the same number."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

#: Cases of one fuzz test: few in a run of the unit tests, many in ``make soak``.
CASES = 20_000 if os.environ.get("SVIRT_SOAK") == "1" else 500
#: Seconds of processor time that one case may take.
MOST_SECONDS = 5.0


def chance_of(number: int) -> random.Random:
    """The chance that makes a case."""
    return random.Random(number)  # noqa: S311 - nothing secret


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
