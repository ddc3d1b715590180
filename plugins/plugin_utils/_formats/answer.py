# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer to the question of every report: is every guest isolated? And the words that several formats share.

A fault that a waiver accepts is a fault: the answer is not yes on its account.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from ...module_utils._core.audit.finding import FAIL, NOT_APPLICABLE, PASS, UNKNOWN, at_least
from ...module_utils._core.audit.report_model import GoneFinding, Report, ReportedFinding, ReportedHost

YES, NO, NOT_KNOWN = "yes", "no", "unknown"
QUESTION = "Is every guest isolated?"
#: From this severity on, a guest is not confined or not isolated.
_HARM = "high"
VERDICT_WORDS = {FAIL: "fail", UNKNOWN: "unknown", PASS: "pass", NOT_APPLICABLE: "not applicable"}
#: Severity of something as a log level has it.
LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}


@dataclass(frozen=True)
class Answer:
    """Yes, no or unknown, and the sentence."""

    code: str
    text: str


def answer(report: Report) -> Answer:
    """Whether every guest is isolated."""
    unknown = report.fleet.hosts.unknown
    not_known = f"not known for {many(unknown, 'host')}"
    harm = sum(number for severity, number in report.fleet.findings.items() if at_least(severity, _HARM))
    accepted = sum(at_least(finding.severity, _HARM) for finding in report.waived)
    if harm or report.verdict == FAIL:
        return Answer(NO, "No" + (f", and {not_known}" if unknown else ""))
    if accepted:
        text = f"No: {many(accepted, 'fault')} of severity {_HARM} or worse accepted by waivers"
        return Answer(NO, text + (f", and {not_known}" if unknown else ""))
    if unknown:
        return Answer(NOT_KNOWN, not_known.capitalize())
    if report.verdict != PASS:
        return Answer(NOT_KNOWN, "Not known: no host could be judged")
    left_out = len(report.fleet.left_out)
    if left_out:
        return Answer(NOT_KNOWN, f"Yes on the hosts that were read; not known for {many(left_out, 'host')} left out")
    return Answer(YES, "Yes")


def many(count: int, noun: str) -> str:
    """The number and the noun."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def where(finding: ReportedFinding) -> str:
    """The hosts of a finding; "fleet" for one without."""
    return ", ".join(finding.hosts) or "fleet"


def doubts(host: ReportedHost) -> list[tuple[str, str]]:
    """Rules that could not judge a host, or not all of it, with reasons."""
    return [(outcome.rule, outcome.why) for outcome in host.outcomes if outcome.in_doubt]


def value_text(value: t.Any) -> str:
    """A value of evidence on one line."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        if {"guest", "host"} <= set(value):
            return f"{value['guest']} on {value['host']}"
        return ", ".join(f"{key}={value_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(value_text(item) for item in value) or "none"
    return str(value)


def evidence_json(finding: ReportedFinding) -> str:
    """The evidence as compact JSON, with sorted keys."""
    return json.dumps(finding.evidence, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def changes(report: Report) -> list[tuple[str, ReportedFinding | GoneFinding, str]]:
    """What is new and gone since the last run, as far as the report lists it: the change, the finding, its hosts."""
    if report.since is None:
        return []
    fingerprints = set(report.since.new)
    new = [finding for finding in report.findings if finding.fingerprint in fingerprints]
    return [
        *(("new", finding, where(finding)) for finding in new),
        *(("gone", finding, finding.host or "fleet") for finding in report.since.gone),
    ]


def by_rule(findings: t.Iterable[ReportedFinding]) -> dict[tuple[str, str], list[ReportedFinding]]:
    """Findings by rule and severity, in the order in which they come."""
    groups: dict[tuple[str, str], list[ReportedFinding]] = {}
    for finding in findings:
        groups.setdefault((finding.rule, finding.severity), []).append(finding)
    return groups
