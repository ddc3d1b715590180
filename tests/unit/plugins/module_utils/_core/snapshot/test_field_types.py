# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of fields are the same on every Python."""

from __future__ import annotations

import inspect
import sys
import typing as t
from dataclasses import dataclass, is_dataclass

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report_model
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.field_types import (
    field_types,
    written_as_optional,
)

KINDS = [
    kind
    for module in (model, report_model)
    for _name, kind in inspect.getmembers(module, inspect.isclass)
    if is_dataclass(kind)
]


@dataclass
class Base:
    name: str
    sizes: list[int] | None


@dataclass
class Derived(Base):
    name: str | None  # type: ignore[assignment]
    base: Base | None


def test_a_field_may_be_none() -> None:
    expected = {"name": t.Optional[str], "sizes": t.Optional[list[int]], "base": t.Optional[Base]}
    assert field_types(Derived) == expected
    assert written_as_optional(Derived) == expected


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 does not evaluate X | None")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_types_of_documents_are_those_that_python_evaluates(kind: type) -> None:
    assert written_as_optional(kind) == t.get_type_hints(kind)
