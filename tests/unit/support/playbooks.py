# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Runs the playbooks as an operator runs them, over hosts that cannot be read."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report

COLLECTIONS = Path(report.__file__).parents[7]


@dataclass
class Run:
    """What a run of the playbook left."""

    status: int
    output: str
    folder: Path

    @property
    def report(self) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], json.loads((self.folder / "report.json").read_text()))

    @property
    def hosts(self) -> dict[str, tuple[str, str]]:
        return {host["name"]: (host["verdict"], host["why"]) for host in self.report["hosts"]}


@pytest.fixture
def refused() -> Iterator[int]:
    """A port of this machine that refuses connections: bound, and not listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def inventory(tmp_path: Path, refused: int) -> Path:
    """Two hosts that are down, and a host that answers but has no Python where the inventory says."""
    path = tmp_path / "hosts.ini"
    down = f"ansible_host=127.0.0.1 ansible_port={refused}"
    path.write_text(
        f"[down]\ndown1 {down}\ndown2 {down}\n"
        "[broken]\nbroken1 ansible_connection=local ansible_python_interpreter=/nonexistent/python\n"
    )
    return path


def play(name: str, inventory: Path, *options: str, **environment: str) -> Run:
    """Run svirt.fleet.NAME, or a playbook of the test's own by its path."""
    folder = inventory.parent / "report"
    named = name if name.endswith(".yml") else f"svirt.fleet.{name}"
    command = [sys.executable, "-m", "ansible", "playbook", named, "-i", str(inventory)]
    nothing = inventory.parent / "ansible.cfg"  # what the machine's configuration says must not count
    nothing.write_text("[defaults]\n")
    own = {
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_CONFIG": str(nothing),
        "ANSIBLE_LOCAL_TEMP": str(inventory.parent / "local"),
        "ANSIBLE_REMOTE_TEMP": str(inventory.parent / "remote"),
        "ANSIBLE_SSH_RETRIES": "0",
        "ANSIBLE_HOME": str(inventory.parent / "home"),
        "LC_ALL": "C.UTF-8",
    }
    result = subprocess.run(
        [*command, "-e", f"svirt_report_dir={folder}", *options],
        env={**os.environ, **own, **environment},
        cwd=inventory.parent,  # the default store is made there
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,  # for what hangs; a machine that does much else is slow
        check=False,
    )
    return Run(result.returncode, result.stdout + result.stderr, folder)
