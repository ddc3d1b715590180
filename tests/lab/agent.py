# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Runs our code inside a host: sent once per version, then one round trip a command."""

from __future__ import annotations

import io
import json
import shlex
import tarfile
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from .cache import digest
from .errors import LabError
from .shell import tail
from .ssh import Remote

_ABSENT = 97


@cache
def _bundle() -> tuple[str, bytes]:
    """The folder of the code in a host, and the code as a tar."""
    folder = resources.files(__package__) / "host"
    sources = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(".py")}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in sorted(sources.items()):
            info = tarfile.TarInfo(f"host/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    version = digest([part for item in sorted(sources.items()) for part in item])
    return f"/run/svirt-lab/{version}", packed.getvalue()


def ask(remote: Remote, command: str, *names: str, timeout: float = 900.0) -> object:
    """Run a command of our code in a host and return its answer. Raises LabError with what the host said."""
    return json.loads(fetch(remote, command, *names, timeout=timeout).decode().rstrip().splitlines()[-1])


def fetch(remote: Remote, command: str, *names: str, timeout: float = 900.0) -> bytes:
    """The same for a command whose answer is bytes. timeout in seconds."""
    return _run(remote, ("-m", "host", command, remote.name, *names), None, timeout)


def program(remote: Remote, source: Path, *words: str, timeout: float = 900.0) -> object:
    """Run a Python program in a host, with our code there to import as ``host``; what it prints last is JSON."""
    said = _run(remote, ("-", *words), source.read_bytes(), timeout)
    return json.loads(said.decode().rstrip().splitlines()[-1])


def _run(remote: Remote, words: Sequence[str], stdin: bytes | None, timeout: float) -> bytes:
    folder, code = _bundle()
    line = f"cd {folder} 2>/dev/null || exit {_ABSENT}; exec python3 {shlex.join(words)}"
    done = remote.call(line, stdin=stdin, timeout=timeout, check=False)
    if done.returncode == _ABSENT:
        remote.call(f"mkdir -p {folder} && tar -xzf - -C {folder}", stdin=code)
        done = remote.call(line, stdin=stdin, timeout=timeout, check=False)
    if done.returncode != 0:
        said = tail(done.stderr or done.stdout, 40)
        raise LabError(f"{remote.name}: {shlex.join(words)} failed:\n{said}")
    return done.stdout
