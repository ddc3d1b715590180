# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The published JSON Schemas take what the code writes, and refuse what the code refuses."""

from __future__ import annotations

import copy
import importlib
import json
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_model import read_report
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import SchemaError
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import decode_snapshot, encode
from hypothesis import given, settings

from tests.tools.reference import DOCS
from tests.unit.support.factory import host as snapshot
from tests.unit.support.reports import documents, whole

jsonschema: t.Any = importlib.import_module("jsonschema")


def validator(name: str) -> t.Any:
    schema = json.loads((DOCS / "schemas" / f"{name}.json").read_text())
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


REPORT, SNAPSHOT = validator("report"), validator("snapshot")


def test_a_report_with_everything_in_it_is_valid() -> None:
    assert [error.message for error in REPORT.iter_errors(json.loads(json.dumps(whole())))] == []


@settings(max_examples=20, deadline=None)
@given(documents())
def test_every_report_is_valid(document: dict[str, t.Any]) -> None:
    assert [error.message for error in REPORT.iter_errors(json.loads(json.dumps(document)))] == []


def test_a_snapshot_is_valid() -> None:
    document = json.loads(json.dumps(encode(snapshot())))
    decode_snapshot(document)
    assert [error.message for error in SNAPSHOT.iter_errors(document)] == []


Change = t.Callable[[dict[str, t.Any]], object]
BAD_REPORTS: dict[str, Change] = {
    "schema": lambda document: document.update(schema="svirt.fleet/report/2"),
    "verdict": lambda document: document.update(verdict="green"),
    "missing": lambda document: document.pop("waived"),
    "severity": lambda document: document["findings"][0].update(severity="bad"),
    "fingerprint": lambda document: document["findings"][0].update(fingerprint="x"),
    "null class": lambda document: document["findings"][0].update({"class": 7}),
    "count": lambda document: document["hosts"][0]["counts"].update(high="1"),
}
BAD_SNAPSHOTS: dict[str, Change] = {
    "schema": lambda document: document.pop("schema"),
    "coverage": lambda document: document["coverage"].pop("boot"),
    "unknown": lambda document: document.update(more=1),
    "type": lambda document: document.update(guests={}),
}


@pytest.mark.parametrize("name", BAD_REPORTS)
def test_a_bad_report_is_refused_by_both(name: str) -> None:
    document = json.loads(json.dumps(whole()))
    BAD_REPORTS[name](document)
    assert not REPORT.is_valid(copy.deepcopy(document))
    with pytest.raises(SchemaError):
        read_report(document)


@pytest.mark.parametrize("name", BAD_SNAPSHOTS)
def test_a_bad_snapshot_is_refused_by_both(name: str) -> None:
    document = json.loads(json.dumps(encode(snapshot())))
    BAD_SNAPSHOTS[name](document)
    assert not SNAPSHOT.is_valid(copy.deepcopy(document))
    with pytest.raises(SchemaError):
        decode_snapshot(document)
