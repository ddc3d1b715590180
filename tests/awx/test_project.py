# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The project that AWX checks out: playbooks by file name, surveys whose questions are variables."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.plugin_utils import _variables

ROOT = Path(__file__).resolve().parents[2]
AWX = ROOT / "awx"
PLAYBOOKS = sorted(AWX.glob("*.yml"))
SURVEYS = sorted(AWX.glob("surveys/*.json"))
#: What AWX takes for a playbook when it lists those of a project.
IS_PLAYBOOK = re.compile(r"^\s*?-?\s*?(?:hosts|(ansible\.builtin\.)?import_playbook):\s*?.*?$", re.MULTILINE)
#: Keys of a question, and types, that AWX accepts.
KEYS = {"question_name", "question_description", "variable", "type", "required", "default", "choices", "min", "max"}
TYPES = {"text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect"}


def questions() -> list[t.Any]:
    return [
        pytest.param(question, id=f"{path.stem}-{question['variable']}")
        for path in SURVEYS
        for question in json.loads(path.read_text())["spec"]
    ]


def test_there_are_playbooks_and_surveys() -> None:
    assert {path.stem for path in PLAYBOOKS} == {"audit", "allocate", "harden", "report", "rollback"}
    assert {path.stem for path in SURVEYS} < {path.stem for path in PLAYBOOKS}


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_playbook_is_listed_by_awx_and_calls_the_one_of_its_name(path: Path) -> None:
    text = path.read_text()
    assert IS_PLAYBOOK.search(text)
    (play,) = yaml.safe_load(text)
    assert play["ansible.builtin.import_playbook"] == f"svirt.fleet.{path.stem}"
    assert (ROOT / "playbooks" / path.name).is_file()


@pytest.mark.parametrize("path", [path for path in PLAYBOOKS if path.stem != "rollback"], ids=lambda path: path.name)
def test_store_is_that_of_the_environment(path: Path) -> None:
    (play,) = yaml.safe_load(path.read_text())
    assert "lookup('ansible.builtin.env', 'SVIRT_STORE')" in play["vars"]["svirt_store"]


@pytest.mark.parametrize("question", questions())
def test_question_is_a_variable_whose_answers_are_valid(question: dict[str, t.Any]) -> None:
    assert set(question) <= KEYS
    assert question["type"] in TYPES
    # AWX passes an empty text on where an optional question has no answer.
    assert question["required"] is True
    answers = [question["default"]]
    if question["type"] in ("multiplechoice", "multiselect"):
        assert question["default"] in question["choices"]
        answers = list(question["choices"])
    for answer in answers:
        value = [answer] if question["type"] == "multiselect" else answer
        assert _variables.check_value(question["variable"], value) is None


@pytest.mark.parametrize("path", SURVEYS, ids=lambda path: path.name)
def test_survey_asks_each_variable_once(path: Path) -> None:
    survey = json.loads(path.read_text())
    assert set(survey) == {"name", "description", "spec"}
    names = [question["variable"] for question in survey["spec"]]
    assert sorted(set(names)) == sorted(names)


def test_schedules_set_only_what_the_survey_asks() -> None:
    variables = yaml.safe_load((ROOT / "playbooks" / "awx_setup.yml").read_text())[0]["vars"]
    survey_of = {item["name"]: item.get("survey") for item in variables["awx_setup_templates"]}
    checked = 0
    for schedule in variables["awx_setup_schedules"]:
        if data := schedule.get("extra_data"):
            survey = json.loads((AWX / "surveys" / f"{survey_of[schedule['template']]}.json").read_text())
            assert set(data) == {question["variable"] for question in survey["spec"]}
            checked += 1
    assert checked


def test_collections_are_this_one_below_the_next_major_version() -> None:
    wanted = yaml.safe_load((AWX / "collections" / "requirements.yml").read_text())["collections"]
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert wanted == [{"name": "svirt.fleet", "version": f">={version},<{int(version[0]) + 1}.0.0"}]
