# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's hooks for guests: which of them the daemon calls, and which permissions it needs for that.

The daemon looks for hooks when it starts. If it has any hook for QEMU then, it looks again at each call; if it has
none, it never calls one. A hook that cannot be executed counts as failed: no guest starts, and running guests are ended
when the daemon restarts, for it calls the hook for each of them (operation "reconnect").

Sources: libvirt's docs/hooks.rst, src/util/virhook.c (every regular file with an execute bit is a hook; no policy is
asked), src/qemu/qemu_process.c.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..result import Reason
from ..selinux.context import type_of
from ..selinux.policy_access import AccessVerdict, Check
from .hook_script import UNKNOWN


@dataclass(frozen=True)
class Hook:
    """A hook that libvirt calls."""

    path: str
    #: When the file, or a link to it, changed last.
    changed_at: float
    #: Why the daemon could not run it; empty when it can, or no policy decides.
    denied: tuple[Reason, ...] = ()
    #: What it does when the daemon calls it for a running guest at its start: see hook_script.outcome.
    at_reconnect: str = UNKNOWN


def is_unseen(path: str, hooks: t.Collection[Hook], started_at: float | None) -> bool:
    """Whether a daemon that started then does not call the hook at this path, which exists now."""
    there = any(hook.path == path for hook in hooks)
    return there and (started_at is None or all(hook.changed_at > started_at for hook in hooks))


def questions(domain: str, label: str, process: str | None) -> list[Check]:
    """Permissions that the daemon needs to run a hook with this label, as a process with the label ``process``."""
    checks = [Check(domain, label, "file", ("read", "open", "execute"))]
    if process is None or type_of(process) == type_of(domain):
        return [*checks, Check(domain, label, "file", ("execute_no_trans",))]
    return [
        *checks,
        Check(domain, process, "process", ("transition",)),
        Check(process, label, "file", ("entrypoint",)),
    ]


def objections(verdicts: t.Iterable[AccessVerdict]) -> list[Reason]:
    """Why the daemon lacks a permission: ``denied``, or the code of why the policy gave no answer.

    A permissive domain is not held by what is denied.
    """
    reasons = []
    for item in verdicts:
        check = item.check
        if item.problem:
            why = f"whether the daemon may use {check.target} is not known: {item.problem}"
            reasons.append(Reason(item.problem.code, why))
        elif item.denied and not item.permissive:
            what = f"{', '.join(item.denied)} ({check.tclass})"
            why = f"the loaded policy does not let {check.source} do this to {check.target}: {what}"
            reasons.append(Reason("denied", why))
    return reasons
