# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canonical form of a level, for templates."""

from __future__ import annotations

import typing as t

from ansible_collections.svirt.fleet.plugins.plugin_utils import _label


def canonical_level(value: t.Any) -> str:
    """The level or range of a label, level or range, in canonical form."""
    low, high = _label.levels(value, "canonical_level")
    return str(low) if low == high else f"{low}-{high}"


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The filters of this file, by name."""
        return {"canonical_level": canonical_level}
