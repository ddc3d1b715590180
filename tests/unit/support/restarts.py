# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose libvirt daemon can be restarted: one tree for each of its lives."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Tools

from . import hosts
from .captured import CapturedRoot, Entry, Tree

#: Of a daemon that has not read its configuration yet; libvirt's own name.
PID_FILE = "/run/libvirtd.pid"


def restarted(pid: int = 950) -> Tree:
    """The host of ``hosts.el9`` after a restart of its daemon."""
    tree = hosts.el9()
    for path in [path for path in tree.entries if path.startswith("/proc/900")]:
        del tree.entries[path]
    hosts.libvirtd(tree, pid=pid)
    return tree


class _Lives(CapturedRoot):
    """Shows the tree of the life that the machine is in."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine.trees[0], hosts.policy())
        self._machine = machine

    def _find(self, path: str, follow: bool, links: int = 0) -> tuple[str, Entry]:
        self._tree = self._machine.tree
        return super()._find(path, follow, links)


class Machine:
    """systemctl and libvirt of such a host. What systemctl is asked for is kept in a file: it is run in a child."""

    def __init__(
        self,
        folder: Path,
        trees: t.Sequence[Tree],
        states: t.Sequence[str] = ("active",),
        stale: bool = False,
        kill_mode_when_read: str = "process",
    ) -> None:
        self.trees = trees
        self._states = states
        #: What systemctl does not do.
        self.deaf_to = ""
        #: Its socket starts it anew once systemd has read its files again.
        self.comes_back_by_itself = False
        #: So many times it ends after its first restart, and its socket starts it anew.
        self.falls = 0
        self._stale = stale
        self._kill_mode = kill_mode_when_read
        self._log, self._looks = folder / "systemctl", folder / "looks"
        self._log.touch()
        self._looks.touch()
        self.root = _Lives(self)
        self.tools = Tools(ask=self._ask, run_command=self._run, strict=False)

    @property
    def looks(self) -> int:
        """How often systemctl was asked for the unit since its first restart."""
        return len(self._looks.read_text())

    @property
    def acts(self) -> list[str]:
        """What systemctl was asked to do."""
        return self._log.read_text().splitlines()

    @property
    def _life(self) -> int:
        by_itself = self.comes_back_by_itself and "daemon-reload" in self.acts
        falls = min(self.falls, self.looks // 4)
        return by_itself + falls + sum(" restart " in f" {line} " for line in self.acts)

    @property
    def tree(self) -> Tree:
        """The host as it is now."""
        return self.trees[min(self._life, len(self.trees) - 1)]

    def _ask(self, _uri: str, known: t.Collection[str]) -> t.Iterable[dict[str, t.Any]]:
        if not self.tree.libvirt:
            raise OSError(111, "Connection refused")
        return [
            {key: value for key, value in item.items() if key != "live" or item["name"] not in known}
            for item in self.tree.libvirt
        ]

    def _run(self, command: list[str]) -> tuple[int, str, str]:
        words = command[1:]
        if words[0] == "show":
            return 0, self._show(), ""
        if words[0] == self.deaf_to:
            return 1, "", "Connection timed out"
        if words[0] not in ("daemon-reload", "reset-failed", "--no-block"):
            return 1, "", f"Unknown command verb {words[0]}."
        with self._log.open("a") as file:
            file.write(" ".join(words) + "\n")
        return 0, "", ""

    def _show(self) -> str:
        state = self._states[min(self._life, len(self._states) - 1)]
        read = "daemon-reload" in self.acts
        with self._looks.open("a") as file:
            file.write("." if self.acts else "")
        entries = self.tree.entries
        main = entries.get(PID_FILE, entries["/run/libvirt/qemu/driver.pid"])
        pid = main.content.decode() if state == "active" else "0"
        return (
            f"Id=libvirtd.service\nLoadState=loaded\nActiveState={state}\nMainPID={pid}\n"
            f"KillMode={self._kill_mode if read else 'process'}\n"
            f"NeedDaemonReload={'yes' if self._stale and not read else 'no'}\nRequiredBy=\n\n"
            "Id=virtqemud.service\nLoadState=not-found\nActiveState=inactive\nMainPID=0\nKillMode=control-group\n"
        )
