# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import text
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain name", "plain name"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("back\\slash", "back\\\\slash"),
        ("\x1b[31mred\x9b", "\\x1b[31mred\\x9b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("mark\u0301", "mark\\u0301"),
        ("line\u2028end", "line\\u2028end"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("größe 主机", "größe 主机"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(raw: str, shown: str) -> None:
    assert text.escape(raw) == shown


def test_ascii_only_escapes_everything_else() -> None:
    assert text.escape("größe", ascii_only=True) == "gr\\xf6\\xdfe"


@given(st.text())
def test_an_escaped_text_has_no_character_that_a_terminal_obeys(raw: str) -> None:
    assert text.escape(raw).isprintable()
    assert text.escape(raw, ascii_only=True).isascii()


@given(st.text(), st.text())
def test_different_texts_are_shown_differently(one: str, other: str) -> None:
    assert (text.escape(one) == text.escape(other)) == (one == other)


@given(st.text(), st.integers(min_value=0, max_value=60))
def test_a_cut_text_fits(raw: str, width: int) -> None:
    assert text.columns(text.cut(text.escape(raw), width, "…")) <= width


def test_a_cut_keeps_both_ends_and_shows_the_gap() -> None:
    assert text.cut("/var/lib/libvirt/images/web01.qcow2", 20, "…") == "/var/lib/libv….qcow2"
    assert text.cut("short", 20, "…") == "short"


@given(st.text(), st.integers(min_value=2, max_value=60))
def test_wrapped_lines_fit_and_lose_nothing(raw: str, width: int) -> None:
    lines = text.wrap(text.escape(raw), width)
    assert all(text.columns(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.escape(raw).replace(" ", "")


def test_wide_characters_count_twice() -> None:
    assert text.columns("主机") == 4
