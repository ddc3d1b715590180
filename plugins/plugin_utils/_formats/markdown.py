# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as Markdown, as forges and wikis show it. Names are shown as text, whatever they contain.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ...module_utils._core.audit.finding import COSTS
from ...module_utils._core.audit.report_model import Report, ReportedFinding, WaivedFinding
from ...module_utils._core.audit.text import escape
from .answer import QUESTION, VERDICT_WORDS, answer, by_rule, changes, doubts, many, value_text, where

_MARKUP = re.compile(r"[`*_{}\[\]()<>#+!|~&@:$=\"'\\^]|(?<=www)\.", re.IGNORECASE)
#: Longest evidence in a cell.
_MAX_CELL = 300


def text(value: str) -> str:
    """Text in which Markdown and HTML find no markup, on one line."""
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", escape(value))


def render(report: Report) -> str:
    """The document."""
    parts = (_head(report), _findings(report), _since(report), _waived(report), _hosts(report), _end(report))
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(report: Report) -> Iterator[str]:
    counts = ", ".join(f"{number:,} {severity}" for severity, number in report.fleet.findings.items())
    hosts = ", ".join(f"{number:,} {VERDICT_WORDS[verdict]}" for verdict, number in report.fleet.hosts.items())
    yield from ("# sVirt audit", "", f"**{QUESTION} {text(answer(report).text)}.**", "")
    yield from ("| | |", "| --- | --- |", f"| verdict | **{report.verdict}** (fail_on {report.fail_on}) |")
    yield f"| time | {report.generated_at} |"
    yield f"| last passed | {report.last_passed_at or 'not known'} |"
    yield f"| hosts | {report.fleet.hosts.total:,}: {hosts} |"
    yield f"| findings | {counts} |"
    yield f"| waived | {report.fleet.waived:,} |"
    yield f"| guests compared | {report.fleet.guests_compared:,} |"
    if report.fleet.left_out:
        yield f"| left out | {text(', '.join(report.fleet.left_out))} |"
    yield ""


def _findings(report: Report) -> Iterator[str]:
    yield from ("## Findings", "")
    if not report.findings:
        yield from ("None.", "")
    for (rule, severity), findings in by_rule(report.findings).items():
        yield from _rule(rule, severity, findings)
    for rule, number in sorted(report.omitted_by_rule.items()):
        yield from (f"Of {text(rule)}, {many(number, 'finding')} are counted and not listed.", "")


def _rule(rule: str, severity: str, findings: Sequence[ReportedFinding]) -> Iterator[str]:
    yield from (f"### {severity}: {text(rule)} {text(findings[0].title)}", "")
    yield from ("| host | subject | class | evidence | fingerprint |", "| --- | --- | --- | --- | --- |")
    for one in findings:
        cells = (text(where(one)), text(one.subject), one.reach or "", _evidence(one), f"`{one.fingerprint}`")
        yield f"| {' | '.join(cells)} |"
    yield ""
    for fix, cost in dict.fromkeys((one.fix, one.cost) for one in findings):
        yield from (f"Repair: {text(fix)} Cost: {COSTS[cost]}.", "")


def _evidence(finding: ReportedFinding) -> str:
    words = "; ".join(f"{name}: {value_text(value)}" for name, value in finding.evidence.items())
    return text(words if len(words) <= _MAX_CELL else words[:_MAX_CELL] + "…")


def _since(report: Report) -> Iterator[str]:
    if report.since is None:
        return
    counts = report.since.counts
    yield from ("## New and gone since the last run", "")
    run = f"{text(report.since.run)} of {report.since.generated_at}"
    yield f"Since run {run}: {counts.new:,} new, {counts.gone:,} gone, "
    yield f"{counts.unchanged:,} unchanged, {counts.accepted:,} accepted since, {counts.not_known:,} not known."
    yield from (
        "",
        "| change | severity | rule | host | subject | fingerprint |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    for change, one, place in changes(report):
        cells = (change, one.severity, text(one.rule), text(place), text(one.subject), f"`{one.fingerprint}`")
        yield f"| {' | '.join(cells)} |"
    yield ""


def _waived(report: Report) -> Iterator[str]:
    if not report.waived and not report.unused_waivers:
        return
    yield from ("## Accepted faults", "", "Each stands until it is repaired, or the waiver expires.", "")
    yield from ("| until | reason | rule | host | subject | fingerprint |", "| --- | --- | --- | --- | --- | --- |")
    for one in report.waived:
        yield f"| {' | '.join(_waiver_cells(one))} |"
    yield ""
    for waiver in report.unused_waivers:
        yield from (f"Unused waiver {waiver.index}: {text(waiver.target)}, until {waiver.expires}.", "")


def _waiver_cells(one: WaivedFinding) -> tuple[str, ...]:
    named = f"{text(one.rule)} ({one.severity})", text(where(one)), text(one.subject), f"`{one.fingerprint}`"
    return one.waiver.expires, text(one.waiver.reason), *named


def _hosts(report: Report) -> Iterator[str]:
    yield from ("## Hosts", "", "| host | verdict | critical | high | medium | low | info | not known |")
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for host in report.hosts:
        counts = (str(number) for _severity, number in host.counts.items())
        why = host.why or "; ".join(f"{rule}: {reason}" for rule, reason in doubts(host))
        yield f"| {' | '.join((text(host.name), VERDICT_WORDS[host.verdict], *counts, text(why)))} |"
    yield ""


def _end(report: Report) -> Iterator[str]:
    chance = report.fleet.chance
    yield f"Equal levels by chance: {chance.equal_pairs:,} pairs of guests; {chance.expected_pairs:,} expected."
