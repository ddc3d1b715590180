# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import base64
import hashlib
import re

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_model import read_report
from ansible_collections.svirt.fleet.plugins.plugin_utils._formats import html_page
from ansible_collections.svirt.fleet.plugins.plugin_utils._formats.table import FORMATS
from markupsafe import escape

from tests.unit.support.rendered import READERS, page_of
from tests.unit.support.reports import HOSTILE, READ, a_finding, built, read

PAGE = html_page.render(read())


def test_nothing_is_loaded_and_only_our_own_style_and_script_are_allowed() -> None:
    tags, attributes = page_of(PAGE)
    assert (tags["script"], tags["style"]) == (1, 1)
    assert not {"link", "img", "iframe", "object", "embed", "form", "base"} & set(tags)
    assert not {name for name in attributes if name.startswith("on")} | ({"src", "style"} & attributes)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', PAGE)
    assert policy
    for name in ("style", "script"):
        text = re.search(f"<{name}>(.*?)</{name}>", PAGE, re.DOTALL)
        assert text
        digest = base64.b64encode(hashlib.sha256(text[1].encode()).digest()).decode()
        assert f"{name}-src &#39;sha256-{digest}&#39;" in policy[1]
    assert "default-src &#39;none&#39;" in policy[1]
    assert "http:" not in PAGE.replace("http-equiv", "")
    assert "https:" not in PAGE


@pytest.mark.parametrize("text", [*HOSTILE, "<" * 5000, "\u202e" * 5000, "plain"])
@pytest.mark.parametrize("room", [1, 20, 600])
def test_a_text_takes_no_more_than_its_room(text: str, room: int) -> None:
    assert len(escape(html_page.fit(text, room))) <= room + 1


def large(hosts: int, findings: int, name: str) -> report.HostResult:
    members = [
        a_finding(f"kvm{hosts:05}", f"{name}{number}", evidence={"path": name * 40}) for number in range(findings)
    ]
    doubts = (f.Outcome("GST-001", f.UNKNOWN, f"guest {name * 20}{hosts}"),)
    return report.HostResult(f"kvm{hosts:05}", "", READ, doubts, tuple(members))


def test_a_large_fleet_with_hostile_names_has_at_most_five_megabytes() -> None:
    document = built([large(number, 2, "<&>\u202e") for number in range(10_000)])
    page = html_page.render(read_report(document))
    assert len(page.encode()) < 5_000_000
    shown = READERS["html"](page)
    assert shown.found == {finding["fingerprint"] for finding in document["findings"]}
    assert len(shown.found) == 20_000
    assert shown.hosts["fail"] == 10_000


def test_the_format_is_in_the_table() -> None:
    assert FORMATS["html"].render is html_page.render
