# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live migration between two hosts of the lab, over the link between them, as an administrator has it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.lab import Lab

_KEY = "/root/.ssh/svirt-migration"
_AUTHORIZED = "/etc/ssh/lab_authorized_keys"
#: It takes ten seconds where nothing else runs.
_LIMIT = 600.0


@dataclass(frozen=True)
class Migration:
    """Hosts of which each may send its guests to the others."""

    lab: Lab

    def move(self, guest: str, source: str, target: str) -> subprocess.CompletedProcess[bytes]:
        """Move a running guest; the status and what virsh said are the caller's to judge.

        unsafe: the host that exports the share has it as a local folder, and libvirt takes that for a mistake.
        """
        uri = f"qemu+ssh://root@{target}/system?keyfile={_KEY}"
        line = shlex.join(["virsh", "migrate", "--live", "--unsafe", "--persistent", "--verbose", guest, uri])
        return self.lab.remote(source).call(f"LC_ALL=C {line} 2>&1 </dev/null", check=False, timeout=_LIMIT)


@contextmanager
def between(lab: Lab, *names: str) -> Iterator[Migration]:
    """Let these hosts reach one another as root, with a key of the hosts' own, while the block runs."""
    keys = {}
    for name in names:
        command = (
            f"rm -f {_KEY} {_KEY}.pub; ssh-keygen -q -t ed25519 -N '' -C svirt-migration -f {_KEY}; cat {_KEY}.pub"
        )
        keys[name] = lab.remote(name).call(f"umask 077; mkdir -p /root/.ssh; {command}").stdout.decode().strip()
    try:
        for name in names:
            others = [other for other in names if other != name]
            lines = "\n".join(keys[other] for other in others)
            scan = f"ssh-keyscan -t ed25519 {shlex.join(others)} >/root/.ssh/known_hosts 2>/dev/null"
            lab.remote(name).call(f"printf '%s\\n' {shlex.quote(lines)} >>{_AUTHORIZED}; {scan}")
        yield Migration(lab)
    finally:
        for name in names:
            lab.remote(name).call(f"sed -i '/svirt-migration$/d' {_AUTHORIZED}; rm -f {_KEY} {_KEY}.pub")
