# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Hosts of a simulated fleet, by number: EL 9 with one running guest, whose label no other host has."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Tools

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree

#: Every so many hosts SELinux is permissive: a finding.
PERMISSIVE_EVERY = 8
_CATEGORIES = "c100,c200"


def name_of(number: int) -> str:
    """A host's name in the inventory."""
    return f"kvm{number:03}"


def is_permissive(number: int) -> bool:
    """Whether a host does not enforce."""
    return number % PERMISSIVE_EVERY == 0


def tree(number: int) -> Tree:
    """The files of a host."""
    files = hosts.el9()
    if is_permissive(number):
        hosts.selinux(files, mode="permissive")
    own = _texts(number)
    for path in list(files.entries):
        entry = files.entries[path]
        entry.content = _changed(entry.content, own)
        entry.xattrs = {name: _changed(value, own) for name, value in entry.xattrs.items()}
    files.libvirt = json.loads(_changed(json.dumps(files.libvirt).encode(), own))
    files.file("/etc/machine-id", f"{number:032x}\n")
    files.file("/proc/sys/kernel/hostname", f"{name_of(number)}\n")
    return files


def _texts(number: int) -> dict[bytes, bytes]:
    """Texts of the host that the tree is made from, and what the host of this number has there."""
    return {
        hosts.UUID.encode(): f"00000000-0000-4000-8000-{number:012x}".encode(),
        _CATEGORIES.encode(): f"c{100 + number % 400},c{600 + number // 2}".encode(),
        b"52:54:00:00:00:01": f"52:54:00:00:{number // 256:02x}:{number % 256:02x}".encode(),
    }


def _changed(content: bytes, texts: dict[bytes, bytes]) -> bytes:
    for old, new in texts.items():
        content = content.replace(old, new)
    return content


def root(number: int) -> CapturedRoot:
    """A host in the place of this machine."""
    return CapturedRoot(tree(number), hosts.policy())


def tools(number: int) -> Tools:
    """What the probe uses beside the host's files."""

    def ask(_uri: str, known: t.Collection[str]) -> list[dict[str, t.Any]]:
        return [
            {key: value for key, value in item.items() if key != "live" or item["name"] not in known}
            for item in tree(number).libvirt
        ]

    return Tools(ask=ask)
