# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policy modules in CIL: the types that they make permissive.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re

#: Priorities of the distribution's modules.
SHIPPED_PRIORITIES = (100, 200)

_COMMENT = re.compile(r";[^\n]*")
_PERMISSIVE = re.compile(r"\(\s*typepermissive\s+([\w.$@+-]+)\s*\)")


def permissive_types(cil: bytes) -> tuple[list[str], bool]:
    """Types that a module makes permissive, and whether it does nothing else."""
    text = _COMMENT.sub("", cil.decode("utf-8", "replace"))
    return _PERMISSIVE.findall(text), not _PERMISSIVE.sub("", text).strip()
