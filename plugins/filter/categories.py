# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The categories of a label or level, for templates."""

from __future__ import annotations

import typing as t

from ansible_collections.svirt.fleet.plugins.plugin_utils import _label


def categories(value: t.Any) -> list[int]:
    """Numbers of the categories of a label, level or range, ascending."""
    return list(_label.levels(value, "categories")[1].categories)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The filters of this file, by name."""
        return {"categories": categories}
