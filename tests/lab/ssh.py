# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""One connection per host, kept open, so that a command costs one round trip."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .shell import run, tail


@dataclass(frozen=True)
class Remote:
    """How to reach a host as root."""

    name: str
    port: int
    key: Path
    known_hosts: Path
    control: Path

    def options(self) -> list[str]:
        """ssh options that need nothing from the user's own configuration."""
        return [
            *("-F", "/dev/null", "-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
            *("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={self.known_hosts}"),
            *("-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15"),
        ]

    def argv(self, *command: str, tty: bool = False) -> list[str]:
        """The ssh command line; through the open connection when there is one."""
        shared = ["-o", "ControlMaster=no", "-o", f"ControlPath={self.control}"]
        terminal = ["-t"] if tty else []
        return ["ssh", *self.options(), *shared, *terminal, "-p", str(self.port), "root@127.0.0.1", *command]

    def answers(self) -> bool:
        """Whether the host takes a command right now."""
        try:
            return run(self.argv("true"), timeout=60, check=False).returncode == 0
        except LabError:
            return False

    def connect(self) -> None:
        """Open the shared connection when it is not open. Losing it later only costs time."""
        if (
            run(
                ["ssh", *self.options(), "-o", f"ControlPath={self.control}", "-O", "check", "root@127.0.0.1"],
                check=False,
            ).returncode
            == 0
        ):
            return
        self.control.unlink(missing_ok=True)
        argv = [
            "ssh",
            *self.options(),
            "-o",
            "ControlMaster=yes",
            "-o",
            "ControlPersist=yes",
            "-o",
            f"ControlPath={self.control}",
            "-fN",
            "-p",
            str(self.port),
            "root@127.0.0.1",
        ]
        subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=120,
        )

    def disconnect(self) -> None:
        """Close the shared connection, if it is open."""
        run(["ssh", *self.options(), "-o", f"ControlPath={self.control}", "-O", "exit", "root@127.0.0.1"], check=False)
        self.control.unlink(missing_ok=True)

    def call(
        self, command: str, *, stdin: str | bytes | None = None, timeout: float = 300.0, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command line in the host. Raises LabError (check) with the end of what it printed."""
        self.connect()
        done = run(self.argv(command), stdin=stdin, timeout=timeout, check=False)
        if check and done.returncode != 0:
            said = "\n".join(part for part in (tail(done.stdout), tail(done.stderr)) if part)
            raise LabError(f"{self.name}: {command[:120]}: exit status {done.returncode}\n{said}")
        return done


def make_key(path: Path) -> str:
    """A key for this lab only; returns its public half."""
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "svirt-lab", "-f", str(path)])
    return path.with_suffix(".pub").read_text()
