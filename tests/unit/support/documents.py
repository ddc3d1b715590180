# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Parts of a snapshot on their way through its JSON form."""

from __future__ import annotations

import json
import sys
import typing as t

from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import document


def assert_fits(value: t.Any) -> None:
    """Its document is JSON, and the controller reads the same from it. A host's oldest Python reads no documents."""
    text = json.dumps(document.encode(value), allow_nan=False)
    if sys.version_info >= (3, 10):
        assert document.decode(type(value), json.loads(text), "value") == value
