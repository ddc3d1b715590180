# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's own verdict: the rules about one host, and guests of it that reach one another.

What takes two hosts to see is left to the audit of the fleet: this verdict may pass where that one fails.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import datetime
import typing as t
from collections import Counter
from dataclasses import dataclass, field

from ...snapshot.model import Snapshot
from .. import report
from ..finding import SEVERITIES, UNKNOWN
from ..fleet import analysis
from ..report_model import Report, ReportedFinding, read_report
from ..rules import catalogue
from .settings import WatchSettings

#: Class of reach on one host.
_LOCAL = "E1"
#: Rules that a host can judge by itself.
RULES = tuple(rule.id for rule in (*catalogue.RULES, analysis.LOCAL))


@dataclass(frozen=True)
class OwnVerdict:
    """What a host says of itself."""

    verdict: str
    #: Why it is unknown or does not apply; empty where it does.
    why: str = ""
    findings: tuple[ReportedFinding, ...] = ()
    waived: int = 0
    guests: int = 0
    #: Rules that could not judge.
    unsure: int = 0
    #: Findings by rule, those too many to be listed included.
    by_rule: t.Mapping[str, int] = field(default_factory=dict)
    #: The host was read and judged; else nothing is known, of findings neither.
    read: bool = True

    def by_severity(self) -> dict[str, int]:
        """Numbers of findings."""
        counts = Counter(finding.severity for finding in self.findings)
        return {severity: counts[severity] for severity in SEVERITIES}


def unknown(why: str) -> OwnVerdict:
    """The verdict of a run that did not come to its end."""
    return OwnVerdict(UNKNOWN, why, read=False)


def judge(settings: WatchSettings, snapshot: Snapshot, now: datetime.datetime) -> OwnVerdict:
    """The host's verdict. Raises WaiverError. ``now`` is in UTC."""
    judgement = catalogue.judge(settings.host, snapshot, settings.rules)
    compared = analysis.judge([analysis.compared_host(settings.host, snapshot)])
    local = [finding for finding in compared.findings if finding.reach == _LOCAL]
    doubts = [one for one in compared.outcomes.get(settings.host, ()) if one.rule == analysis.LOCAL.id]
    fleet = analysis.Fleet(tuple(local), {settings.host: tuple(doubts)} if doubts else {}, compared.guests)
    result = report.judged(judgement, snapshot.coverage)
    document = report.build([result], fleet, settings.accepted(), settings.fail_on, now)
    document["findings"] = [finding for finding in document["findings"] if _is_own(finding, settings.host)]
    return _verdict(read_report(document))


def _is_own(finding: t.Mapping[str, t.Any], host: str) -> bool:
    return finding["host"] in ("", host)


def _verdict(whole: Report) -> OwnVerdict:
    (host,) = whole.hosts
    unsure = sum(outcome.status == UNKNOWN for outcome in host.outcomes)
    return OwnVerdict(
        host.verdict,
        host.why,
        tuple(whole.findings),
        len(whole.waived),
        whole.fleet.guests_compared,
        unsure,
        dict(whole.by_rule),
    )
