# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Every format of the table tells the same: verdict, counts, findings; and nothing waived or unknown has passed."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_model import read_report
from ansible_collections.svirt.fleet.plugins.plugin_utils._formats import answer
from ansible_collections.svirt.fleet.plugins.plugin_utils._formats.table import FORMATS
from hypothesis import HealthCheck, given, settings

from tests.unit.support.rendered import READERS, expected
from tests.unit.support.reports import built, documents, whole


def differences(document: dict[str, t.Any]) -> list[tuple[str, str]]:
    """Format and subject of what a format tells otherwise than the report. A format need not tell everything."""
    report = read_report(json.loads(json.dumps(document)))
    right, different = expected(report), []
    for name, form in FORMATS.items():
        shown = READERS[name](form.render(report))
        equal = {
            subject: getattr(shown, subject) == getattr(right, subject) for subject in ("verdict", "counts", "hosts")
        }
        if shown.found is not None:
            equal |= {"found": shown.found == right.found, "waived": shown.waived == right.waived}
        # Hosts are compared by number: a format shows their names as it must.
        if shown.passed is not None and right.passed is not None:
            equal["passed"] = len(shown.passed) == len(right.passed)
        different += [(name, subject) for subject, same in equal.items() if not same]
    return different


def test_every_format_has_a_reader() -> None:
    assert set(READERS) == set(FORMATS)


def test_all_formats_tell_the_same_of_hostile_names() -> None:
    assert differences(whole()) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_all_formats_tell_the_same(document: dict[str, t.Any]) -> None:
    assert differences(document) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_the_answer_is_yes_only_when_all_is_known_and_nothing_harmful_is_accepted(document: dict[str, t.Any]) -> None:
    report = read_report(json.loads(json.dumps(document)))
    if answer.answer(report).code == answer.YES:
        assert report.verdict == "pass"
        assert report.fleet.hosts.unknown == 0
        assert report.fleet.left_out == []
        assert {one.severity for one in (*report.findings, *report.waived)} <= {"medium", "low", "info"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_fleet_without_hosts_is_rendered(name: str) -> None:
    report = read_report(json.loads(json.dumps(built([]))))
    assert READERS[name](FORMATS[name].render(report)).verdict == "unknown"


@pytest.mark.parametrize("name", FORMATS)
def test_rendering_is_repeatable(name: str) -> None:
    report = read_report(json.loads(json.dumps(whole())))
    assert FORMATS[name].render(report) == FORMATS[name].render(report)
