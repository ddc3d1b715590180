# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import document as d
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support import hosts


@pytest.mark.parametrize("make", [hosts.el9, hosts.fedora, hosts.apparmor, hosts.bare])
def test_a_document_is_what_the_schema_says(make: t.Callable[[], t.Any]) -> None:
    snapshot = hosts.look(make())
    assert d.document(snapshot) == encode(snapshot)


@given(st.binary(max_size=200))
def test_any_bytes_of_a_host_become_valid_text(content: bytes) -> None:
    snapshot = hosts.look(hosts.bare())
    snapshot.host.name = content.decode("utf-8", "surrogateescape")
    name = d.document(snapshot)["host"]["name"]
    name.encode("utf-8")
    if snapshot.host.name.isprintable():
        assert name == snapshot.host.name


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain", "plain"),
        ("Zürich \U0001f600", "Zürich \U0001f600"),
        ("caf\udce9", "caf\\xe9"),
        ("lone \ud800", "lone \\ud800"),
        ("x" * 70_000, "x" * 65_530 + "…(cut)"),
    ],
)
def test_texts(text: str, clean: str) -> None:
    snapshot = hosts.look(hosts.bare())
    snapshot.host.os = text
    assert d.document(snapshot)["host"]["os"] == clean
