# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What differs between hosts of Debian's shape and of EL's: the daemon, its units and programs, the policy's name.

Read from the host when it is asked for, since the machine that runs the lab imports the faults too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """daemon: the one that runs the guests. others: daemons that it asks, each with sockets of its own."""

    daemon: str
    emulator: str
    policy: str
    others: tuple[str, ...] = ()

    @property
    def service(self) -> str:
        return f"{self.daemon}.service"

    @property
    def program(self) -> Path:
        return Path("/usr/sbin", self.daemon)

    @property
    def pid_file(self) -> Path:
        return Path("/run", f"{self.daemon}.pid")

    @property
    def units(self) -> tuple[str, ...]:
        """The daemon's sockets and its service."""
        return (*(f"{self.daemon}{kind}.socket" for kind in ("", "-ro", "-admin")), self.service)

    @property
    def drop_in(self) -> Path:
        """A drop-in of the lab for the daemon's service."""
        return Path(f"/etc/systemd/system/{self.service}.d/svirt-lab.conf")

    @property
    def contexts(self) -> Path:
        return Path("/etc/selinux", self.policy, "contexts")

    def last_entry(self) -> Path:
        """The file with the last boot entry, which is not the one that starts by default."""
        snippets = sorted(Path("/boot/loader/entries").glob("*.conf"))
        return snippets[0] if snippets else Path("/boot/grub/grub.cfg")


DEBIAN = Shape("libvirtd", "/usr/bin/qemu-system-x86_64", "default")
EL = Shape(
    "virtqemud",
    "/usr/libexec/qemu-kvm",
    "targeted",
    tuple(f"virt{name}d" for name in ("network", "nwfilter", "secret", "storage", "nodedev", "proxy")),
)


@cache
def here() -> Shape:
    """The shape of this host."""
    return EL if EL.program.exists() else DEBIAN
