# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""/etc/selinux/config as libselinux reads it, and the contexts files that libvirt and engines take their types from.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .context import type_of

MODES = ("enforcing", "permissive", "disabled")
_LXC_LINE = re.compile(r'^\s*(\w+)\s*=\s*"([^"\n]*)"', re.MULTILINE)


@dataclass(frozen=True)
class SelinuxConf:
    """Settings of /etc/selinux/config."""

    #: enforcing, permissive or disabled; None when no line sets it.
    mode: str | None
    #: Name of the policy; None when no line sets it.
    policy: str | None

    @property
    def mode_at_boot(self) -> str:
        """The mode at the load of the policy: without a line that sets it, libselinux does not enforce."""
        return self.mode or "permissive"


def parse_config(text: str) -> SelinuxConf:
    """Read the file as libselinux does.

    ``SELINUX=`` counts at the start of a line only, spelt just so; its value in any case, and the first line with
    a value that is known counts. ``SELINUXTYPE=`` may be indented and in any case, and the last one counts.
    """
    mode = policy = None
    for line in text.split("\n"):
        if mode is None and line.startswith("SELINUX="):
            value = line[len("SELINUX=") :].lstrip().lower()
            mode = next((name for name in MODES if value.startswith(name)), None)
        stripped = line.strip()
        if stripped.upper().startswith("SELINUXTYPE="):
            policy = stripped[len("SELINUXTYPE=") :].strip() or policy
    return SelinuxConf(mode, policy)


def with_mode(text: str, mode: str) -> str:
    """The file's text with this mode in the line that counts; everything else stays as it is."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        current = parse_config(line).mode
        if current is not None:
            rest = line[len("SELINUX=") :]
            start = len(rest) - len(rest.lstrip())
            lines[index] = f"SELINUX={rest[:start]}{mode}{rest[start + len(current) :]}"
            return "\n".join(lines)
    return text + ("" if text.endswith("\n") or not text else "\n") + f"SELINUX={mode}\n"


def parse_contexts(text: str) -> list[str]:
    """Types of virtual_domain_context or virtual_image_context, one a line; libvirt uses the first two lines."""
    types = (type_of(line.strip()) for line in text.split("\n")[:2])
    return [type_ for type_ in types if type_ is not None]


def parse_lxc_contexts(text: str) -> tuple[list[str], str | None]:
    """Types of lxc_contexts: those of containers' processes, sorted, and that of their files."""
    labels = dict(_LXC_LINE.findall(text))
    processes = {type_of(label) for name, label in labels.items() if name == "process" or name.endswith("_process")}
    return sorted(type_ for type_ in processes if type_ is not None), type_of(labels.get("file", ""))
