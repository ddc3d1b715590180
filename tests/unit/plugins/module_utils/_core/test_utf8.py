# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.utf8 import clean, clean_text
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web", "web"),
        ("Büro 東京 😀", "Büro 東京 😀"),
        ("a\udcffb", "a\\xffb"),
        ("a\ud800b\udfff", "a\\ud800b\\udfff"),
        ("\ud83d\ude00", "\\ud83d\\ude00"),  # two halves stay two halves
        ("\x00\x1b[31m", "\x00\x1b[31m"),  # valid text; terminals have their own escapes
    ],
)
def test_surrogates_are_escaped(text: str, expected: str) -> None:
    assert clean_text(text) == expected


def test_plain_data_is_cleaned_throughout() -> None:
    assert clean({"a\udcff": ["x", ("y\ud800", 5, None, True)]}) == {"a\\xff": ["x", ["y\\ud800", 5, None, True]]}


@given(st.text(st.characters()))
def test_clean_text_is_utf_8_and_stays_as_it_is(text: str) -> None:
    cleaned = clean_text(text)
    json.dumps(cleaned, ensure_ascii=False).encode()
    assert clean_text(cleaned) == cleaned
