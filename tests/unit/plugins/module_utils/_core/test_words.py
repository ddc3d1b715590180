# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.words import and_more, some


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b, c"), (["a", "b", "c", "d", "e"], "a, b, c and 2 more")],
)
def test_names_are_cut_after_three(names: list[str], text: str) -> None:
    assert some(names) == text


def test_number_of_names_and_separator_can_be_chosen() -> None:
    assert some(["a", "b", "c"], 2, "; ") == "a; b and 1 more"


def test_nothing_left_out_adds_nothing() -> None:
    assert [and_more(count) for count in (-1, 0, 1)] == ["", "", " and 1 more"]
