# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Reports for tests: a small one with everything that a report can hold, and any number of others."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report, waivers
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_model import Report, read_report
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from ansible_collections.svirt.fleet.plugins.module_utils._core.utf8 import clean_text
from hypothesis import strategies as st

from tests.unit.support.fleets import rule

NOW = datetime.datetime(2026, 11, 23, 3, 0, 0, tzinfo=datetime.timezone.utc)
READ = {area: s.Coverage(s.OK) for area in s.AREAS}
#: Names that a tenant may choose.
HOSTILE = (
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "a|b`c`*d*[x](javascript:alert(1))",
    "\x1b[31mred\x07",
    "\u202egnp.exe",
    'x" onmouseover="alert(1)',
    "]]>&amp;{{ 7 * 7 }}{% raw %}",
    "line\nbreak\r\n,\ttab;",
    "\ud800lone",
    "nul\0l",
    "</style><img src=x onerror=alert(1)>",
    "-1+1",
    "@SUM(1)",
    "\ufffe\U0001f600 e\u0301",
)


def built(
    results: t.Iterable[report.HostResult], fail_on: str = "high", waived: t.Sequence[t.Any] = (), **parts: t.Any
) -> dict[str, t.Any]:
    """The document of a report, as fleet_analysis writes it."""
    document = report.build(
        results, parts.get("fleet", analysis.Fleet()), waivers.parse(list(waived)), fail_on, parts.get("now", NOW)
    )
    document["fleet"]["left_out"] = parts.get("left_out", [])
    return document


def a_finding(host: str, subject: str, severity: str = "high", **parts: t.Any) -> f.Finding:
    """A finding of a rule of the catalogue's kind."""
    evidence = parts.pop("evidence", {"path": subject})
    return f.finding_of(rule(severity=severity, **parts), host, f.Hit(subject, subject, evidence))


def across(level: str, reach: str, hosts: t.Sequence[str], number: int = 2, **evidence: t.Any) -> f.Finding:
    """A finding about guests that reach one another."""
    members = [
        {"guest": f"g{place}", "host": hosts[place % len(hosts)], "level": level, "uuid": f"u{place}"}
        for place in range(number)
    ]
    chosen = next(one for one in analysis.RULES if one.id == {"E1": "CAT-002", "E2": "CAT-001"}.get(reach, "CAT-003"))
    return f.finding_of(chosen, "", f.Hit(level, level, {"guests": members, "hosts": list(hosts), **evidence}), reach)


def whole() -> dict[str, t.Any]:
    """A report with every kind of thing in it, hostile names included."""
    fails = report.HostResult(
        "kvm1",
        "",
        READ,
        (f.Outcome("TST-001", f.FAIL, "db: no answer"), f.Outcome("TST-002", f.NOT_APPLICABLE, "no swtpm")),
        tuple(a_finding("kvm1", name) for name in HOSTILE),
    )
    quiet = report.HostResult("kvm2", "", READ, (f.Outcome("TST-001", f.PASS),))
    unsure = report.HostResult(
        "kvm3",
        "",
        {**READ, "images": s.Coverage(s.UNKNOWN, "hangs", ["not_answered"])},
        (f.Outcome("IMG-001", f.UNKNOWN, "hangs", ("not_answered",)),),
    )
    foreign = report.HostResult(
        "deb1", "", {**READ, "selinux": s.Coverage(s.NOT_APPLICABLE, "AppArmor is in force")}, ()
    )
    low = report.HostResult(
        "kvm4",
        "",
        READ,
        (f.Outcome("TST-003", f.FAIL),),
        (a_finding("kvm4", "old", "low", id_="TST-003"), a_finding("kvm4", "accepted", "critical", id_="TST-004")),
    )
    hits = (
        across("s0:c1,c2", "E2", ["kvm1", "kvm3"], storage="nas:/vms"),
        across("s0:c7,c9", "E1", ["kvm1"], 3),
    )
    result = built(
        [fails, quiet, unsure, foreign, low, report.unread("kvm9", "ssh: <b>no route</b>")],
        waived=[
            {"rule": "TST-004", "subject": "accepted", "reason": "moved <i>soon</i>", "expires": "2026-12-31"},
            {"rule": "TST-009", "subject": "gone", "reason": "was there", "expires": "2026-12-31"},
            {"rule": "TST-008", "subject": "late", "reason": "too long ago", "expires": "2026-01-31"},
        ],
        fleet=analysis.Fleet(hits, guests=17, equal_by_chance=3, expected_by_chance=2.5),
        left_out=["kvm7"],
    )
    result["categories"] = {
        "cell": 16,
        "pairs": [[0, 0, 5], [0, 63, 1], [20, 40, 900]],
        "tenants": [[8, 25, 12]],
        "others": 2,
        "ranges": [[0, 1023, 3], [0, 31, 1], [512, 543, 1]],
    }
    return result


def read() -> Report:
    """The same, typed."""
    return read_report(whole())


_NAMES = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12))
_REASONS = st.sampled_from(("accepted", "<i>soon</i>", "=1+1", "a|b"))
_WHY = st.sampled_from(("", "no answer", "<b>hangs</b>", "ends with ]]>"))


@st.composite
def host_results(draw: st.DrawFn) -> list[report.HostResult]:
    """Hosts with any mix of findings, unread areas and doubts."""
    result = []
    for number in range(draw(st.integers(0, 4))):
        name = f"kvm{number}" if draw(st.booleans()) else f"kvm{number}{clean_text(draw(_NAMES))}"
        if draw(st.integers(0, 5)) == 0:
            result.append(report.unread(name, draw(_WHY)))
            continue
        area = draw(st.sampled_from(s.AREAS))
        status = draw(st.sampled_from((s.OK, s.OK, s.UNKNOWN, s.NOT_APPLICABLE)))
        subjects = draw(st.lists(_NAMES, max_size=4, unique=True))
        findings = tuple(
            a_finding(
                name, subject, draw(st.sampled_from(f.SEVERITIES)), id_=draw(st.sampled_from(("TST-001", "GST-001")))
            )
            for subject in subjects
        )
        outcome = f.Outcome("TST-002", draw(st.sampled_from((f.PASS, f.FAIL, f.UNKNOWN, f.NOT_APPLICABLE))), draw(_WHY))
        result.append(report.HostResult(name, "", {**READ, area: s.Coverage(status, draw(_WHY))}, (outcome,), findings))
    return result


@st.composite
def documents(draw: st.DrawFn) -> dict[str, t.Any]:
    """Documents of reports."""
    results = draw(host_results())
    names = [result.name for result in results] or ["kvm1"]
    hits = draw(
        st.lists(
            st.builds(
                across,
                st.sampled_from(("s0:c1,c2", "s0:c3,c4", "s0:c5,c6")),
                st.sampled_from(("E1", "E2", "E3")),
                st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True),
            ),
            max_size=3,
            unique_by=lambda hit: hit.fingerprint,
        )
    )
    every = [*(finding for result in results for finding in result.findings), *hits]
    accepted = (
        draw(st.lists(st.sampled_from(every), max_size=3, unique_by=lambda hit: hit.fingerprint)) if every else []
    )
    expires = st.sampled_from(("2026-12-31", "2026-01-31"))
    waived = [{"fingerprint": one.fingerprint, "reason": draw(_REASONS), "expires": draw(expires)} for one in accepted]
    fail_on = draw(st.sampled_from(report.THRESHOLDS))
    left_out = draw(st.lists(st.sampled_from(("kvm7", "<i>kvm8</i>")), max_size=2, unique=True))
    return built(results, fail_on, waived, fleet=analysis.Fleet(tuple(hits)), left_out=left_out)
