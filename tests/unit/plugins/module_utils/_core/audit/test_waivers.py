# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import waivers
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import WaiverError

from tests.unit.support.fleets import finding

TODAY = datetime.date(2026, 11, 23)
FOUND = finding()


def item(**fields: t.Any) -> dict[str, t.Any]:
    return {"reason": "known", "expires": "2026-12-31", **fields}


def applied(*items: dict[str, t.Any], found: t.Any = (FOUND,)) -> waivers.AppliedWaivers:
    return waivers.apply(found, waivers.parse(list(items)), TODAY)


@pytest.mark.parametrize(
    "fields",
    [
        {"fingerprint": FOUND.fingerprint},
        {"rule": "TST-001", "subject": "web"},
        {"rule": "TST-001", "subject": "web", "host": "kvm1"},
        {"rule": "TST-001", "subject": "web", "expires": "2026-11-23"},
        {"rule": "TST-001", "subject": "web", "expires": datetime.date(2026, 11, 24)},
    ],
)
def test_a_waiver_that_names_the_finding_takes_it_away(fields: dict[str, t.Any]) -> None:
    result = applied(item(**fields))
    assert result.active == ()
    assert [(found, waiver.index) for found, waiver in result.waived] == [(FOUND, 0)]
    assert result.unused == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"fingerprint": "0" * 16},
        {"rule": "TST-002", "subject": "web"},
        {"rule": "TST-001", "subject": "Web"},
        {"rule": "TST-001", "subject": "web", "host": "kvm2"},
    ],
)
def test_a_waiver_of_something_else_takes_nothing_and_is_unused(fields: dict[str, t.Any]) -> None:
    result = applied(item(**fields))
    assert result.active == (FOUND,)
    assert [waiver.index for waiver in result.unused] == [0]


def test_an_expired_waiver_waives_nothing_and_is_a_finding() -> None:
    result = applied(item(rule="TST-001", subject="web", expires="2026-11-22"))
    assert result.waived == ()
    assert result.unused == ()
    expired = next(found for found in result.active if found.rule == "WVR-001")
    assert FOUND in result.active
    assert (expired.severity, expired.scope, expired.host) == ("medium", "fleet", "")
    assert expired.evidence == {"reason": "known", "expired": "2026-11-22"}


def test_the_finding_of_an_expired_waiver_keeps_its_fingerprint_as_days_pass() -> None:
    parsed = waivers.parse([item(rule="TST-001", subject="web", expires="2026-01-01")])
    marks = {waivers.apply([], parsed, day).active[0].fingerprint for day in (TODAY, TODAY.replace(month=12))}
    assert len(marks) == 1


def test_the_most_exact_waiver_counts_and_all_that_match_are_used() -> None:
    wide, narrow = item(rule="TST-001", subject="web"), item(rule="TST-001", subject="web", host="kvm1")
    result = applied(wide, narrow, found=(FOUND, finding("kvm2")))
    assert [waiver.index for _found, waiver in result.waived] == [1, 0]
    assert result.unused == ()


def test_a_waiver_said_twice_is_used_once() -> None:
    result = applied(item(rule="TST-001", subject="web"), item(rule="TST-001", subject="web"))
    assert [waiver.index for waiver in result.unused] == [1]


#: Bad waiver, code, message.
BAD: list[tuple[t.Any, str, str]] = [
    ("all", "no_fields", "expected fields such as rule and reason, found 'all'"),
    ({}, "no_reason", "reason is missing; say why the finding is accepted, for later readers"),
    (item(), "not_named", "names nothing; give a fingerprint, or both rule and subject"),
    (item(rule="TST-001"), "not_named", "names rule; give a fingerprint, or both rule and subject"),
    (item(subject="web"), "not_named", "names subject; give a fingerprint, or both rule and subject"),
    (
        item(fingerprint=FOUND.fingerprint, rule="TST-001"),
        "named_twice",
        "fingerprint and rule are both given; keep one way to name it",
    ),
    (
        item(fingerprint="ABC"),
        "bad_fingerprint",
        "fingerprint 'ABC' is not 16 hexadecimal digits; copy it from the finding in report.json",
    ),
    (item(rule="all", subject="web"), "bad_rule", "rule 'all' is not an id such as GST-001"),
    (
        item(rule="TST-001", subject="web", reason=" "),
        "no_reason",
        "reason is missing; say why the finding is accepted, for later readers",
    ),
    (item(rule="TST-001", subject=7), "no_text", "subject is 7; expected text, put it in quotes"),
    (
        item(rule="TST-001", subject="web", until="2027"),
        "unknown_field",
        "unknown field 'until'; known are fingerprint, rule, subject, host, reason, expires",
    ),
    (
        {"rule": "TST-001", "subject": "web", "reason": "r"},
        "no_date",
        "expires is missing; give the last day on which it holds, as YYYY-MM-DD",
    ),
    *(
        (
            item(rule="TST-001", subject="web", expires=day),
            "bad_date",
            f"expires is {day!r}; expected a date as YYYY-MM-DD",
        )
        for day in ("31.12.2026", "2026-02-30", "20261231", 20261231)
    ),
    (
        item(rule="TST-001", subject="web", expires=datetime.datetime(2026, 12, 31, tzinfo=datetime.timezone.utc)),
        "bad_date",
        "expires is datetime.datetime(2026, 12, 31, 0, 0, tzinfo=datetime.timezone.utc); expected a date as YYYY-MM-DD",
    ),
]


@pytest.mark.parametrize(("bad", "code", "message"), BAD)
def test_a_bad_waiver_is_refused_with_its_index_and_a_remedy(bad: t.Any, code: str, message: str) -> None:
    with pytest.raises(WaiverError) as caught:
        waivers.parse([bad])
    assert (caught.value.code, str(caught.value)) == (code, f"waivers[0]: {message}")


def test_the_index_names_the_bad_one() -> None:
    with pytest.raises(WaiverError, match=r"waivers\[1\]"):
        waivers.parse([item(rule="TST-001", subject="web"), {}])


def test_waivers_that_are_no_list_are_refused() -> None:
    with pytest.raises(WaiverError) as caught:
        waivers.parse({"rule": "TST-001"})
    assert caught.value.code == "no_list"
