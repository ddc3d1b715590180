# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""A PostgreSQL server of the test's own: Debian's programs, a temporary folder, a unix socket and no network.

python -m tests.store.postgres      installs Debian's package where it is missing
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.tools import environment

PACKAGE = "postgresql"
_USER = "svirt"
_PORT = 5432  # of the socket's name: nothing listens on the network
_PATIENCE = 60.0
_INSTALLED = Path("/usr/lib/postgresql")


class PostgresError(Exception):
    """There is no server; the text says why."""


def programs() -> Path | None:
    """The folder of the newest server's programs."""
    found = [path.parent for path in _INSTALLED.glob("*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def install() -> None:
    """Install Debian's package, where it is missing."""
    if programs() is None:
        environment.install_packages([PACKAGE])


@contextmanager
def server() -> Iterator[str]:
    """A server for as long as the block lasts; gives the URL of its empty database."""
    binaries = programs()
    if binaries is None:
        raise PostgresError(f"no PostgreSQL below {_INSTALLED}: apt-get install {PACKAGE}, or run `make test`")
    # A socket's path may have 107 characters, so the folder is not below a deep TMPDIR.
    folder = Path(tempfile.mkdtemp(prefix="svirt-postgres-", dir="/tmp"))
    try:
        who = _owner(folder)
        data = folder / "data"
        log = folder / "log"
        make = [binaries / "initdb", "--pgdata", data, "--username", _USER, "--auth", "trust", "--encoding", "UTF8"]
        _run([*make, "--no-sync", "--locale", "C"], who)
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", f"port={_PORT}"]
        with log.open("wb") as output:
            command = [str(binaries / "postgres"), "-D", str(data), *options]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **who)
            try:
                _wait(binaries, folder, process, log)
                yield f"postgresql://{_USER}@/postgres?host={folder}&port={_PORT}"
            finally:
                _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owner(folder: Path) -> dict[str, Any]:
    """Who runs the server: it refuses root, who hands the folder to the package's user."""
    settings: dict[str, Any] = {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}}
    if os.geteuid() != 0:
        return settings
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError as error:
        raise PostgresError(
            "there is no user postgres to run the server as; run the test as a user that is not root"
        ) from error
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    folder.chmod(0o755)
    return {**settings, "user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _run(command: list[Any], who: dict[str, Any]) -> None:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=_PATIENCE, **who
    )
    if done.returncode != 0:
        raise PostgresError(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()[-500:]}")


def _wait(binaries: Path, folder: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        ready = [str(binaries / "pg_isready"), "--quiet", "--host", str(folder), "--port", str(_PORT)]
        if subprocess.run(ready, check=False, timeout=_PATIENCE).returncode == 0:
            return
        time.sleep(0.1)
    raise PostgresError(f"the server did not come up: {log.read_text(errors='replace')[-500:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # its fast shutdown
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> int:
    try:
        install()
    except environment.SetUpError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
