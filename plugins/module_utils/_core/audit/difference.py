# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The difference of two reports: findings that are new, gone, unchanged, accepted since, and not known.

A finding is gone only when the later run would have reported it: its hosts were read, its rule could judge them, and
none of its findings was left out of the report. Otherwise it is not known whether it is gone.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

from .report_model import DifferenceCounts, GoneFinding, Report, ReportedDifference, ReportedFinding, ReportedHost

#: Findings of each kind that a report lists; the others are counted.
MAX_LISTED = 500


@dataclass(frozen=True)
class Difference:
    """Findings by what became of them, each kind in the order of its report."""

    new: tuple[ReportedFinding, ...] = ()
    gone: tuple[ReportedFinding, ...] = ()
    #: Accepted by a waiver since.
    accepted: tuple[ReportedFinding, ...] = ()
    #: No longer reported, but not known to be gone; or reported, but not known to be new.
    not_known: tuple[ReportedFinding, ...] = ()
    unchanged: int = 0


def compare(before: Report, after: Report) -> Difference:
    """The difference between two reports about the same inventory."""
    earlier = {finding.fingerprint for finding in before.findings}
    later = {finding.fingerprint for finding in after.findings}
    waived = {finding.fingerprint for finding in after.waived}
    left_out, doubts = _Doubts(before), _Doubts(after)
    appeared = [finding for finding in after.findings if finding.fingerprint not in earlier]
    vanished = [finding for finding in before.findings if finding.fingerprint not in later]
    absent = [finding for finding in vanished if finding.fingerprint not in waived]
    return Difference(
        new=tuple(finding for finding in appeared if not left_out.may_omit(finding)),
        gone=tuple(finding for finding in absent if not doubts.may_hide(finding)),
        accepted=tuple(finding for finding in vanished if finding.fingerprint in waived),
        not_known=(
            *(finding for finding in appeared if left_out.may_omit(finding)),
            *(finding for finding in absent if doubts.may_hide(finding)),
        ),
        unchanged=len(earlier & later),
    )


class _Doubts:
    """What a report does not know."""

    def __init__(self, report: Report) -> None:
        self._hosts = {host.name: host for host in report.hosts}

    def may_omit(self, finding: ReportedFinding) -> bool:
        """Whether the report counts findings of this rule that it does not list."""
        hosts = [self._hosts[name] for name in finding.hosts if name in self._hosts]
        return any(host.omitted is not None and host.omitted.by_rule.get(finding.rule, 0) for host in hosts)

    def may_hide(self, finding: ReportedFinding) -> bool:
        """Whether the fault may exist although the report does not list it."""
        hosts = [self._hosts.get(name) for name in finding.hosts or self._hosts]
        return self.may_omit(finding) or any(host is None or _in_doubt(host, finding.rule) for host in hosts)


def _in_doubt(host: ReportedHost, rule: str) -> bool:
    """Whether the host was not read, or the rule could not judge all of it."""
    return not host.coverage or any(outcome.rule == rule and outcome.in_doubt for outcome in host.outcomes)


def reported(difference: Difference, run: str, before: Report) -> ReportedDifference:
    """The difference as a report has it."""
    return ReportedDifference(
        run=run,
        generated_at=before.generated_at,
        new=[finding.fingerprint for finding in difference.new[:MAX_LISTED]],
        gone=[_gone(finding) for finding in difference.gone[:MAX_LISTED]],
        counts=DifferenceCounts(
            len(difference.new),
            len(difference.gone),
            difference.unchanged,
            len(difference.accepted),
            len(difference.not_known),
        ),
    )


def _gone(finding: ReportedFinding) -> GoneFinding:
    return GoneFinding(
        rule=finding.rule,
        severity=finding.severity,
        host=finding.host,
        subject=finding.subject,
        title=finding.title,
        fingerprint=finding.fingerprint,
    )
