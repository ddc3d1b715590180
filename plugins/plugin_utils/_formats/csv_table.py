# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one CSV table: first the fleet, then hosts, findings, waived findings and unused waivers.

A cell that a spreadsheet would take for a formula begins with an apostrophe.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from ...module_utils._core.audit.finding import SEVERITIES
from ...module_utils._core.audit.report_model import Report, ReportedFinding, ReportedWaiver, SeverityCounts
from ...module_utils._core.audit.text import visible_text
from .answer import doubts, evidence_json

COLUMNS = (
    "record status host rule severity class subject fingerprint title fix cost why reason expires evidence".split()
)
#: Beginnings of formulas; the last four are full-width forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

Row = dict[str, str]


def render(report: Report) -> str:
    """The table, as RFC 4180 has it."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*COLUMNS, *SEVERITIES], restval="", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    for row in _rows(report):
        writer.writerow({name: cell(value) for name, value in row.items()})
    return stream.getvalue()


def cell(text: str) -> str:
    """A text that a spreadsheet shows as it is."""
    shown = visible_text(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _rows(report: Report) -> Iterator[Row]:
    yield {"record": "fleet", "status": report.verdict, **_counts(report.fleet.findings)}
    for host in report.hosts:
        row = {"record": "host", "status": host.verdict, "host": host.name, "why": host.why}
        yield {**row, **_counts(host.counts)}
        for rule, why in doubts(host):
            yield {"record": "doubt", "status": "unknown", "host": host.name, "rule": rule, "why": why}
        for rule, number in sorted(host.omitted.by_rule.items()) if host.omitted else ():
            why = f"{number} findings counted but not listed"
            yield {"record": "omitted", "status": "open", "host": host.name, "rule": rule, "why": why}
    for name in report.fleet.left_out:
        yield {"record": "left_out", "status": "unknown", "host": name, "why": "outside --limit"}
    for finding in report.findings:
        yield {"record": "finding", "status": "open", **_finding(finding)}
    for waived in report.waived:
        yield {"record": "finding", "status": "waived", **_finding(waived), **_waiver(waived.waiver)}
    for waiver in report.unused_waivers:
        named = {"rule": waiver.rule or "", "subject": waiver.subject or "", "host": waiver.host or ""}
        row = {"record": "unused_waiver", "fingerprint": waiver.fingerprint or "", **named}
        yield {**row, **_waiver(waiver)}


def _counts(counts: SeverityCounts) -> Row:
    return {severity: str(number) for severity, number in counts.items()}


def _waiver(waiver: ReportedWaiver) -> Row:
    return {"reason": waiver.reason, "expires": waiver.expires}


def _finding(finding: ReportedFinding) -> Row:
    return {
        "host": finding.host or " ".join(finding.hosts),
        "rule": finding.rule,
        "severity": finding.severity,
        "class": finding.reach or "",
        "subject": finding.subject,
        "fingerprint": finding.fingerprint,
        "title": finding.title,
        "fix": finding.fix,
        "cost": finding.cost,
        "evidence": evidence_json(finding),
    }
