# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hooks for guests on a host, and whether libvirt's daemon may run them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import stat
import typing as t
from dataclasses import replace

from ..._core.errors import HostReadError
from ..._core.libvirt.hook_script import PASSES, UNKNOWN, outcome
from ..._core.libvirt.hooks import Hook, objections, questions
from ..._core.libvirt.shell_parser import MAX_TEXT
from ..._core.result import Reason
from ..._core.system.own_files import LINK, PROGRAM, SETTINGS
from ..base.loaded_policy import LoadedPolicy
from ..base.root import Root, label_of
from ..probe.guest_files import LABEL

_FOLDER = "/etc/libvirt/hooks"


def installed(root: Root, top: str = "") -> list[Hook]:
    """Hooks that libvirt calls for a guest, unordered: regular files with an execute bit. ``top`` precedes paths."""
    try:
        names = root.names(f"{top}{_FOLDER}/qemu.d")
    except (OSError, HostReadError):
        names = []
    paths = [f"{_FOLDER}/qemu", *(f"{_FOLDER}/qemu.d/{name}" for name in names)]
    return [hook for path in paths if (hook := _hook(root, top, path)) is not None]


def guarded(root: Root) -> bool:
    """Whether the guard is installed and refuses guests."""
    try:
        if root.readlink(LINK) != PROGRAM:
            return False
    except OSError:
        return False
    try:
        settings = json.loads(root.read_text(SETTINGS))
    except (OSError, HostReadError, ValueError):
        settings = None  # it uses its defaults
    return not (isinstance(settings, dict) and settings.get("collision") == "allow")


def _hook(root: Root, top: str, path: str) -> Hook | None:
    try:
        facts, link = root.stat(top + (PROGRAM if path == LINK else path)), root.lstat(top + path)
    except OSError:
        return None
    if not stat.S_ISREG(facts.st_mode) or not facts.st_mode & 0o111:
        return None
    # The guard's program may be replaced behind its link, which libvirt knows already.
    looks = (link,) if path == LINK else (facts, link)
    return Hook(path, max(float(time) for look in looks for time in (look.st_mtime, look.st_ctime)))


def judged(root: Root, hooks: t.Iterable[Hook], domain: str) -> list[Hook]:
    """The hooks, each with what the loaded policy denies to a daemon with this label."""
    policy = LoadedPolicy(root)
    if not policy.loaded:
        return list(hooks)
    return [replace(hook, denied=_denied(root, policy, hook.path, domain)) for hook in hooks]


def examined(root: Root, hooks: t.Iterable[Hook]) -> list[Hook]:
    """The hooks, each with its effect when the daemon calls it for running guests at its own start."""
    return [replace(hook, at_reconnect=_at_reconnect(root, hook.path)) for hook in hooks]


def _at_reconnect(root: Root, path: str) -> str:
    try:
        if path == LINK and root.readlink(path) == PROGRAM:
            return PASSES  # the guard, which refuses only guests that start or come in
    except OSError:
        pass
    try:
        return outcome(root.read_text(path, MAX_TEXT))
    except (OSError, HostReadError):
        return UNKNOWN


def _denied(root: Root, policy: LoadedPolicy, path: str, domain: str) -> tuple[Reason, ...]:
    try:
        label = label_of(root.getxattr(path, LABEL))
    except OSError:
        label = None
    if label is None:
        return (Reason("label_unread", "its label cannot be read"),)
    checks = questions(domain, label, policy.created(domain, label, "process"))
    return tuple(objections(policy.verdicts(checks)))
