# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host for the watch, which runs without Ansible and so without its run_command.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import subprocess
import typing as t

_SECONDS = 60
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "LANG": "C"}


def run_command(args: list[str], **_more: t.Any) -> tuple[int, str, str]:
    """Exit status, output and errors of a program that changes nothing, as run_command gives them."""
    try:
        done = subprocess.run(  # noqa: S603 - the words are constants of this collection, and no shell reads them
            args,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            cwd="/",
            env=_ENVIRONMENT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", str(error)
    out, err = (part.decode("utf-8", "surrogateescape") for part in (done.stdout, done.stderr))
    return done.returncode, out, err
