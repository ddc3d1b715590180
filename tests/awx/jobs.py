# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Jobs as AWX launches them: ansible-runner in a process and a private data folder of its own.

A job has a copy of the project, its slice of the inventory, extra variables, and the environment that credentials give
it. It shares nothing with other jobs but the store.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.awx import simulated
from tests.lab.machine.process import descendants

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / "build" / "collections"
INVENTORY_ID = 7
FORKS = 4
_PAUSE = 0.2
#: Seconds that a job may take.
PATIENCE = 1800.0


def slice_of(hosts: Sequence[int], number: int, count: int) -> list[int]:
    """The hosts of a slice, from 1, by AWX's stride over the names in order."""
    return sorted(hosts, key=simulated.name_of)[number - 1 :: count]


@dataclass
class Job:
    """A job under way, or ended."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def reports(self) -> Path:
        """Folder that the playbook writes to, in the job's copy of the project."""
        return self.folder / "project" / "svirt-report"

    @property
    def report(self) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], json.loads((self.reports / "report.json").read_text()))

    @property
    def stats(self) -> dict[str, t.Any]:
        """What set_stats published: AWX hands it on to later jobs."""
        found: dict[str, t.Any] = {}
        for path in self.folder.glob("artifacts/*/job_events/*.json"):
            event = json.loads(path.read_text())
            found.update(event.get("event_data", {}).get("artifact_data", {}))
        return found

    def ended(self) -> int:
        """The status of the job's end; waits for it. A job that takes too long is killed."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def read_hosts(self) -> list[str]:
        """Hosts whose snapshot the job has."""
        return sorted(path.stem for path in self.reports.glob("snapshots/*.json"))

    def kill_after(self, hosts: int) -> None:
        """Kill the job, with all that it started, once it has read so many hosts."""
        end = time.monotonic() + PATIENCE
        while len(self.read_hosts()) < hosts and self.process.poll() is None and time.monotonic() < end:
            time.sleep(_PAUSE)
        self.kill()

    def kill(self) -> None:
        """Kill the job with all that it started: the runner gives Ansible a session of its own."""
        for pid in descendants(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Controller:
    """What starts jobs: a folder for theirs, the store, and the fleet's hosts by number."""

    folder: Path
    store: str
    hosts: Sequence[int]
    inventory: int = INVENTORY_ID
    started: int = 0

    def launch(self, playbook: str, hosts: Sequence[int] | None = None, **variables: t.Any) -> Job:
        """Start a job over all hosts, or a slice of them."""
        self.started += 1
        folder = self.folder / f"job-{self.started}"
        shutil.copytree(ROOT / "awx", folder / "project")
        self._inventory(folder, self.hosts if hosts is None else hosts)
        home = folder / "home"
        home.mkdir()
        given = {"awx_job_id": self.started, "awx_inventory_id": self.inventory, **variables}
        environment = {
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_FORKS": str(FORKS),
            "ANSIBLE_LOCAL_TEMP": str(home / "local"),
            "ANSIBLE_REMOTE_TEMP": str(home / "remote"),
            "HOME": str(home),
            "SVIRT_STORE": self.store,
        }
        (folder / "env").mkdir()
        (folder / "env" / "extravars").write_text(json.dumps(given))
        (folder / "env" / "envvars").write_text(json.dumps(environment))
        runner = Path(sys.executable).parent / "ansible-runner"
        command = [str(runner), "run", str(folder), "--playbook", playbook, "--ident", str(self.started)]
        path = f"{runner.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=folder,
                env={"PATH": path, "HOME": str(home), "LC_ALL": "C.UTF-8", "NO_COLOR": "1"},
            )
        return Job(folder, process)

    def slices(self, playbook: str, count: int, **variables: t.Any) -> list[Job]:
        """Start the slices of a job, side by side."""
        return [
            self.launch(playbook, slice_of(self.hosts, number, count), **variables) for number in range(1, count + 1)
        ]

    def _inventory(self, folder: Path, hosts: Sequence[int]) -> None:
        """The inventory as AWX writes it for a job: a script with what the job may see, and nothing else."""
        variables = {simulated.name_of(number): self._host(folder, number) for number in hosts}
        content = {"all": {"hosts": sorted(variables)}, "_meta": {"hostvars": variables}}
        script = folder / "inventory" / "hosts"
        script.parent.mkdir()
        script.write_text(f"#!{sys.executable}\nprint(r'''{json.dumps(content)}''')\n")
        script.chmod(0o700)

    def _host(self, folder: Path, number: int) -> dict[str, str]:
        python = folder / "hosts" / simulated.name_of(number)
        python.parent.mkdir(exist_ok=True)
        program = ROOT / "tests" / "awx" / "host_python.py"
        paths = f"PYTHONPATH='{ROOT}' PYTHONDONTWRITEBYTECODE=1"
        python.write_text(f"#!/bin/sh\n{paths} exec '{sys.executable}' '{program}' {number} \"$@\"\n")
        python.chmod(0o700)
        return {"ansible_connection": "local", "ansible_python_interpreter": str(python)}
