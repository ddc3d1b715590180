# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as OSCAL assessment results: an observation for each finding and doubt, a finding for each rule.

No objective is satisfied: a rule that found nothing has no entry. A waived finding has a risk whose deviation is
approved.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import re
import typing as t
import uuid
from collections.abc import Collection, Iterator

from ...module_utils._core.audit import waivers
from ...module_utils._core.audit.finding import UNKNOWN
from ...module_utils._core.audit.fleet import analysis
from ...module_utils._core.audit.report_model import Report, ReportedFinding, WaivedFinding
from ...module_utils._core.audit.rules import catalogue
from ...module_utils._core.audit.text import escape
from .answer import answer, doubts, evidence_json, where

VERSION = "1.2.1"
NAMESPACE = "https://github.com/svirt-fleet/svirt.fleet/ns/oscal"
_ROOT = uuid.uuid5(uuid.NAMESPACE_URL, NAMESPACE)
_CONTROL = re.compile(r"NIST SP 800-53 ([A-Z]{2})-([0-9]+)")
#: The control of a rule without a reference: process isolation.
_ISOLATION = "sc-39"
_NO_PLAN = "There is no assessment plan: the rules of svirt.fleet were applied to every host of the inventory."

Json = dict[str, t.Any]


def render(report: Report) -> str:
    """The document."""
    plan = _id("plan")
    document = {
        "uuid": _id("results", report.generated_at, report.verdict),
        "metadata": {
            "title": "sVirt audit",
            "last-modified": report.generated_at,
            "version": "1",
            "oscal-version": VERSION,
        },
        "import-ap": {"href": f"#{plan}"},
        "results": [_result(report)],
        "back-matter": {"resources": [{"uuid": plan, "title": "Assessment plan", "description": _NO_PLAN}]},
    }
    return json.dumps({"assessment-results": document}, sort_keys=True, indent=1) + "\n"


def _result(report: Report) -> Json:
    observations = [*_observations(report)]
    counts = {f"findings-{severity}": str(number) for severity, number in report.fleet.findings.items()}
    hosts = {f"hosts-{verdict}": str(number) for verdict, number in report.fleet.hosts.items()}
    omitted = {f"omitted-{rule.lower()}": str(number) for rule, number in sorted(report.omitted_by_rule.items())}
    result: Json = {
        "uuid": _id("result", report.generated_at),
        "title": f"Verdict: {report.verdict}",
        "description": f"{answer(report).text}.",
        "start": report.generated_at,
        "end": report.generated_at,
        "props": _props(verdict=report.verdict, **{"fail-on": report.fail_on}, **counts, **hosts, **omitted),
        "reviewed-controls": {"control-selections": [{"include-controls": _controls()}]},
    }
    items = [
        {"uuid": _host(host.name), "description": line(host.name), "props": _props(verdict=host.verdict)}
        for host in report.hosts
    ]
    risks = [_risk(finding) for finding in report.waived]
    findings = [*_findings(report)]
    optional = {"observations": observations, "risks": risks, "findings": findings}
    result.update({name: entries for name, entries in optional.items() if entries})
    if items:
        result["local-definitions"] = {"inventory-items": items}
    return result


def _id(*parts: str) -> str:
    return str(uuid.uuid5(_ROOT, "\0".join(parts)))


def _host(name: str) -> str:
    return _id("host", name)


def line(text: str) -> str:
    """Text as OSCAL's strings have it: one line, not empty, without space at its ends."""
    return escape(text).strip() or "-"


def _props(**values: str) -> list[Json]:
    return [{"name": name, "ns": NAMESPACE, "value": line(value)} for name, value in values.items() if value]


def _controls() -> list[Json]:
    """Controls that the rules are about."""
    rules = (*catalogue.RULES, *analysis.RULES, waivers.RULE)
    named = {control for rule in rules for control in _controls_of(rule.id)} | {_ISOLATION}
    return [{"control-id": control} for control in sorted(named)]


def _controls_of(rule: str) -> list[str]:
    known = next((one for one in (*catalogue.RULES, *analysis.RULES) if one.id == rule), None)
    found = [_CONTROL.match(reference) for reference in (known.references if known else ())]
    return [f"{match[1].lower()}-{match[2]}" for match in found if match] or [_ISOLATION]


def _observations(report: Report) -> Iterator[Json]:
    listed = {host.name for host in report.hosts}
    for finding in (*report.findings, *report.waived):
        yield _observation(report, finding, listed)
    for host in report.hosts:
        for rule, why in doubts(host):
            yield _unknown(report, _id("doubt", host.name, rule), host.name, rule, why)
        if host.verdict == UNKNOWN:
            yield _unknown(report, _id("unknown", host.name), host.name, "", host.why)


def _observation(report: Report, finding: ReportedFinding, listed: Collection[str]) -> Json:
    waived = isinstance(finding, WaivedFinding)
    observation: Json = {
        "uuid": _id("observation", finding.fingerprint),
        "title": line(f"{finding.rule}: {finding.title}"),
        "description": line(f"{finding.subject} ({where(finding)})"),
        "methods": ["TEST"],
        "types": ["finding"],
        "collected": report.generated_at,
        "props": _props(
            fingerprint=finding.fingerprint,
            rule=finding.rule,
            severity=finding.severity,
            status="waived" if waived else "open",
            reach=finding.reach or "",
        ),
        "relevant-evidence": [{"description": line(evidence_json(finding))}],
        "remarks": line(f"Repair: {finding.fix}"),
    }
    subjects = [{"subject-uuid": _host(host), "type": "inventory-item"} for host in finding.hosts if host in listed]
    return {**observation, "subjects": subjects} if subjects else observation


def _unknown(report: Report, name: str, host: str, rule: str, why: str) -> Json:
    return {
        "uuid": name,
        "title": line(f"{rule}: not known" if rule else "Host: not known"),
        "description": line(f"{host}: {why}"),
        "methods": ["UNKNOWN"],
        "types": ["finding"],
        "collected": report.generated_at,
        "props": _props(status=UNKNOWN, rule=rule),
        "subjects": [{"subject-uuid": _host(host), "type": "inventory-item"}],
    }


def _findings(report: Report) -> Iterator[Json]:
    """For each rule with findings, waived findings or doubts, its controls, none of which is satisfied."""
    observed: dict[str, list[str]] = {}
    titles: dict[str, str] = {}
    for finding in (*report.findings, *report.waived):
        observed.setdefault(finding.rule, []).append(_id("observation", finding.fingerprint))
        titles[finding.rule] = finding.title
    failed = set(observed)
    for host in report.hosts:
        for rule, _why in doubts(host):
            observed.setdefault(rule, []).append(_id("doubt", host.name, rule))
    for rule, names in sorted(observed.items()):
        for control in _controls_of(rule):
            status = {"state": "not-satisfied", "reason": "fail" if rule in failed else "other"}
            yield {
                "uuid": _id("finding", rule, control),
                "title": line(f"{rule}: {titles.get(rule, 'not known')}"),
                "description": line(titles.get(rule, "The rule could not judge every host.")),
                "target": {"type": "objective-id", "target-id": f"{control}_obj", "status": status},
                "related-observations": [{"observation-uuid": name} for name in dict.fromkeys(names)],
            }


def _risk(finding: WaivedFinding) -> Json:
    return {
        "uuid": _id("risk", finding.fingerprint),
        "title": line(f"{finding.rule}: {finding.subject}"),
        "description": line(finding.title),
        "statement": line(f"Accepted until {finding.waiver.expires}: {finding.waiver.reason}"),
        "status": "deviation-approved",
        "deadline": f"{finding.waiver.expires}T23:59:59Z",
        "props": _props(fingerprint=finding.fingerprint),
        "related-observations": [{"observation-uuid": _id("observation", finding.fingerprint)}],
    }
