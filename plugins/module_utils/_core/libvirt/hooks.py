# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's hooks for guests: which of them its daemon calls, and what the loaded policy must let it do.

libvirt looks for hooks when its daemon starts. One that found any for QEMU looks anew at each call; one that found none
never calls any. A hook that cannot be run is one that fails: no guest starts, and those that run are ended when the
daemon restarts, for it calls the hook for each of them ("reconnect").

Sources: libvirt's docs/hooks.rst, src/util/virhook.c (it takes what is a plain file with an execute bit, and asks no
policy), src/qemu/qemu_process.c.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..selinux.context import type_of
from ..selinux.policy_access import AccessVerdict, Check


@dataclass(frozen=True)
class Hook:
    """A hook that libvirt would call."""

    path: str
    #: When the file, or a link to it, changed last.
    changed_at: float
    #: Why the daemon could not run it; empty when it can, or no policy decides.
    denied: str = ""


def is_unseen(path: str, hooks: t.Collection[Hook], started_at: float | None) -> bool:
    """Whether a daemon that started then does not call the hook of this path, which is there now."""
    there = any(hook.path == path for hook in hooks)
    return there and (started_at is None or all(hook.changed_at > started_at for hook in hooks))


def questions(domain: str, label: str, process: str | None) -> list[Check]:
    """What the daemon needs to run a hook with this label, as a process with the label that it would get."""
    asked = [Check(domain, label, "file", ("read", "open", "execute"))]
    if process is None or type_of(process) == type_of(domain):
        return [*asked, Check(domain, label, "file", ("execute_no_trans",))]
    return [
        *asked,
        Check(domain, process, "process", ("transition",)),
        Check(process, label, "file", ("entrypoint",)),
    ]


def objections(verdicts: t.Iterable[AccessVerdict]) -> list[str]:
    """Why the daemon could not do what was asked about. A permissive domain may do what is denied."""
    found = []
    for item in verdicts:
        check = item.check
        if item.problem:
            found.append(f"whether the daemon may use {check.target} is not known: {item.problem}")
        elif item.denied and not item.permissive:
            what = f"{', '.join(item.denied)} ({check.tclass})"
            found.append(f"the loaded policy does not let {check.source} do this to {check.target}: {what}")
    return found
