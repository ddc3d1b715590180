# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test ``dominates``."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.svirt.fleet.plugins.test import dominates


@pytest.mark.parametrize(
    ("value", "other", "outcome"),
    [
        ("s0:c1,c2", "s0:c2,c1", True),
        ("s0:c1,c2", "s0:c1", True),
        ("s0:c1,c2", "s0", True),
        ("s0:c1,c2", "s0:c1,c3", False),
        ("s0:c1.c3", "s0:c2", True),
        ("s0", "s0:c1", False),
        ("u:r:svirt_t:s0:c1,c2", "u:object_r:svirt_image_t:s0:c1,c2", True),
        ("u:r:virtd_t:s0-s0:c0.c1023", "u:object_r:svirt_image_t:s0:c9,c11", True),
        ("u:r:svirt_t:s0:c1,c2", "s0:c3,c4", False),
    ],
)
def test_dominance(value: str, other: str, outcome: bool) -> None:
    assert dominates.TestModule().tests()["dominates"](value, other) is outcome


@pytest.mark.parametrize(("value", "other"), [("SystemLow", "s0"), ("s0", "SystemHigh"), (None, "s0"), ("s0", 5)])
def test_what_is_no_level(value: object, other: object) -> None:
    with pytest.raises(AnsibleFilterError, match=r"svirt\.fleet\.dominates"):
        dominates.dominates(value, other)
