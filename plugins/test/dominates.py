# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dominance of levels, for templates."""

from __future__ import annotations

import typing as t

from ansible_collections.svirt.fleet.plugins.plugin_utils import _label


def dominates(value: t.Any, other: t.Any) -> bool:
    """Whether the high level of the first label, level or range dominates that of the other."""
    return _label.levels(value, "dominates")[1].dominates(_label.levels(other, "dominates")[1])


class TestModule:
    """Tests of this file."""

    __test__ = False  # for pytest: the name is Ansible's

    def tests(self) -> dict[str, t.Callable[..., bool]]:
        """The tests of this file, by name."""
        return {"dominates": dominates}
