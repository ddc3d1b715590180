# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The execution environment: its build context can be made, and the builder finds what the collection needs.

No image is built here: that needs a container runtime and a registry.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
DEFINITION = ROOT / "execution-environment.yml"


def run(*words: str | Path, folder: Path) -> str:
    # A path with the collection on it would leave nothing to install.
    environment = {name: value for name, value in os.environ.items() if name != "ANSIBLE_COLLECTIONS_PATH"}
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make ee` leaves, in a folder of the test's own."""
    top = tmp_path_factory.mktemp("ee")
    ee = top / "build" / "ee"
    run(PROGRAMS / "ansible-galaxy", "collection", "build", "--output-path", ee, folder=ROOT)
    (archive,) = ee.glob("svirt-fleet-*.tar.gz")
    archive.rename(ee / "svirt-fleet.tar.gz")
    shutil.copy(DEFINITION, top)
    shutil.copytree(ROOT / "meta", top / "meta")
    run(
        PROGRAMS / "ansible-builder",
        "create",
        "--output-filename",
        "Containerfile",
        "--context",
        top / "context",
        folder=top,
    )
    return top


def test_context_has_the_collection_and_a_core_above_the_floor(context: Path) -> None:
    recipe = (context / "context" / "Containerfile").read_text()
    core = yaml.safe_load(DEFINITION.read_text())["dependencies"]["ansible_core"]["package_pip"]
    assert core in recipe
    floor = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"].removeprefix(">=")
    assert [int(part) for part in core.partition("==")[2].split(".")] >= [int(part) for part in floor.split(".")]
    built = context / "context" / "_build"
    assert (built / "collection" / "svirt-fleet.tar.gz").is_file()
    assert "SQLAlchemy" in (built / "requirements.txt").read_text()


def test_builder_finds_what_the_collection_needs(context: Path) -> None:
    collections = context / "collections"
    archive = context / "build" / "ee" / "svirt-fleet.tar.gz"
    run(
        PROGRAMS / "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "--force",
        "-p",
        collections,
        archive,
        folder=context,
    )
    python, system = context / "python.txt", context / "system.txt"
    run(
        *(PROGRAMS / "ansible-builder", "introspect", collections),
        *("--write-pip", python, "--write-bindep", system),
        folder=context,
    )
    wanted = [
        line.split("#")[0].strip() for line in (ROOT / "meta" / "ee-requirements.txt").read_text().splitlines() if line
    ]
    assert {line for line in wanted if line} <= {line.split("#")[0].strip() for line in python.read_text().splitlines()}
    assert "openssh-client" in system.read_text()
