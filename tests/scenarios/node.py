# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host of the lab, as a test works on it: modules and roles, guests of the test's own, what is run inside."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.lab.agent import program
from tests.lab.errors import LabError
from tests.lab.host.domains import Guest
from tests.lab.lab import Lab
from tests.scenarios.playbooks import Run, run

_GUEST = Path(__file__).with_name("host_guest.py")
_JOURNAL = "/var/lib/svirt-fleet/journal"


@dataclass(frozen=True)
class Node:
    """A host of a running lab."""

    lab: Lab
    name: str

    def play(self, *tasks: dict[str, Any], check: bool = False) -> Run:
        """Run tasks, as a user's playbook has them, with everything on one connection."""
        plays = [{"hosts": self.name, "gather_facts": False, "tasks": list(tasks)}]
        with tempfile.NamedTemporaryFile("w", prefix="svirt-play-", suffix=".yml") as book:
            json.dump(plays, book)  # JSON is YAML
            book.flush()
            return run(book.name, self.lab.inventory, limit=self.name, check=check)

    def module(self, name: str, *, check: bool = False, **parameters: Any) -> dict[str, Any]:
        """The result of one module of this collection, failed or not."""
        done = self.play({f"svirt.fleet.{name}": parameters}, check=check)
        results = done.of(self.name, name)
        assert len(results) == 1, done.output
        return results[0]

    def role(self, name: str, **variables: Any) -> Run:
        """Run a role of this collection. Its exit status is the caller's to judge."""
        return self.play({"ansible.builtin.include_role": {"name": f"svirt.fleet.{name}"}, "vars": variables})

    def python(self, source: Path, *words: str, timeout: float = 900.0) -> Any:
        """What a program of ours says that runs inside the host, where it may import the lab's code as ``host``."""
        return program(self.lab.remote(self.name), source, *words, timeout=timeout)

    def shell(self, line: str, *, check: bool = True, timeout: float = 300.0) -> str:
        """What a shell command line in the host prints. Raises LabError (check)."""
        return self.lab.remote(self.name).call(line, check=check, timeout=timeout).stdout.decode()

    def virsh(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """virsh as the administrator has it; its status is the caller's to judge."""
        return self.lab.remote(self.name).call(f"LC_ALL=C virsh {shlex.join(words)}", check=False)

    def pid(self, guest: str) -> int:
        """The process of a guest that runs."""
        return int(self.shell(f"cat /run/libvirt/qemu/{shlex.quote(guest)}.pid"))

    def journal(self) -> list[str]:
        """Runs that changed something on the host and were not put back, oldest first."""
        return [name for name in self.shell(f"ls {_JOURNAL} 2>/dev/null || :").split() if name.endswith(".jsonl")]

    def put_back(self, since: list[str]) -> dict[str, Any] | None:
        """Put back all runs that came after those named, which ``journal`` gave; None when there are none."""
        count = len([name for name in self.journal() if name not in since])
        return self.module("svirt_rollback", runs=count) if count else None

    def forget(self, since: list[str]) -> None:
        """Drop the runs that came after those named: what could not be put back, and is not to stay behind a test."""
        for name in set(self.journal()) - set(since):
            self.shell(f"rm {_JOURNAL}/{name}")

    def make(self, *wanted: Guest) -> None:
        """Define guests with their disks, and start those that are to run."""
        self.python(_GUEST, "make", *(json.dumps(asdict(guest)) for guest in wanted))

    @contextmanager
    def guests(self, *wanted: Guest) -> Iterator[None]:
        """Guests with their disks, started where they are to run, and gone afterwards whatever happened."""
        try:
            self.make(*wanted)
            yield
        finally:
            with suppress(LabError):  # what failed before says more
                self.python(_GUEST, "remove", *(json.dumps(asdict(guest)) for guest in reversed(wanted)))
