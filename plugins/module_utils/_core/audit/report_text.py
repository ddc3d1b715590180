# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as JSON text: one line for each host, finding and waived finding, which takes little room in large fleets.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t

#: Fields whose lists grow with the fleet.
_LONG = ("findings", "hosts", "waived")


def report_text(document: t.Mapping[str, t.Any]) -> str:
    """The document in ASCII, with sorted keys."""
    lines = [f" {json.dumps(name)}: {_field(name, value)}" for name, value in sorted(document.items())]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _field(name: str, value: t.Any) -> str:
    if name in _LONG and isinstance(value, list) and value:
        return "[\n  " + ",\n  ".join(map(_line, value)) + "\n ]"
    return _line(value)


def _line(value: t.Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
