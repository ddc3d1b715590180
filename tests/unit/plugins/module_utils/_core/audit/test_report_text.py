# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json
import typing as t

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_text import report_text
from hypothesis import given

from tests.unit.support.reports import READ, a_finding, built, documents, whole


@given(documents())
def test_the_text_is_the_document(document: dict[str, t.Any]) -> None:
    assert json.loads(report_text(document)) == document


def test_hosts_and_findings_have_a_line_each() -> None:
    document = whole()
    lines = report_text(document).splitlines()
    for name in ("hosts", "findings", "waived"):
        start = lines.index(f' "{name}": [') + 1
        entries = [json.loads(line.rstrip(",")) for line in lines[start : start + len(document[name])]]
        assert entries == document[name]


def test_a_thousand_hosts_with_two_thousand_findings_take_at_most_two_megabytes() -> None:
    """A tenth of what a report of 10,000 hosts may take."""
    hosts = [
        report.HostResult(
            f"kvm{number:05}",
            "",
            READ,
            (),
            tuple(a_finding(f"kvm{number:05}", f"guest{place}", evidence={"x": "y" * 200}) for place in range(2)),
        )
        for number in range(1_000)
    ]
    assert len(report_text(built(hosts))) <= 2_000_000
