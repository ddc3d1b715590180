# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report_model as model
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import SchemaError
from hypothesis import given, settings

from tests.unit.support.reports import documents, read, whole


def test_reading_and_writing_are_inverse() -> None:
    document = json.loads(json.dumps(whole()))
    assert model.report_json(model.read_report(document)) == document


@settings(max_examples=50, deadline=None)
@given(documents())
def test_reading_and_writing_are_inverse_for_any_report(document: dict[str, t.Any]) -> None:
    plain = json.loads(json.dumps(document))
    assert model.report_json(model.read_report(plain)) == plain


def changed(*path: str | int, to: t.Any) -> dict[str, t.Any]:
    """A report with one value replaced."""
    document = json.loads(json.dumps(whole()))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return t.cast("dict[str, t.Any]", document)


@pytest.mark.parametrize(
    ("document", "code", "where"),
    [
        (None, "not_a_report", "NoneType"),
        ([], "not_a_report", "list"),
        ({"schema": "svirt.fleet/report/2"}, "not_a_report", "svirt.fleet/report/2"),
        (changed("verdict", to="ok"), "bad_choice", "report.verdict"),
        (changed("generated_at", to="yesterday"), "bad_text", "report.generated_at"),
        (changed("findings", 0, "severity", to="awful"), "bad_choice", "report.findings[0].severity"),
        (changed("findings", 0, "fingerprint", to="x"), "bad_text", "report.findings[0].fingerprint"),
        (changed("findings", 0, "class", to="E9"), "bad_choice", "report.findings[0].class"),
        (changed("hosts", 1, "counts", "high", to="2"), "error", "report.hosts[1].counts.high"),
        (changed("hosts", 1, "counts", to={}), "missing_field", "report.hosts[1].counts"),
        (changed("fleet", "hosts", "pass", to=None), "error", "report.fleet.hosts.pass"),
        (changed("waived", 0, "waiver", to=[]), "error", "report.waived[0].waiver"),
        (changed("hosts", to={}), "error", "report.hosts"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(document: t.Any, code: str, where: str) -> None:
    with pytest.raises(SchemaError) as caught:
        model.read_report(document)
    assert caught.value.code == code
    assert where in str(caught.value)


def test_evidence_may_not_be_endlessly_deep() -> None:
    deep: t.Any = "end"
    for _level in range(30):
        deep = [deep]
    with pytest.raises(SchemaError) as caught:
        model.read_report(changed("findings", 0, "evidence", "x", to=deep))
    assert caught.value.code == "too_deep"


def test_fields_of_later_versions_are_left_out() -> None:
    assert model.read_report({**whole(), "pictures": [1]}) == read()


def test_counts_include_what_is_not_listed() -> None:
    omitted = {"findings": 5, "by_rule": {"TST-001": 4, "GST-009": 1}}
    report = model.read_report(changed("hosts", 1, "omitted", to=omitted))
    listed = sum(finding.rule == "TST-001" for finding in report.findings)
    assert (report.by_rule["TST-001"], report.by_rule["GST-009"]) == (listed + 4, 1)
    assert report.by_class == {"E1": 1, "E2": 1, "E3": 0, "E4": 0}
