# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: results of all rules on all hosts, as one JSON object (schema ``svirt.fleet/report/1``).

docs/report.md documents its fields. Everything in it is sorted: two analyses of the same snapshots differ in
``generated_at`` only.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import datetime
import typing as t
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from ..facts.subjects import HOST
from ..snapshot.document import encode
from ..snapshot.model import AREAS, Coverage
from ..words import and_more
from . import report_bounds
from . import waivers as w
from .finding import FAIL, MAX_CODES, NOT_APPLICABLE, PASS, SEVERITIES, UNKNOWN, Finding, Outcome, at_least, order
from .fleet import analysis as across

if t.TYPE_CHECKING:
    from .rules.catalogue import Judgement

SCHEMA = "svirt.fleet/report/1"

#: Characters of a code.
_MAX_CODE = 60
#: ``fail_on`` that no finding reaches. Unknown results still prevent a pass.
NEVER = "never"
THRESHOLDS = (*SEVERITIES, NEVER)
#: Verdicts of a host, worst first.
VERDICTS = (FAIL, UNKNOWN, PASS, NOT_APPLICABLE)


@dataclass(frozen=True)
class HostResult:
    """One host of the fleet: judged, or unread with the reason."""

    name: str
    why: str = ""
    coverage: t.Mapping[str, Coverage] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = ()
    findings: tuple[Finding, ...] = ()


def unread(name: str, why: str) -> HostResult:
    """A host that could not be read."""
    return HostResult(name, why or "no reason was given")


def judged(judgement: Judgement, coverage: t.Mapping[str, Coverage]) -> HostResult:
    """A host that was read."""
    return HostResult(judgement.host, "", coverage, judgement.outcomes, judgement.findings)


def build(
    results: t.Iterable[HostResult],
    fleet: across.Fleet,
    waivers: t.Sequence[w.Waiver],
    fail_on: str,
    now: datetime.datetime,
) -> dict[str, t.Any]:
    """The whole report. ``now`` is in UTC; its day decides which waivers have expired."""
    hosts = sorted((_with_doubts(result, fleet) for result in results), key=lambda result: result.name)
    findings = [finding for result in hosts for finding in result.findings] + list(fleet.findings)
    applied = w.apply(findings, waivers, now.date())
    active = sorted(applied.active, key=order)
    touching = _by_host(active)
    listed = report_bounds.listed(active, finding_json)
    entries = [_host(result, touching[result.name], fail_on, listed.omitted_of(result.name)) for result in hosts]
    return {
        "schema": SCHEMA,
        "generated_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "verdict": _overall(active, [entry["verdict"] for entry in entries], fail_on),
        "fail_on": fail_on,
        "hosts": entries,
        "findings": listed.documents,
        "fleet": {**_fleet(entries, active, applied, fleet), **({"omitted": listed.total} if listed.total else {})},
        "waived": [
            {**report_bounds.bounded(finding_json(finding)), "waiver": _waiver(waiver)}
            for finding, waiver in sorted(applied.waived, key=lambda pair: order(pair[0]))
        ],
        "unused_waivers": [_waiver(waiver) for waiver in applied.unused],
    }


def _with_doubts(result: HostResult, fleet: across.Fleet) -> HostResult:
    """The host with the unknown outcomes of the rules across hosts."""
    more = fleet.outcomes.get(result.name, ())
    return replace(result, outcomes=result.outcomes + more) if more else result


def finding_json(finding: Finding) -> dict[str, t.Any]:
    """A finding as the report has it: ``class`` only where it is about reach."""
    document: dict[str, t.Any] = encode(finding)
    reach = document.pop("reach")
    if reach:
        document["class"] = reach
    return document


def _by_host(findings: t.Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings by host: a finding across hosts counts for each host that its evidence names."""
    touching: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        for host in {finding.host} if finding.host else set(finding.evidence.get("hosts", ())):
            touching[host].append(finding)
    return touching


def _host(result: HostResult, findings: list[Finding], fail_on: str, omitted: dict[str, t.Any]) -> dict[str, t.Any]:
    verdict, why = _verdict(result, findings, fail_on)
    outcomes = [encode(outcome) for outcome in result.outcomes if outcome.status != PASS]
    return {
        "name": result.name,
        "verdict": verdict,
        "why": report_bounds.short(why),
        "coverage": {
            area: _shortened(encode(result.coverage[area])) for area in sorted(AREAS) if area in result.coverage
        },
        "counts": _counts(findings),
        "outcomes": [_shortened(outcome) for outcome in outcomes],
        **({"omitted": omitted} if omitted["findings"] else {}),
    }


def _shortened(entry: dict[str, t.Any]) -> dict[str, t.Any]:
    """An entry with a reason, within bounds; without codes where it has none."""
    codes = [report_bounds.short(code, _MAX_CODE) for code in entry.pop("codes")[:MAX_CODES]]
    texts = {name: report_bounds.short(value) for name, value in entry.items()}
    return {**texts, "codes": codes} if codes else texts


def _verdict(result: HostResult, findings: t.Sequence[Finding], fail_on: str) -> tuple[str, str]:
    """The host's verdict, and its unknown or inapplicable parts."""
    gaps = _gaps(result)
    if _fails(findings, fail_on):
        return FAIL, _joined(gaps)
    if gaps:
        return UNKNOWN, _joined(gaps)
    for area in ("libvirt", "selinux"):
        entry = result.coverage.get(area)
        if entry is not None and entry.status == NOT_APPLICABLE:
            return NOT_APPLICABLE, entry.why
    if not any(entry.status in (PASS, FAIL) for entry in result.outcomes):
        return NOT_APPLICABLE, "no rule applies to this host"
    return PASS, ""


def _gaps(result: HostResult) -> list[str]:
    """Areas that could not be read and rules that could not judge, with reasons."""
    if not result.coverage:
        return [result.why]
    areas = sorted(result.coverage.items())
    gaps = [f"{area}: {entry.why or 'no reason given'}" for area, entry in areas if entry.status == UNKNOWN]
    reasons = {entry.why for _area, entry in areas if entry.status == UNKNOWN}
    # A rule with findings that could not judge everything is in doubt too; its outcome has the reason. A rule in doubt
    # for the same reason as an area is left out.
    doubts = [entry for entry in result.outcomes if _in_doubt(entry) and entry.why not in reasons]
    return [*_common_causes(doubts), *gaps, *_single_doubts(doubts)]


def _common_causes(doubts: t.Sequence[Outcome]) -> list[str]:
    """Each reason that keeps several rules from judging, once, the one of most rules first."""
    counts = Counter(entry.why for entry in doubts)
    causes = [(why.removeprefix(f"{HOST}: "), count) for why, count in counts.most_common() if count > 1]
    return [f"{why}: {count} rules wait for it" for why, count in causes]


def _single_doubts(doubts: t.Sequence[Outcome]) -> list[str]:
    counts = Counter(entry.why for entry in doubts)
    return [f"{entry.rule}: {entry.why}" for entry in doubts if counts[entry.why] == 1]


def _in_doubt(outcome: Outcome) -> bool:
    return outcome.status == UNKNOWN or (outcome.status == FAIL and bool(outcome.why))


def _joined(gaps: list[str]) -> str:
    more = and_more(len(gaps) - 3)
    return "; ".join(gaps[:3]) + (f";{more}" if more else "")


def _fails(findings: t.Iterable[Finding], fail_on: str) -> bool:
    return fail_on != NEVER and any(at_least(finding.severity, fail_on) for finding in findings)


def _overall(findings: t.Sequence[Finding], verdicts: t.Sequence[str], fail_on: str) -> str:
    """Fail before unknown before pass. A fleet of inapplicable hosts alone does not pass."""
    if _fails(findings, fail_on):
        return FAIL
    return UNKNOWN if UNKNOWN in verdicts or PASS not in verdicts else PASS


def _counts(findings: t.Iterable[Finding]) -> dict[str, int]:
    counted = Counter(finding.severity for finding in findings)
    return {severity: counted[severity] for severity in SEVERITIES}


def _fleet(
    entries: t.Sequence[t.Mapping[str, t.Any]],
    active: t.Sequence[Finding],
    applied: w.AppliedWaivers,
    fleet: across.Fleet,
) -> dict[str, t.Any]:
    verdicts = Counter(entry["verdict"] for entry in entries)
    return {
        "hosts": {"total": len(entries), **{verdict: verdicts[verdict] for verdict in VERDICTS}},
        "guests_compared": fleet.guests,
        "findings": _counts(active),
        "waived": len(applied.waived),
        "chance": {
            "equal_pairs": fleet.equal_by_chance,
            "expected_pairs": round(fleet.expected_by_chance, 2),
        },
    }


def _waiver(waiver: w.Waiver) -> dict[str, t.Any]:
    document = {name: getattr(waiver, name) for name in ("fingerprint", "rule", "subject", "host", "reason", "index")}
    document["expires"] = waiver.expires.isoformat()
    return {name: value for name, value in sorted(document.items()) if value is not None}
