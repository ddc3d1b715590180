# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import difference, report
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_model import (
    OmittedFindings,
    Report,
    ReportedFinding,
    read_report,
    report_json,
)
from hypothesis import given

from tests.unit.support.reports import READ, a_finding, across, built, documents, whole


def of(*subjects: str, **parts: t.Any) -> Report:
    """A report about kvm1 with a finding for each subject."""
    findings = tuple(a_finding("kvm1", subject, id_="TST-001") for subject in subjects)
    outcomes = parts.pop("outcomes", (f.Outcome("TST-001", f.FAIL),))
    return read_report(built([report.HostResult("kvm1", "", READ, outcomes, findings)], **parts))


def subjects(findings: t.Iterable[ReportedFinding]) -> list[str]:
    return [finding.subject for finding in findings]


def test_findings_by_what_became_of_them() -> None:
    found = difference.compare(of("a", "b", "c"), of("b", "c", "d"))
    assert (subjects(found.new), subjects(found.gone), found.unchanged) == (["d"], ["a"], 2)
    assert (found.accepted, found.not_known) == ((), ())


def test_what_a_waiver_accepts_is_not_gone() -> None:
    waiver = {"rule": "TST-001", "subject": "a", "reason": "known", "expires": "2999-12-31"}
    found = difference.compare(of("a"), of("a", waived=[waiver]))
    assert (subjects(found.accepted), found.gone, found.unchanged) == (["a"], (), 0)
    again = difference.compare(of("a", waived=[waiver]), of("a"))
    assert subjects(again.new) == ["a"]


def test_what_could_not_be_judged_is_not_gone() -> None:
    unread = read_report(built([report.unread("kvm1", "no route")]))
    left_out = read_report(built([], left_out=["kvm1"]))
    in_doubt = of(outcomes=(f.Outcome("TST-001", f.UNKNOWN, "hangs"),))
    in_part = of("b", outcomes=(f.Outcome("TST-001", f.FAIL, "one guest hangs"),))
    for later in (unread, left_out, in_doubt, in_part):
        found = difference.compare(of("a"), later)
        assert (found.gone, subjects(found.not_known)) == ((), ["a"])
    other = of(outcomes=(f.Outcome("TST-002", f.UNKNOWN, "hangs"),))
    assert subjects(difference.compare(of("a"), other).gone) == ["a"]


def omitting(one: Report) -> Report:
    (host,) = one.hosts
    return replace(one, hosts=[replace(host, omitted=OmittedFindings(7, {"TST-001": 7}))])


def test_what_a_report_only_counts_is_neither_new_nor_gone() -> None:
    found = difference.compare(omitting(of("a")), omitting(of("b")))
    assert (found.new, found.gone, sorted(subjects(found.not_known))) == ((), (), ["a", "b"])


def test_a_finding_across_hosts_is_gone_when_all_of_its_hosts_were_read() -> None:
    hosts = [report.HostResult(name, "", READ, (f.Outcome("TST-001", f.PASS),)) for name in ("kvm1", "kvm2")]
    hit = across("s0:c1,c2", "E2", ["kvm1", "kvm2"])
    before = read_report(built(hosts, fleet=analysis.Fleet((hit,))))
    assert len(difference.compare(before, read_report(built(hosts))).gone) == 1
    half = read_report(built([hosts[0], report.unread("kvm2", "no route")]))
    assert len(difference.compare(before, half).not_known) == 1


@given(documents(), documents())
def test_every_finding_is_in_one_kind_and_nothing_changes_between_a_report_and_itself(
    one: dict[str, t.Any], other: dict[str, t.Any]
) -> None:
    before, after = read_report(one), read_report(other)
    found = difference.compare(before, after)
    appeared = {finding.fingerprint for finding in after.findings} - {x.fingerprint for x in before.findings}
    vanished = {finding.fingerprint for finding in before.findings} - {x.fingerprint for x in after.findings}
    kinds = [found.new, found.gone, found.accepted, found.not_known]
    assert sum(map(len, kinds)) == len({x.fingerprint for kind in kinds for x in kind})
    assert {x.fingerprint for kind in kinds for x in kind} == appeared | vanished
    unread = {host.name for host in after.hosts if not host.coverage}
    assert not [finding for finding in found.gone if set(finding.hosts) & unread]
    same = difference.compare(before, before)
    assert (same.new, same.gone, same.accepted, same.not_known) == ((), (), (), ())


def test_the_report_of_a_difference_is_bounded_and_comes_back() -> None:
    names = [f"g{number}" for number in range(difference.MAX_LISTED + 5)]
    before = of("gone")
    since = difference.reported(difference.compare(before, of(*names)), "earlier", before)
    assert (since.run, since.counts.new, len(since.new), since.gone[0].subject) == ("earlier", 505, 500, "gone")
    document = {**whole(), "since": report_json(since), "run": "later"}
    assert read_report(document).since == since
