# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and levels as arguments of templates.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import LabelError

from ..module_utils._core.selinux import context as label

#: Start of a level or range, but not of a label.
_SENSITIVITY = re.compile(r"s[0-9]+(?:[:-]|\Z)")


def levels(value: t.Any, plugin: str) -> tuple[label.Level, label.Level]:
    """Low and high level of a label, level or range. Raises AnsibleFilterError."""
    if not isinstance(value, str):
        raise AnsibleFilterError(f"svirt.fleet.{plugin} takes a label or level as text, not {type(value).__name__}")
    try:
        if _SENSITIVITY.match(value) or value.count(":") < 2:
            return label.parse_range(value)
        context = label.parse_context(value)
        return context.low, context.high
    except LabelError as error:
        raise AnsibleFilterError(f"svirt.fleet.{plugin}: {error}") from error
