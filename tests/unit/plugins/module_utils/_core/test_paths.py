# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.paths import parent
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("path", "folder"),
    [("/a/b", "/a"), ("/a", "/"), ("/", "/"), ("//", "/"), ("//a", "/"), ("///a/b", "///a"), ("a/b", "a"), ("a", "")],
)
def test_folder_of_a_path(path: str, folder: str) -> None:
    assert parent(path) == folder


@given(st.text("/a.", max_size=30))
def test_every_path_ends_at_the_root_or_the_empty_one(path: str) -> None:
    for _step in range(len(path) + 1):
        path = parent(path)
    assert path in ("/", "")
