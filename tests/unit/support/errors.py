# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expected errors of the product: told apart by their code, never by their words."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import SvirtError


@contextlib.contextmanager
def raised(code: str, *names: object) -> t.Iterator[None]:
    """An error with this code, whose message contains each of the names: what it is about."""
    with pytest.raises(SvirtError) as error:
        yield
    assert error.value.code == code, f"{error.value.code}: {error.value}"
    missing = [str(name) for name in names if str(name) not in str(error.value)]
    assert missing == [], f"{error.value} does not name {missing}"
