# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as SARIF 2.1.0, the interchange format of analysis results.

A finding is a result of kind fail, a waived one too, with its waiver as a suppression. What could not be judged is a
result of kind open. Nothing is a result of kind pass.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator
from urllib.parse import quote

from ...module_utils._core.audit import waivers
from ...module_utils._core.audit.finding import COSTS, RuleBase
from ...module_utils._core.audit.fleet import analysis
from ...module_utils._core.audit.report_model import Report, ReportedFinding, WaivedFinding
from ...module_utils._core.audit.rules import catalogue
from ...module_utils._core.audit.text import visible_text
from .answer import LEVELS, answer, doubts, where

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
#: Name of our fingerprint among the fingerprints of a result.
FINGERPRINT = "svirt.fleet/1"

Json = dict[str, t.Any]


def render(report: Report) -> str:
    """The log file."""
    rules = _rules(report)
    places = {rule["id"]: place for place, rule in enumerate(rules)}
    run: Json = {
        "tool": {"driver": {"name": "svirt.fleet", "rules": rules}},
        "invocations": [_invocation(report)],
        "results": [_placed(result, places) for result in _results(report)],
        "properties": {
            "verdict": report.verdict,
            "failOn": report.fail_on,
            "answer": answer(report).text,
            "findings": dict(report.fleet.findings.items()),
            "hosts": dict(report.fleet.hosts.items()),
            "omitted": dict(sorted(report.omitted_by_rule.items())),
        },
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, sort_keys=True, indent=1) + "\n"


def _rules(report: Report) -> list[Json]:
    """Every rule of this version, and those that only the report knows."""
    known: dict[str, RuleBase] = {rule.id: rule for rule in (*catalogue.RULES, *analysis.RULES, waivers.RULE)}
    titles = {finding.rule: finding.title for finding in (*report.findings, *report.waived)}
    doubted = [outcome[0] for host in report.hosts for outcome in doubts(host)]
    return [_rule(rule, known.get(rule), titles.get(rule, rule)) for rule in sorted({*known, *titles, *doubted})]


def _rule(name: str, known: RuleBase | None, title: str) -> Json:
    if known is None:
        return {"id": name, "shortDescription": {"text": visible_text(title) or name}}
    return {
        "id": name,
        "shortDescription": {"text": known.title},
        "fullDescription": {"text": known.why},
        "help": {"text": f"{known.fix} Cost: {COSTS[known.cost]}."},
        "defaultConfiguration": {"level": LEVELS[known.severity]},
        "properties": {"severity": known.severity, "scope": known.scope, "references": list(known.references)},
    }


def _placed(result: Json, places: dict[str, int]) -> Json:
    return {**result, "ruleIndex": places[result["ruleId"]]}


def _results(report: Report) -> Iterator[Json]:
    for finding in (*report.findings, *report.waived):
        yield _finding(finding)
    for host in report.hosts:
        for rule, why in doubts(host):
            yield {
                "ruleId": rule,
                "kind": "open",
                "level": "none",
                "message": {"text": visible_text(f"{host.name}: not known: {why}")},
                "locations": [_location(host.name, "")],
            }


def _finding(finding: ReportedFinding) -> Json:
    result: Json = {
        "ruleId": finding.rule,
        "kind": "fail",
        "level": LEVELS[finding.severity],
        "message": {"text": visible_text(f"{finding.title}: {finding.subject} ({where(finding)}). {finding.fix}")},
        "fingerprints": {FINGERPRINT: finding.fingerprint},
        "locations": [_location(host, finding.subject) for host in finding.hosts or ("",)],
        "properties": {
            "severity": finding.severity,
            "cost": finding.cost,
            "evidence": _visible(finding.evidence),
            **({"class": finding.reach} if finding.reach else {}),
        },
    }
    if isinstance(finding, WaivedFinding):
        why = f"{finding.waiver.reason} (until {finding.waiver.expires})"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": visible_text(why)}]
    return result


def _visible(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {visible_text(key): _visible(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_visible(part) for part in value]
    return visible_text(value) if isinstance(value, str) else value


def _location(host: str, subject: str) -> Json:
    """A place in the fleet. There is no file: the address is the host's name, for readers that want one."""
    named = visible_text(host or "fleet")
    place: Json = {"fullyQualifiedName": f"{named}/{visible_text(subject)}", "kind": "resource"}
    if subject:
        place["name"] = visible_text(subject)
    artifact = {"uri": f"hosts/{quote(named, safe='')}"}
    return {"physicalLocation": {"artifactLocation": artifact}, "logicalLocations": [place]}


def _invocation(report: Report) -> Json:
    """Hosts that are not known are notifications: the tool could not do its work there."""
    unknown = [(host.name, host.why) for host in report.hosts if host.verdict == "unknown"]
    unknown += [(name, "outside --limit: neither read nor compared") for name in report.fleet.left_out]
    return {
        "executionSuccessful": not unknown and report.verdict != "unknown",
        "endTimeUtc": report.generated_at,
        "toolExecutionNotifications": [
            {
                "level": "error",
                "message": {"text": visible_text(f"{name}: not known: {why}")},
                "locations": [_location(name, "")],
            }
            for name, why in unknown
        ],
    }
