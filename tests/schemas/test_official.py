# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""SARIF and OSCAL as their official schemas have them, for many reports, hostile names included."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_model import read_report
from ansible_collections.svirt.fleet.plugins.plugin_utils._formats.table import FORMATS
from hypothesis import HealthCheck, given, settings

from tests.schemas import judge
from tests.tools.environment import BUILD, ENVIRONMENTS
from tests.unit.support.reports import built, documents, whole

PYTHON = BUILD / ENVIRONMENTS["schemas"] / "bin" / "python"


@pytest.fixture(scope="module")
def reports() -> list[dict[str, object]]:
    """Reports of all kinds, the same number each time."""
    result = [whole(), built([])]

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(documents())
    def draw(document: dict[str, object]) -> None:
        result.append(document)

    draw()
    return result


def judged(kind: str, files: list[Path]) -> subprocess.CompletedProcess[str]:
    if not PYTHON.exists():
        if os.environ.get("SVIRT_SCHEMAS") == "required":
            pytest.fail("there are no official schemas: python3 tests/tools/environment.py schemas")
        pytest.skip("there are no official schemas")
    command = [str(PYTHON), judge.__file__, kind, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize("kind", ["sarif", "oscal"])
def test_documents_fit(kind: str, reports: list[dict[str, object]], tmp_path: Path) -> None:
    files = []
    for number, document in enumerate(reports):
        path = tmp_path / f"{number}.json"
        path.write_text(FORMATS[kind].render(read_report(json.loads(json.dumps(document)))))
        files.append(path)
    result = judged(kind, files)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == f"{len(files)} fit\n"
    assert len(files) > 20


@pytest.mark.parametrize(
    ("kind", "old", "new"), [("sarif", '"kind": "fail"', '"kind": "bad"'), ("oscal", '"not-satisfied"', '"unsure"')]
)
def test_a_document_that_does_not_fit_is_noticed(kind: str, old: str, new: str, tmp_path: Path) -> None:
    text = FORMATS[kind].render(read_report(json.loads(json.dumps(whole()))))
    assert old in text
    path = tmp_path / "bad.json"
    path.write_text(text.replace(old, new))
    assert judged(kind, [path]).returncode == 1
