# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: the probe, the audit, and what people use in their place."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.crowd import FOLDER
from tests.bench.timing import BenchError, Command


def _environment() -> dict[str, str]:
    return {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "False"}


@dataclass(frozen=True)
class Target:
    """The host that is measured, by its inventory."""

    inventory: Path
    host: str
    environment: Mapping[str, str] = field(default_factory=_environment)

    def adhoc(self, module: str, arguments: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """Words of an ad-hoc command."""
        words = ("ansible", "-i", str(self.inventory), self.host, "-m", module)
        return (*words, "-a", json.dumps(arguments)) if arguments else words

    def playbook(self, name: str, **variables: object) -> tuple[str, ...]:
        """Words of a playbook run over the host alone."""
        extra = json.dumps(variables)
        return ("ansible-playbook", "-i", str(self.inventory), "--limit", self.host, "-e", extra, name)


def commands(target: Target, scratch: Path, stock_guests: int) -> dict[str, Command]:
    """The commands that take turns; the scratch folder takes snapshots, reports and playbooks."""
    ping = scratch / "ping.yml"
    ping.write_text(json.dumps([_play("ansible.builtin.ping")]), encoding="utf-8")
    stock = scratch / "stock.yml"
    stock.write_text(json.dumps([_stock_play(stock_guests)]), encoding="utf-8")
    audit = target.playbook("svirt.fleet.audit", svirt_report_dir=str(scratch / "report"), svirt_fail_on="never")
    probe = target.adhoc("svirt.fleet.svirt_info", {"dest": str(scratch / "snapshots")})
    environment = target.environment
    return {
        "ping": Command(target.adhoc("ansible.builtin.ping"), environment),
        "setup": Command(target.adhoc("ansible.builtin.setup"), environment),
        "svirt_info": Command(probe, environment),
        "ping playbook": Command(target.playbook(str(ping)), environment),
        "audit playbook": Command(audit, environment, expected=(0, 2)),
        "stock loop": Command(target.playbook(str(stock)), environment),
    }


def hardening(target: Target, scratch: Path) -> Command:
    """Hardening; the first run changes the host, those after it find nothing to do."""
    variables = {"svirt_report_dir": str(scratch / "harden"), "svirt_fail_on": "never", "selinux_soak_seconds": 0}
    return Command(target.playbook("svirt.fleet.harden", **variables), target.environment)


def _play(module: str) -> dict[str, Any]:
    return {"hosts": "all", "gather_facts": False, "tasks": [{module: {}}]}


def _stock_play(guests: int) -> dict[str, Any]:
    """The same questions asked with stock modules: per guest its XML, its label, and each image's state and label."""
    names = [f"bench-{number:03}" for number in range(guests)]
    images = [f"{FOLDER}/guest{number:03}-{disk}.raw" for number in range(guests) for disk in ("vda", "vdb")]
    command, stat = "ansible.builtin.command", "ansible.builtin.stat"
    tasks = [
        {command: {"argv": ["virsh", "-r", "dumpxml", "{{ item }}"]}, "loop": names},
        {command: {"argv": ["virsh", "-r", "dominfo", "{{ item }}"]}, "loop": names},
        {stat: {"path": "{{ item }}", "get_checksum": False}, "loop": images},
        {command: {"argv": ["ls", "-Z", "{{ item }}"]}, "loop": images},
    ]
    return {"hosts": "all", "gather_facts": False, "tasks": tasks}


_MEASURE = """
import glob, os, resource, subprocess, sys
latest = max(glob.glob("/root/.ansible/tmp/*/AnsiballZ_svirt_info.py"), key=os.path.getmtime)
subprocess.run([sys.executable, latest], stdout=subprocess.DEVNULL, check=True)
print("peak_kib", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_memory(target: Target) -> int:
    """Peak resident memory of the probe's largest process on the host, KiB, by the host's own accounting."""
    keep = {**target.environment, "ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_PIPELINING": "0"}
    words = target.adhoc("svirt.fleet.svirt_info")
    subprocess.run(words, env=keep, capture_output=True, text=True, check=True)
    words = target.adhoc("ansible.builtin.command", {"argv": ["python3", "-"], "stdin": _MEASURE})
    result = subprocess.run(words, env=dict(target.environment), capture_output=True, text=True, check=False)
    seen = re.search(r"peak_kib (\d+)", result.stdout)
    _sweep(target)
    if seen is None:
        raise BenchError(f"{target.host}: could not measure memory:\n{(result.stdout + result.stderr)[-2000:]}")
    return int(seen.group(1))


def _sweep(target: Target) -> None:
    program = "import glob, shutil\nfor path in glob.glob('/root/.ansible/tmp/*'):\n    shutil.rmtree(path, True)\n"
    words = target.adhoc("ansible.builtin.command", {"argv": ["python3", "-"], "stdin": program})
    subprocess.run(words, env=dict(target.environment), capture_output=True, check=False)
