# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as JUnit XML, for CI: a suite for the fleet and one for each host.

A finding that makes the verdict fail is a failure, one below the threshold and one that is waived are skipped, and what
is not known is an error. Only a verdict can pass.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from ...module_utils._core.audit.finding import COSTS, FAIL, NOT_APPLICABLE, PASS, UNKNOWN
from ...module_utils._core.audit.report_model import Report, ReportedFinding, ReportedHost, WaivedFinding
from ...module_utils._core.audit.text import visible_text
from .answer import answer, doubts, many, value_text

FLEET = "fleet"
_ELEMENTS = {FAIL: "failure", UNKNOWN: "error", NOT_APPLICABLE: "skipped"}


@dataclass(frozen=True)
class Case:
    """One test: its name, its result, and why. ``result`` is failure, error, skipped, or empty for a pass."""

    group: str
    name: str
    result: str
    why: str = ""
    kind: str = ""
    text: str = ""


def render(report: Report) -> str:
    """The document."""
    suites = [(FLEET, list(_fleet(report)))]
    by_host: dict[str, list[ReportedFinding]] = defaultdict(list)
    for finding in (*report.findings, *report.waived):
        by_host[finding.host].append(finding)
    suites[0][1].extend(_finding(report, finding) for finding in by_host.pop("", ()))
    for host in report.hosts:
        suites.append((host.name, list(_host(report, host, by_host.pop(host.name, [])))))
    for name, findings in by_host.items():  # of hosts that the report does not list
        suites.append((name, [_finding(report, finding) for finding in findings]))
    root = ET.Element(
        "testsuites", {"name": "svirt.fleet", **_numbers([case for _name, each in suites for case in each])}
    )
    for name, cases in suites:
        _suite(root, name, cases, report)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, name: str, cases: list[Case], report: Report) -> None:
    when = report.generated_at.rstrip("Z")
    suite = ET.SubElement(root, "testsuite", {"name": _xml(name), **_numbers(cases), "timestamp": when, "time": "0"})
    if name == FLEET and suite is root[0]:
        properties = ET.SubElement(suite, "properties")
        for key, value in _properties(report).items():
            ET.SubElement(properties, "property", {"name": key, "value": value})
    for case in cases:
        element = ET.SubElement(
            suite, "testcase", {"classname": _xml(case.group), "name": _xml(case.name), "time": "0"}
        )
        if case.result:
            kind = {"type": case.kind} if case.kind else {}
            why = ET.SubElement(element, case.result, {"message": _xml(case.why), **kind})
            why.text = _xml(case.text) or None


def _numbers(cases: list[Case]) -> dict[str, str]:
    results = [case.result for case in cases]
    return {
        "tests": str(len(cases)),
        "failures": str(results.count("failure")),
        "errors": str(results.count("error")),
        "skipped": str(results.count("skipped")),
    }


def _properties(report: Report) -> dict[str, str]:
    counts = {f"findings.{severity}": str(number) for severity, number in report.fleet.findings.items()}
    hosts = {f"hosts.{verdict}": str(number) for verdict, number in report.fleet.hosts.items()}
    return {
        "verdict": report.verdict,
        "fail_on": report.fail_on,
        "generated_at": report.generated_at,
        "last_passed_at": report.last_passed_at or "",
        "waived": str(report.fleet.waived),
        **counts,
        **hosts,
    }


def _fleet(report: Report) -> Iterator[Case]:
    yield Case("verdict", "verdict", _ELEMENTS.get(report.verdict, ""), answer(report).text, report.verdict)
    for name in report.fleet.left_out:
        yield Case("left out", name, "error", "outside --limit: neither read nor compared", UNKNOWN)
    for waiver in report.unused_waivers:
        why = f"matches nothing; holds until {waiver.expires}"
        yield Case("unused waiver", f"{waiver.index}: {waiver.target}", "skipped", why)


def _host(report: Report, host: ReportedHost, findings: list[ReportedFinding]) -> Iterator[Case]:
    why = host.why or (many(host.counts.total, "finding") if host.verdict != PASS else "")
    yield Case("verdict", f"verdict of {host.name}", _ELEMENTS.get(host.verdict, ""), why, host.verdict)
    for rule, reason in doubts(host):
        yield Case(rule, f"{rule} could not judge everything", "error", reason, UNKNOWN)
    for rule, number in sorted(host.omitted.by_rule.items()) if host.omitted else ():
        result = "failure" if host.verdict == FAIL else "skipped"
        yield Case(rule, f"{many(number, 'finding')} of {rule} not listed", result, "counted but not listed")
    for finding in findings:
        yield _finding(report, finding)


def _finding(report: Report, finding: ReportedFinding) -> Case:
    name = f"{finding.rule} {finding.subject} [{finding.fingerprint}]"
    if isinstance(finding, WaivedFinding):
        why = f"waived until {finding.waiver.expires}: {finding.waiver.reason}"
        return Case(finding.rule, name, "skipped", why)
    if not report.fails(finding):
        why = f"{finding.severity}, below fail_on {report.fail_on}: {finding.title}"
        return Case(finding.rule, name, "skipped", why)
    evidence = [f"{key}: {value_text(value)}" for key, value in finding.evidence.items()]
    told = [f"hosts: {', '.join(finding.hosts)}", *evidence, f"repair: {finding.fix}", f"cost: {COSTS[finding.cost]}"]
    return Case(finding.rule, name, "failure", finding.title, finding.severity, "\n".join(told))


def _xml(text: str) -> str:
    """Text that XML can hold."""
    return visible_text(text)
