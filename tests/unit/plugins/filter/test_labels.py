# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters on labels, through Ansible's own templating where it matters."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.svirt.fleet.plugins.filter import canonical_level, categories


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        ("system_u:system_r:svirt_t:s0:c392,c17", [17, 392]),
        ("system_u:system_r:virtd_t:s0-s0:c0.c3", [0, 1, 2, 3]),
        ("s0:c5,c1.c2", [1, 2, 5]),
        ("s0:c1-s0:c1,c3", [1, 3]),
        ("s0", []),
        ("u:r:t:s0", []),
    ],
)
def test_categories(value: str, numbers: list[int]) -> None:
    assert categories.FilterModule().filters()["categories"](value) == numbers


@pytest.mark.parametrize(
    ("value", "level"),
    [
        ("s0:c3,c2,c1", "s0:c1.c3"),
        ("u:r:t:s0-s0:c2,c1", "s0-s0:c1,c2"),
        ("s0-s0", "s0"),
        ("s0:c1-s0:c1,c3", "s0:c1-s0:c1,c3"),
    ],
)
def test_canonical_level(value: str, level: str) -> None:
    assert canonical_level.FilterModule().filters()["canonical_level"](value) == level


@pytest.mark.parametrize("function", [categories.categories, canonical_level.canonical_level])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("SystemLow", "mcstransd"),
        ("u:r:svirt_t:SystemLow", "mcstransd"),
        ("u:r:svirt_t", "no level"),
        ("s0:c2000", "outside c0 to c1023"),
        ("", "sensitivity"),
        (None, "takes a label or level as text, not NoneType"),
        (["s0"], "not list"),
        ({}, "not dict"),
    ],
)
def test_what_is_no_label(function: t.Callable[[t.Any], t.Any], value: t.Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        function(value)
