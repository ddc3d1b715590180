# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The inventory that ansible takes as it is."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from .ssh import Remote

_TEMPLATE = """    {name}:
      ansible_host: 127.0.0.1
      ansible_port: {port}
      ansible_user: root
      ansible_ssh_private_key_file: {key}
      ansible_ssh_common_args: {args}
      ansible_python_interpreter: /usr/bin/python3
"""


def write(path: Path, remotes: Iterable[Remote]) -> None:
    """Write the hosts of the lab, in their own group."""
    blocks = [
        _TEMPLATE.format(name=remote.name, port=remote.port, key=_quoted(str(remote.key)), args=_quoted(_args(remote)))
        for remote in remotes
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    # Emulated hosts are slow to answer, most of all when a daemon has just been started.
    variables = "    ansible_pipelining: true\n    svirt_timeout: 120\n"
    path.write_text(f"---\nlab:\n  vars:\n{variables}  hosts:\n" + "".join(blocks))


def _args(remote: Remote) -> str:
    pairs = (
        "StrictHostKeyChecking=no",
        f"UserKnownHostsFile={remote.known_hosts}",
        "IdentitiesOnly=yes",
        "LogLevel=ERROR",
    )
    return " ".join(shlex.quote(word) for pair in pairs for word in ("-o", pair))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
