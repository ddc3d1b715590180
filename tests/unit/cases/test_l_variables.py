# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Misspelt variables and values, which must end a run before a host is contacted."""

from __future__ import annotations

import random
from unittest.mock import MagicMock

import pytest
from ansible_collections.svirt.fleet.plugins.action import preflight
from ansible_collections.svirt.fleet.plugins.plugin_utils import _variables

from tests.unit.support.actions import finished


def problems(**variables: object) -> list[tuple[str, str]]:
    """Variables with a problem, and what the task says of them."""
    task = MagicMock(args={}, async_val=0, check_mode=False, diff=False)
    templar = MagicMock(template=lambda value: value)
    parts = dict.fromkeys(("connection", "play_context", "loader", "shared_loader_obj"), MagicMock())
    action = preflight.ActionModule(task=task, templar=templar, **parts)
    action._load_name = "svirt.fleet.preflight"
    result = finished(lambda: action.run(task_vars=dict(variables)))
    assert bool(result["problems"]) is ("before any host was contacted" in result["msg"])
    return [(problem["variable"], problem["why"]) for problem in result["problems"]]


def test_l_a_misspelt_variable_is_refused_with_the_nearest() -> None:
    ((name, why),) = problems(svirt_failon="critical")
    assert (name, "did you mean svirt_fail_on?" in why) == ("svirt_failon", True)


def test_l_a_misspelt_choice_is_refused_with_the_nearest() -> None:
    ((name, why),) = problems(svirt_fail_on="hihg")
    assert (name, "did you mean high?" in why) == ("svirt_fail_on", True)


@pytest.mark.parametrize("name", sorted(_variables.VARIABLES))
def test_l_every_slip_of_one_letter_is_noticed(name: str) -> None:
    chance = random.Random(name)  # noqa: S311 - the same slips every time
    for place in range(len("svirt_"), len(name)):
        letter = chance.choice("abcdefghijklmnopqrstuvwxyz_")
        swapped = name[: place - 1] + name[place] + name[place - 1] + name[place + 1 :]
        for slip in (name[:place] + name[place + 1 :], name[:place] + letter + name[place:], swapped):
            if slip in _variables.VARIABLES or slip == name:
                continue
            ((wrong, why),) = problems(**{slip: "any"})
            assert wrong == slip
            assert "did you mean svirt_" in why
