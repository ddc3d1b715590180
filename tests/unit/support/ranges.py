# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose daemon gets its range by a drop-in: a captured tree, and a real folder for what is written."""

from __future__ import annotations

import errno
import os
import typing as t
from pathlib import Path

from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import LabelError
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import parse_context
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.category_range import CategoryRange
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Tools

from . import hosts
from .captured import CapturedRoot, Tree

FS = "/sys/fs/selinux"
VIRTD = "system_u:system_r:virtd_t:s0-s0:"
DROP_IN = "/etc/systemd/system/libvirtd.service.d/60-svirt-fleet.conf"


def tree() -> Tree:
    """EL 9 with its daemon's program and unit."""
    host = hosts.el9()
    host.file(f"{FS}/class/process/index", "2")
    host.file(f"{FS}/class/process/perms/transition", "1")
    host.file("/usr/sbin/libvirtd", "", "system_u:object_r:virtd_exec_t:s0", mode=0o755)
    host.file("/usr/lib/systemd/system/libvirtd.service", "[Unit]\n[Service]\nType=notify\n")
    return host


class RangeRoot(CapturedRoot):
    """A captured host that also says which labels its policy takes, and which the daemon would get."""

    #: Types that systemd may not start.
    denied: t.ClassVar[tuple[str, ...]] = ()

    def transact(self, path: str, request: bytes) -> bytes:
        words = request.decode().rstrip("\0").split(" ")
        if path == f"{FS}/context":
            try:
                known = parse_context(words[0]).type in ("virtd_t", "virtqemud_t")
            except LabelError:
                known = False
            if not known:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
            return request
        if path == f"{FS}/create":
            return f"{VIRTD}c0.c1023\0".encode() if "virtd_exec_t" in words[1] else words[0].encode()
        if path == f"{FS}/access" and words[2] == "2":
            allowed = parse_context(words[1]).type not in self.denied
            return f"{int(allowed):x} ffffffff 0 ffffffff 1 0".encode()
        return super().transact(path, request)


class Systemd:
    """systemctl. What it is asked to do is kept in a file: it is run in a child."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "systemctl"
        self.log.touch()
        self.fails = ""
        self.shows = ""

    @property
    def acts(self) -> list[str]:
        return self.log.read_text().splitlines()

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        words = " ".join(command[1:])
        if self.fails and self.fails in words:
            return 1, "", "Connection timed out"
        if words.startswith("show "):
            return 0, self.shows, ""
        with self.log.open("a") as file:
            file.write(f"{words}\n")
        return 0, "", ""


def actor(found: Tree, top: Path, systemd: Systemd) -> CategoryRange:
    """The range of that host."""

    def ask(_uri: str, known: t.Collection[str]) -> t.Iterable[dict[str, t.Any]]:
        return [
            {key: value for key, value in item.items() if key != "live" or item["name"] not in known}
            for item in found.libvirt
        ]

    tools = Tools(ask=ask, run_command=systemd, strict=False)
    return CategoryRange(RangeRoot(found, hosts.policy()), tools, 5.0, str(top))
