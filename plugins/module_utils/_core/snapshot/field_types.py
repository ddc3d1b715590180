# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of a dataclass's fields, on every Python of hosts.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

_OPTIONAL = re.compile(r"(.+) \| None")


def field_types(kind: type) -> dict[str, t.Any]:
    """The types by the names of fields, those of base classes included."""
    try:
        return t.get_type_hints(kind)
    except TypeError:  # Python 3.9 evaluates no ``X | None``
        return written_as_optional(kind)


def written_as_optional(kind: type) -> dict[str, t.Any]:
    """The same where Python cannot evaluate ``X | None``, which is the only union that fields have."""
    types: dict[str, t.Any] = {}
    for owner in reversed(kind.__mro__[:-1]):
        written = {name: _OPTIONAL.sub(r"Optional[\1]", text) for name, text in _annotations(owner).items()}
        stand_in = type(owner.__name__, (), {"__annotations__": written, "__module__": owner.__module__})
        types.update(t.get_type_hints(stand_in, localns={"Optional": t.Optional}))
    return types


def _annotations(owner: type) -> dict[str, str]:
    own: dict[str, str] = vars(owner).get("__annotations__", {})
    return own
