# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as typed data, for everything that shows it: the table of formats and the JSON Schema are made from it.

``read_report`` checks a document of schema ``svirt.fleet/report/1`` and names what does not fit by its path. A report
of a later version may have more fields; they are left out.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import Counter
from dataclasses import dataclass, field, fields, is_dataclass

from ..errors import SchemaError
from ..snapshot.document import Additive, Json, decode, key_of
from ..snapshot.model import AREAS, OK
from .finding import COSTS, FAIL, NOT_APPLICABLE, PASS, SCOPES, SEVERITIES, UNKNOWN, at_least
from .report import NEVER, SCHEMA, THRESHOLDS, VERDICTS

#: Classes of reach, worst first.
CLASSES = ("E1", "E2", "E3", "E4")
FLEET_VERDICTS = (PASS, FAIL, UNKNOWN)


def fact(
    text: str, key: str = "", choices: t.Sequence[str] = (), pattern: str = "", optional: bool = False
) -> dict[str, t.Any]:
    """Metadata of a field: meaning, name in the document if another, values, and whether it may be left out."""
    return {"doc": text, "key": key, "choices": tuple(choices), "pattern": pattern, "optional": optional}


_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_FINGERPRINT = r"^[0-9a-f]{16}$"
_CODES = "codes of the reasons, each once; unlike why, they stay the same"


@dataclass(frozen=True)
class SeverityCounts(Additive):
    """Numbers of findings by severity."""

    critical: int = field(metadata=fact("findings of severity critical"))
    high: int = field(metadata=fact("findings of severity high"))
    medium: int = field(metadata=fact("findings of severity medium"))
    low: int = field(metadata=fact("findings of severity low"))
    info: int = field(metadata=fact("findings of severity info"))

    def items(self) -> list[tuple[str, int]]:
        """Severity and number, worst first."""
        return [(severity, getattr(self, severity)) for severity in SEVERITIES]

    @property
    def total(self) -> int:
        """Number of all."""
        return sum(number for _severity, number in self.items())


@dataclass(frozen=True)
class ReportedFinding(Additive):
    """A finding of the report."""

    rule: str = field(metadata=fact("id of the rule"))
    severity: str = field(metadata=fact("how bad it is", choices=SEVERITIES))
    scope: str = field(metadata=fact("what it is about", choices=SCOPES))
    host: str = field(metadata=fact("inventory name of the host; empty for a finding that is not of one host"))
    subject: str = field(metadata=fact("what is wrong"))
    title: str = field(metadata=fact("the rule's title"))
    evidence: dict[str, Json] = field(metadata=fact("raw values as read"))
    fix: str = field(metadata=fact("how to repair it"))
    cost: str = field(metadata=fact("what the repair interrupts", choices=tuple(COSTS)))
    fingerprint: str = field(metadata=fact("id that stays the same from run to run", pattern=_FINGERPRINT))
    reach: str | None = field(metadata=fact("class of reach", key="class", choices=CLASSES, optional=True))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts that it affects."""
        if self.host:
            return (self.host,)
        named: t.Any = self.evidence.get("hosts")
        return tuple(sorted({name for name in named if isinstance(name, str)})) if isinstance(named, list) else ()


@dataclass(frozen=True)
class ReportedWaiver(Additive):
    """A waiver as the operator wrote it."""

    reason: str = field(metadata=fact("why the finding is accepted"))
    expires: str = field(metadata=fact("last day on which it holds, UTC", pattern=_DATE))
    index: int = field(metadata=fact("position in the operator's list, from 0"))
    fingerprint: str | None = field(
        default=None, metadata=fact("the finding that it names", pattern=_FINGERPRINT, optional=True)
    )
    rule: str | None = field(default=None, metadata=fact("id of the rule", optional=True))
    subject: str | None = field(default=None, metadata=fact("subject of the finding", optional=True))
    host: str | None = field(default=None, metadata=fact("host, for a waiver for one host only", optional=True))

    @property
    def target(self) -> str:
        """The waived finding or subject, as text."""
        if self.fingerprint:
            return f"finding {self.fingerprint}"
        return f"{self.rule} on {self.subject}" + (f" of {self.host}" if self.host else "")


@dataclass(frozen=True)
class WaivedFinding(ReportedFinding):
    """A finding that a waiver accepts."""

    waiver: ReportedWaiver = field(metadata=fact("the waiver"))


@dataclass(frozen=True)
class ReportedOutcome(Additive):
    """A rule that did not pass on a host."""

    rule: str = field(metadata=fact("id of the rule"))
    status: str = field(metadata=fact("its result", choices=(FAIL, UNKNOWN, NOT_APPLICABLE)))
    why: str = field(metadata=fact("the reason; of a rule that failed, why it could not check everything"))
    codes: list[str] | None = field(default=None, metadata=fact(_CODES, optional=True))

    @property
    def in_doubt(self) -> bool:
        """Whether the rule could not judge, or not all."""
        return self.status == UNKNOWN or (self.status == FAIL and bool(self.why))


@dataclass(frozen=True)
class ReportedCoverage(Additive):
    """Whether an area of a host could be read."""

    status: str = field(metadata=fact("its status", choices=(OK, UNKNOWN, NOT_APPLICABLE)))
    why: str = field(metadata=fact("the reason, when the status is not ok"))
    codes: list[str] | None = field(default=None, metadata=fact(_CODES, optional=True))


@dataclass(frozen=True)
class OmittedFindings(Additive):
    """Findings of a host that are counted but not listed."""

    findings: int = field(metadata=fact("their number"))
    by_rule: dict[str, int] = field(metadata=fact("their number by rule"))


@dataclass(frozen=True)
class ReportedHost(Additive):
    """A host in the scope of the audit."""

    name: str = field(metadata=fact("name in the inventory"))
    verdict: str = field(metadata=fact("its verdict", choices=VERDICTS))
    why: str = field(metadata=fact("what is unknown or does not apply; empty when there is none"))
    coverage: dict[str, ReportedCoverage] = field(
        metadata=fact("what could be read, by area; empty when it was not read")
    )
    counts: SeverityCounts = field(metadata=fact("active findings that affect the host"))
    outcomes: list[ReportedOutcome] = field(metadata=fact("rules that did not pass"))
    omitted: OmittedFindings | None = field(default=None, metadata=fact("findings not listed", optional=True))

    @property
    def unread_areas(self) -> list[str]:
        """Areas that could not be read."""
        if not self.coverage:
            return list(AREAS)
        return [area for area, entry in sorted(self.coverage.items()) if entry.status not in (OK, NOT_APPLICABLE)]


@dataclass(frozen=True)
class HostCounts(Additive):
    """Numbers of hosts by verdict."""

    total: int = field(metadata=fact("all hosts in scope"))
    failed: int = field(metadata=fact("hosts that fail", key=FAIL))
    unknown: int = field(metadata=fact("hosts that are unknown"))
    passed: int = field(metadata=fact("hosts that pass", key=PASS))
    not_applicable: int = field(metadata=fact("hosts to which nothing applies"))

    def items(self) -> list[tuple[str, int]]:
        """Verdict and number, worst first."""
        return list(zip(VERDICTS, (self.failed, self.unknown, self.passed, self.not_applicable)))


@dataclass(frozen=True)
class ChancePairs(Additive):
    """Pairs of guests with equal levels that share no labelled storage (class E4)."""

    equal_pairs: int = field(metadata=fact("their number"))
    expected_pairs: float = field(metadata=fact("the number expected by chance"))


@dataclass(frozen=True)
class ReportedCategories(Additive):
    """Where guests are among all pairs of categories. A cell is a square of so many categories each way."""

    cell: int = field(metadata=fact("categories along the side of a cell"))
    pairs: list[list[int]] = field(
        metadata=fact("guests with two categories: cell of the lower, cell of the higher, number of guests")
    )
    tenants: list[list[int]] = field(
        metadata=fact("guests with four categories, by the first two, which name the tenant: as in pairs")
    )
    others: int = field(metadata=fact("guests with other numbers of categories"))
    ranges: list[list[int]] = field(metadata=fact("ranges of daemons: lowest and highest category, number of hosts"))


@dataclass(frozen=True)
class GoneFinding(Additive):
    """A finding of an earlier run that is gone."""

    rule: str = field(metadata=fact("id of the rule"))
    severity: str = field(metadata=fact("how bad it was", choices=SEVERITIES))
    host: str = field(metadata=fact("inventory name of the host; empty for a finding that was not of one host"))
    subject: str = field(metadata=fact("what was wrong"))
    title: str = field(metadata=fact("the rule's title"))
    fingerprint: str = field(metadata=fact("its id", pattern=_FINGERPRINT))


@dataclass(frozen=True)
class DifferenceCounts(Additive):
    """Numbers of findings by what became of them since the earlier run."""

    new: int = field(metadata=fact("findings that the earlier run did not have"))
    gone: int = field(metadata=fact("findings of the earlier run whose fault is gone"))
    unchanged: int = field(metadata=fact("findings of both runs"))
    accepted: int = field(metadata=fact("findings of the earlier run that a waiver accepts now"))
    not_known: int = field(metadata=fact("findings of one run of which the other knows nothing"))


@dataclass(frozen=True)
class ReportedDifference(Additive):
    """What changed since an earlier run."""

    run: str = field(metadata=fact("id of the earlier run"))
    generated_at: str = field(metadata=fact("time of its analysis, UTC", pattern=_TIME))
    counts: DifferenceCounts = field(metadata=fact("numbers of findings"))
    new: list[str] = field(metadata=fact("fingerprints of findings that are new, at most 500"))
    gone: list[GoneFinding] = field(metadata=fact("findings that are gone, at most 500"))


@dataclass(frozen=True)
class ReportedFleet(Additive):
    """Counts over the whole fleet."""

    hosts: HostCounts = field(metadata=fact("numbers of hosts"))
    guests_compared: int = field(metadata=fact("running guests whose categories were compared"))
    findings: SeverityCounts = field(metadata=fact("active findings"))
    waived: int = field(metadata=fact("number of waived findings"))
    chance: ChancePairs = field(metadata=fact("equal levels by chance"))
    left_out: list[str] = field(
        default_factory=list, metadata=fact("hosts outside --limit, neither read nor compared", optional=True)
    )
    omitted: int | None = field(default=None, metadata=fact("findings counted but not listed", optional=True))


@dataclass(frozen=True)
class Report(Additive):
    """Results of an audit."""

    schema: str = field(metadata=fact("name of this schema", choices=(SCHEMA,)))
    generated_at: str = field(metadata=fact("time of the analysis, UTC", pattern=_TIME))
    verdict: str = field(metadata=fact("verdict over all hosts", choices=FLEET_VERDICTS))
    fail_on: str = field(metadata=fact("lowest severity that fails", choices=THRESHOLDS))
    hosts: list[ReportedHost] = field(metadata=fact("hosts in scope, by name"))
    findings: list[ReportedFinding] = field(metadata=fact("active findings, worst first"))
    fleet: ReportedFleet = field(metadata=fact("counts over the whole fleet"))
    waived: list[WaivedFinding] = field(metadata=fact("findings that a waiver accepts"))
    unused_waivers: list[ReportedWaiver] = field(metadata=fact("valid waivers that match nothing"))
    categories: ReportedCategories | None = field(
        default=None, metadata=fact("where guests are among all pairs of categories", optional=True)
    )
    last_passed_at: str | None = field(
        default=None,
        metadata=fact("time of the last analysis into the same file that passed", pattern=_TIME, optional=True),
    )

    run: str | None = field(default=None, metadata=fact("id of the run in the store", optional=True))
    since: ReportedDifference | None = field(
        default=None, metadata=fact("what changed since the last run of the same inventory", optional=True)
    )

    @property
    def omitted_by_rule(self) -> Counter[str]:
        """Findings counted but not listed, by rule."""
        counts: Counter[str] = Counter()
        for host in self.hosts:
            if host.omitted:
                counts.update(host.omitted.by_rule)
        return counts

    @property
    def by_rule(self) -> Counter[str]:
        """Active findings by rule, those that are not listed included."""
        return Counter(finding.rule for finding in self.findings) + self.omitted_by_rule

    @property
    def by_class(self) -> dict[str, int]:
        """Active findings by class of reach."""
        counts = Counter(finding.reach for finding in self.findings)
        return {reach: counts[reach] for reach in CLASSES}

    def fails(self, finding: ReportedFinding) -> bool:
        """Whether the finding makes verdicts fail."""
        return self.fail_on != NEVER and at_least(finding.severity, self.fail_on)


def read_report(document: t.Any) -> Report:
    """The report from its JSON form. Raises SchemaError with the path of what does not fit."""
    seen = document.get("schema") if isinstance(document, dict) else type(document).__name__
    if seen != SCHEMA:
        raise SchemaError(f"not a report: schema is {str(seen)[:80]!r}, this version reads {SCHEMA!r}", "not_a_report")
    return decode(Report, document, "report")


def report_json(value: t.Any) -> t.Any:
    """The JSON form of a report or a part of it: the inverse of ``read_report``."""
    if is_dataclass(value):
        present = ((item, getattr(value, item.name)) for item in fields(value))
        return {
            key_of(item): report_json(part)
            for item, part in present
            if part is not None or not item.metadata.get("optional")
        }
    if isinstance(value, dict):
        return {key: report_json(part) for key, part in value.items()}
    return [report_json(part) for part in value] if isinstance(value, list) else value
