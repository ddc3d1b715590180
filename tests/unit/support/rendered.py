# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Reads rendered reports back, each by its own parser: what a reader of the format learns."""

from __future__ import annotations

import csv
import io
import json
import re
import typing as t
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.finding import SEVERITIES
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_model import Report

_MARK = re.compile(r"\b[0-9a-f]{16}\b")


@dataclass
class Shown:
    """What a rendered report says. None: the format does not have it."""

    verdict: str
    counts: dict[str, int]
    hosts: dict[str, int]
    found: set[str] | None
    waived: set[str] | None
    #: What is shown as passed: findings by fingerprint, hosts by name.
    passed: set[str] | None


def expected(report: Report) -> Shown:
    """The same of the report itself."""
    return Shown(
        report.verdict,
        dict(report.fleet.findings.items()),
        dict(report.fleet.hosts.items()),
        {finding.fingerprint for finding in report.findings},
        {finding.fingerprint for finding in report.waived},
        {host.name for host in report.hosts if host.verdict == "pass"},
    )


def of_json(text: str) -> Shown:
    document = json.loads(text)
    hosts = {verdict: number for verdict, number in document["fleet"]["hosts"].items() if verdict != "total"}
    return Shown(
        document["verdict"],
        document["fleet"]["findings"],
        hosts,
        {finding["fingerprint"] for finding in document["findings"]},
        {finding["fingerprint"] for finding in document["waived"]},
        {host["name"] for host in document["hosts"] if host["verdict"] == "pass"},
    )


def of_csv(text: str) -> Shown:
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    fleet = next(row for row in rows if row["record"] == "fleet")
    hosts = [row for row in rows if row["record"] == "host"]
    findings = [row for row in rows if row["record"] == "finding"]
    return Shown(
        fleet["status"],
        {severity: int(fleet[severity]) for severity in SEVERITIES},
        _verdicts(row["status"] for row in hosts),
        {row["fingerprint"] for row in findings if row["status"] == "open"},
        {row["fingerprint"] for row in findings if row["status"] == "waived"},
        {row["fingerprint"] or row["host"] for row in rows if row["status"] == "pass" and row["record"] != "fleet"},
    )


def _verdicts(each: t.Iterable[str]) -> dict[str, int]:
    listed = list(each)
    return {verdict: listed.count(verdict) for verdict in ("fail", "unknown", "pass", "not_applicable")}


def of_junit(text: str) -> Shown:
    root = ET.fromstring(text)  # noqa: S314  # rendered here
    fleet = root[0]
    properties = {entry.attrib["name"]: entry.attrib["value"] for entry in fleet.iter("property")}
    cases = list(root.iter("testcase"))
    results = {case.attrib["name"]: case[0] if len(case) else None for case in cases}
    marked = {
        mark: result
        for case in cases
        for result in (case[0] if len(case) else None,)
        for mark in re.findall(r"\[([0-9a-f]{16})\]\Z", case.attrib["name"])
    }
    waived = {
        mark
        for mark, result in marked.items()
        if result is not None and result.get("message", "").startswith("waived ")
    }
    passed = {mark for mark, result in marked.items() if result is None}
    passed |= {
        name.removeprefix("verdict of ") for name, result in results.items() if name != "verdict" and result is None
    }
    assert {"failure": "fail", "error": "unknown", None: "pass"}[
        None if results["verdict"] is None else results["verdict"].tag
    ] == properties["verdict"]
    for group in (root, *root):
        below = list(group.iter("testcase"))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(group.attrib[attribute]) == sum(case.find(tag) is not None for case in below)
        assert int(group.attrib["tests"]) == len(below)
    return Shown(
        properties["verdict"],
        {severity: int(properties[f"findings.{severity}"]) for severity in SEVERITIES},
        {verdict: int(properties[f"hosts.{verdict}"]) for verdict in ("fail", "unknown", "pass", "not_applicable")},
        set(marked) - waived,
        waived,
        passed,
    )


def of_markdown(text: str) -> Shown:
    before, _head, rest = text.partition("## Findings")
    findings, _head, after = rest.partition("## Hosts")
    findings, _head, accepted = findings.partition("## Accepted faults")
    counts = re.search(r"^\| findings \| (.*) \|$", before, re.MULTILINE)
    hosts = re.search(r"^\| hosts \| \d+: (.*) \|$", before, re.MULTILINE)
    verdict = re.search(r"^\| verdict \| \*\*(\w+)\*\*", before, re.MULTILINE)
    assert counts
    assert hosts
    assert verdict
    rows = [line.split(" | ") for line in after.splitlines() if line.startswith("| ")]
    return Shown(
        verdict[1],
        {word: int(number) for number, word in (part.split(" ") for part in counts[1].split(", "))},
        {word.replace(" ", "_"): int(number) for number, word in (part.split(" ", 1) for part in hosts[1].split(", "))},
        set(re.findall(r"`([0-9a-f]{16})`", findings)),
        set(re.findall(r"`([0-9a-f]{16})` \|$", accepted, re.MULTILINE)),
        {row[0].removeprefix("| ") for row in rows if row[1] == "pass"},
    )


def metrics(text: str) -> dict[str, dict[str, float]]:
    """Samples by metric and labels. Each metric has its help and type once, before its samples."""
    result: dict[str, dict[str, float]] = {}
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in result
            result[name] = {}
        elif line.startswith("# TYPE "):
            assert line == f"# TYPE {name} gauge"
        else:
            match = re.fullmatch(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (-?[0-9.]+)', line)
            assert match, line
            assert match[1] == name
            assert (match[2] or "") not in result[name]
            result[name][match[2] or ""] = float(match[3])
    return result


def of_prometheus(text: str) -> Shown:
    result = metrics(text)
    verdicts = [labels for labels, value in result["svirt_fleet_verdict"].items() if value == 1]
    return Shown(
        re.findall('"(.*)"', verdicts[0])[0],
        {severity: int(result["svirt_fleet_findings"][f'severity="{severity}"']) for severity in SEVERITIES},
        {re.findall('"(.*)"', labels)[0]: int(value) for labels, value in result["svirt_fleet_hosts"].items()},
        None,
        None,
        {labels for labels in result["svirt_fleet_host_verdict"] if labels.endswith('verdict="pass"')},
    )


class _Page(HTMLParser):
    """The parts of a page that tests look at: text, tags, and cells of tables."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.facts: dict[str, str] = {}
        self.cells: dict[str, list[list[str]]] = {}
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self._body = self._fact = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _value in attrs}
        given = dict(attrs)
        self._fact = next((f"{name}={given[name]}" for name in ("data-hosts", "data-findings") if name in given), "")
        if given.get("id") == "verdict":
            self._fact = "verdict"
        if tag == "thead":
            self._body = "heads"
        elif tag == "tbody":
            self._body = given.get("class") or ""
        elif tag == "tr":
            self.cells.setdefault(self._body, []).append([])
        elif tag == "td":
            self.cells[self._body][-1].append("")

    def handle_data(self, data: str) -> None:
        if self._fact:
            self.facts[self._fact] = data
            self._fact = ""
        rows = self.cells.get(self._body)
        if rows and rows[-1]:
            rows[-1][-1] += data


def of_html(text: str) -> Shown:
    page = _Page(text)
    found, waived, hosts = (page.cells.get(f"rows {name}", []) for name in ("open", "waived", "hosts"))
    return Shown(
        page.facts["verdict"],
        {severity: int(page.facts[f"data-findings={severity}"]) for severity in SEVERITIES},
        {
            verdict: int(page.facts[f"data-hosts={verdict}"])
            for verdict in ("fail", "unknown", "pass", "not_applicable")
        },
        {mark for row in found for mark in _MARK.findall(row[-1])},
        {mark for row in waived for mark in _MARK.findall(row[-1])},
        {row[0] for row in hosts if row[1].strip() == "pass"},
    )


def page_of(text: str) -> tuple[Counter[str], set[str]]:
    """Numbers of the page's elements, and the names of its attributes."""
    page = _Page(text)
    return page.tags, page.attributes


def of_sarif(text: str) -> Shown:
    (run,) = json.loads(text)["runs"]
    results = [result for result in run["results"] if result["kind"] == "fail"]
    assert {result["kind"] for result in run["results"]} <= {"fail", "open"}
    marks = {result["fingerprints"]["svirt.fleet/1"]: "suppressions" in result for result in results}
    properties = run["properties"]
    return Shown(
        properties["verdict"],
        properties["findings"],
        properties["hosts"],
        {mark for mark, waived in marks.items() if not waived},
        {mark for mark, waived in marks.items() if waived},
        None,
    )


def of_oscal(text: str) -> Shown:
    (result,) = json.loads(text)["assessment-results"]["results"]
    told = _oscal_props(result)
    observed = [_oscal_props(entry) for entry in result.get("observations", ())]
    items = [_oscal_props(item) for item in result.get("local-definitions", {}).get("inventory-items", ())]
    states = {finding["target"]["status"]["state"] for finding in result.get("findings", ())}
    assert states <= {"not-satisfied"}
    return Shown(
        told["verdict"],
        {severity: int(told[f"findings-{severity}"]) for severity in SEVERITIES},
        _verdicts(item["verdict"] for item in items),
        {entry["fingerprint"] for entry in observed if entry["status"] == "open"},
        {entry["fingerprint"] for entry in observed if entry["status"] == "waived"},
        {str(place) for place, item in enumerate(items) if item["verdict"] == "pass"},
    )


def _oscal_props(entry: dict[str, t.Any]) -> dict[str, str]:
    return {prop["name"]: prop["value"] for prop in entry["props"]}


READERS: dict[str, Callable[[str], Shown]] = {
    "csv": of_csv,
    "html": of_html,
    "json": of_json,
    "junit": of_junit,
    "markdown": of_markdown,
    "oscal": of_oscal,
    "prometheus": of_prometheus,
    "sarif": of_sarif,
}
