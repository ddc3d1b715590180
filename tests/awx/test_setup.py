# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""svirt.fleet.awx_setup: the modules of awx.awx accept each of its tasks, and its parts refer to each other.

The modules run as they are, against a port that refuses connections: they validate their arguments before they connect.
"""

from __future__ import annotations

import ast
import json
import os
import socket
import subprocess
import sys
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = ROOT / "playbooks" / "awx_setup.yml"
MODULES = Path(
    sys.prefix, "lib", f"python3.{sys.version_info.minor}", "site-packages", "ansible_collections", "awx", "awx"
)
#: What a module says when its arguments were accepted and the controller does not answer.
NOT_CONNECTED = "refused"


def play() -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], yaml.safe_load(PLAYBOOK.read_text())[0])


def tasks() -> list[dict[str, t.Any]]:
    return [task for task in play()["tasks"] if any(key.startswith("awx.awx.") for key in task)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, t.Any]]]:
    """What each task of the playbook gave, by its name; of a loop, each item."""
    folder = tmp_path_factory.mktemp("setup")
    # The playbook as it is, but for a failed task that does not end it and hides nothing.
    text = PLAYBOOK.read_text().replace("  tasks:\n", "  ignore_errors: true\n  tasks:\n", 1)
    text = text.replace("      no_log: true\n", "")
    (folder / "setup.yml").write_text(text)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections"),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "CONTROLLER_HOST": f"http://127.0.0.1:{taken.getsockname()[1]}",
            "CONTROLLER_OAUTH_TOKEN": "token",
            "SVIRT_STORE": "postgresql://svirt@db.example.org/fleet",
        }
        given = {
            "awx_setup_project_url": "https://git.example.org/fleet.git",
            "awx_setup_inventory_path": "hosts.yml",
            "awx_setup_survey_folder": str(ROOT / "awx" / "surveys"),
        }
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [str(program), "-i", "localhost,", str(folder / "setup.yml"), "-e", json.dumps(given)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1200)
    assert "plays" in done.stdout, done.stdout + done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"]
    return {task["task"]["name"]: (answer := task["hosts"]["localhost"]).get("results") or [answer] for task in found}


def test_awx_awx_is_the_version_that_the_docs_name() -> None:
    manifest = json.loads((MODULES / "MANIFEST.json").read_text())
    assert manifest["collection_info"]["version"].startswith("24.6.")
    assert "AWX 24.6" in (ROOT / "docs" / "awx.md").read_text()


def test_every_task_is_accepted(results: dict[str, list[dict[str, t.Any]]]) -> None:
    for task in tasks():
        answers = results[task["name"]]
        assert answers
        wrong = [answer["msg"] for answer in answers if NOT_CONNECTED not in str(answer.get("msg", answer))]
        assert wrong == [], task["name"]


def test_credential_type_hands_awx_a_template(results: dict[str, list[dict[str, t.Any]]]) -> None:
    (answer,) = results["Kind of credential for the store"]
    assert answer["invocation"]["module_args"]["injectors"] == {"env": {"SVIRT_STORE": "{{ store }}"}}


def test_every_loop_ran_over_all_that_is_described(results: dict[str, list[dict[str, t.Any]]]) -> None:
    variables = play()["vars"]
    for name, described in (
        ("Job templates", "awx_setup_templates"),
        ("Workflows", "awx_setup_workflows"),
        ("Schedules", "awx_setup_schedules"),
    ):
        assert [answer["item"]["name"] for answer in results[name]] == [item["name"] for item in variables[described]]


def unknown_keys(value: t.Any, options: Mapping[str, t.Any], path: str = "") -> Iterator[str]:
    """Keys that the documentation of a module does not have among its suboptions."""
    for item in value if isinstance(value, list) else [value]:
        for key, inner in item.items():
            here = f"{path}.{key}".lstrip(".")
            if key not in options:
                yield here
            elif options[key].get("suboptions"):
                yield from unknown_keys(inner, options[key]["suboptions"], here)


def documented(module: str) -> dict[str, t.Any]:
    tree = ast.parse((MODULES / "plugins" / "modules" / f"{module}.py").read_text())
    texts = [
        str(node.value.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id == "DOCUMENTATION"
    ]
    return t.cast(dict[str, t.Any], yaml.safe_load(texts[0])["options"])


def test_nodes_of_workflows_have_documented_keys_only() -> None:
    options = documented("workflow_job_template")["workflow_nodes"]["suboptions"]
    nodes = [node for workflow in play()["vars"]["awx_setup_workflows"] for node in workflow["nodes"]]
    assert len(nodes) == 12
    assert list(unknown_keys(nodes, options)) == []
    assert list(unknown_keys([{"identifier": "a", "related": {"next": []}}], options)) == ["related.next"]


def test_workflows_lead_to_their_own_nodes_and_to_templates() -> None:
    variables = play()["vars"]
    templates = {item["name"] for item in variables["awx_setup_templates"]}
    for workflow in variables["awx_setup_workflows"]:
        names = {node["identifier"] for node in workflow["nodes"]}
        for node in workflow["nodes"]:
            target = node["unified_job_template"]
            assert target["type"] == "workflow_approval" or target["name"] in templates
            assert {each["identifier"] for nodes in node.get("related", {}).values() for each in nodes} <= names


def test_nothing_is_applied_without_an_approval() -> None:
    for workflow in play()["vars"]["awx_setup_workflows"]:
        nodes = {node["identifier"]: node for node in workflow["nodes"]}
        if "apply" in nodes:
            before = [
                (name, kind)
                for name, node in nodes.items()
                for kind, after in node.get("related", {}).items()
                if {"identifier": "apply"} in after
            ]
            assert before == [("approve", "success_nodes")]
            assert nodes["approve"]["unified_job_template"]["type"] == "workflow_approval"


def test_only_steps_that_contact_hosts_are_sliced() -> None:
    sliced = {item["steps"] for item in play()["vars"]["awx_setup_templates"] if "slices" in item}
    assert sliced == {"collect", "apply"}
    steps = {item["steps"] for item in play()["vars"]["awx_setup_templates"] if "steps" in item}
    assert steps == {"collect", "judge", "reserve", "apply", "confirm"}


def test_what_changes_hosts_predicts_unless_it_is_launched_to_run() -> None:
    by_user = [item for item in play()["vars"]["awx_setup_templates"] if "steps" not in item]
    changing = {
        item["name"]: item.get("job_type") for item in by_user if item["playbook"] in ("harden.yml", "allocate.yml")
    }
    assert set(changing.values()) == {"check"}


def test_the_store_reaches_jobs_by_their_environment_only() -> None:
    kind = next(task["awx.awx.credential_type"] for task in tasks() if "awx.awx.credential_type" in task)
    assert set(kind["injectors"]) == {"env"}
    assert kind["inputs"]["fields"][0]["secret"] is True
    templates = next(task["awx.awx.job_template"] for task in tasks() if "awx.awx.job_template" in task)
    assert "store" not in templates["extra_vars"]
