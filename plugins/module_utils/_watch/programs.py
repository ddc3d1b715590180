# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host for the watch, which runs without Ansible and so without its run_command.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import typing as t

_SECONDS = 60
#: SELinux's attributes of this thread: the label that it has, and the one for the next program.
_ATTRIBUTES = "/proc/thread-self/attr"
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "LANG": "C"}


def run_command(args: list[str], **_more: t.Any) -> tuple[int, str, str]:
    """Exit status, output and errors of a program that changes nothing, as run_command gives them.

    The program stays in the domain of the watch where the policy allows it. Started from a service of systemd,
    journalctl is given a domain in Debian's policy that writes journals and may not map, that is read, them.
    """
    try:
        try:
            with _own_domain():
                done = _run(args)
        except PermissionError:  # in this domain; in the one that the policy gives it, it may run
            done = _run(args)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", str(error)
    out, err = (part.decode("utf-8", "surrogateescape") for part in (done.stdout, done.stderr))
    return done.returncode, out, err


def _run(args: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - the words are constants of this collection, and no shell reads them
        args,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_SECONDS,
        cwd="/",
        env=_ENVIRONMENT,
        check=False,
    )


@contextlib.contextmanager
def _own_domain() -> t.Iterator[None]:
    """Programs that are started meanwhile get no other domain; without SELinux, or the right to ask so, as ever."""
    kept = False
    with contextlib.suppress(OSError):
        with open(os.path.join(_ATTRIBUTES, "current"), "rb") as file:
            label = file.read()
        kept = _set_next(label)
    try:
        yield
    finally:
        if kept:
            _set_next(b"\n")  # no label: as the policy says


def _set_next(label: bytes) -> bool:
    with open(os.path.join(_ATTRIBUTES, "exec"), "wb", buffering=0) as file:
        file.write(label)
    return True
