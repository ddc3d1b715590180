# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identity of the host, and Xen.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import sys
import typing as t

from ..._core.errors import HostReadError
from ..._core.snapshot.model import Host
from ..base.root import Root, reason

_FLASK = re.compile(r"\b(Enforcing|Permissive|Disabled)\b")

RunCommand = t.Callable[[list[str]], tuple[int, str, str]]


def host(root: Root, booted_at: int | None) -> Host:
    """The host's names and versions."""
    release = os_release(root)
    return Host(
        name=root.line("/proc/sys/kernel/hostname") or "",
        machine_id=root.line("/etc/machine-id") or None,
        os=release.get("PRETTY_NAME"),
        os_id=release.get("ID"),
        os_like=release.get("ID_LIKE", "").split(),
        kernel=root.line("/proc/sys/kernel/osrelease"),
        booted_at=booted_at,
        root=root.privileged,
        python=".".join(str(number) for number in sys.version_info[:3]),
    )


def os_release(root: Root) -> dict[str, str]:
    """The values of os-release."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            lines = root.read_text(path, 65536).split("\n")
        except (OSError, HostReadError):
            continue
        pairs = (line.partition("=") for line in lines if "=" in line)
        return {name: value.strip().strip("\"'")[:200] for name, _equals, value in pairs}
    return {}


def read_or_none(root: Root, path: str, problems: list[str]) -> str | None:
    try:
        return root.read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, HostReadError) as error:
        problems.append(reason(error))
        return None


def is_xen_host(root: Root) -> bool:
    """Whether this system controls a Xen host, rather than runs as a guest on one."""
    capabilities = root.line("/proc/xen/capabilities") or ""
    return root.line("/sys/hypervisor/type") == "xen" and "control_d" in capabilities


def flask(run_command: RunCommand) -> t.Iterator[tuple[str | None, str]]:
    """Whether Xen's own mandatory access control is on, and why that is not known. For a child: xl may hang."""
    status, out, err = run_command(["xl", "getenforce"])
    match = _FLASK.search(out)
    if match is None:
        yield None, f"xl getenforce: exit status {status}, {(err or out).strip()[:200]!r}"
    else:
        yield match.group(1).lower(), ""
