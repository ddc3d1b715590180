# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as metrics in Prometheus's text format, for the textfile collector of node_exporter.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

from ...module_utils._core.audit import waivers
from ...module_utils._core.audit.fleet import analysis
from ...module_utils._core.audit.metrics import Gauge, Labels, by_rule, lines
from ...module_utils._core.audit.report_model import FLEET_VERDICTS, Report
from ...module_utils._core.audit.rules import catalogue

VERDICT = Gauge("verdict", "Whether the fleet has this verdict (1) or not (0).")
HOST = Gauge("host_verdict", "Verdict of a host; the value is 1.")
HOSTS = Gauge("hosts", "Hosts by verdict.")
LEFT_OUT = Gauge("hosts_left_out", "Hosts of the fleet that were neither read nor compared.")
SEVERITY = Gauge("findings", "Active findings by severity.")
RULE = Gauge("rule_findings", "Active findings by rule.")
CLASS = Gauge(
    "class_findings",
    "Active findings by class of reach: E1 same host, E2 shared storage, E3 once guests meet, E4 by chance.",
)
WAIVED = Gauge("waived_findings", "Findings accepted by a waiver, by rule.")
GUESTS = Gauge("guests_compared", "Running guests whose categories were compared.")
TIME = Gauge("report_timestamp_seconds", "Time of the analysis.")
PASSED = Gauge("last_pass_timestamp_seconds", "Time of the last analysis that passed; 0 when none is known.")


def render(report: Report) -> str:
    """All metrics."""
    return "".join(line for gauge, samples in _samples(report) for line in lines(gauge, samples))


def _samples(report: Report) -> Iterator[tuple[Gauge, Iterable[tuple[Labels, float]]]]:
    yield VERDICT, [({"verdict": name}, float(report.verdict == name)) for name in FLEET_VERDICTS]
    yield HOST, [({"host": host.name, "verdict": host.verdict}, 1.0) for host in report.hosts]
    yield HOSTS, [({"verdict": verdict}, float(number)) for verdict, number in report.fleet.hosts.items()]
    yield LEFT_OUT, [({}, float(len(report.fleet.left_out)))]
    yield SEVERITY, [({"severity": severity}, float(number)) for severity, number in report.fleet.findings.items()]
    yield RULE, _by_rule(report.by_rule)
    yield CLASS, [({"class": reach}, float(number)) for reach, number in report.by_class.items()]
    waived: dict[str, int] = {}
    for finding in report.waived:
        waived[finding.rule] = waived.get(finding.rule, 0) + 1
    yield WAIVED, _by_rule(waived)
    yield GUESTS, [({}, float(report.fleet.guests_compared))]
    yield TIME, [({}, _seconds(report.generated_at))]
    yield PASSED, [({}, _seconds(report.last_passed_at) if report.last_passed_at else 0.0)]


def _by_rule(counts: dict[str, int]) -> list[tuple[Labels, float]]:
    """Every rule of this version, those without findings too, and those of the report that it does not know."""
    return by_rule(counts, [rule.id for rule in (*catalogue.RULES, *analysis.RULES, waivers.RULE)])


def _seconds(time: str) -> float:
    return datetime.datetime.fromisoformat(time).timestamp()
