# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Names, addresses and ports of the hosts."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from .errors import LabError

BRIDGE = "br-lab"
LINK_PREFIX = 24


@dataclass(frozen=True)
class HostSpec:
    """Identity of a host before it boots."""

    name: str
    number: int

    @property
    def uplink_mac(self) -> str:
        return f"52:54:00:5f:00:{self.number:02x}"

    @property
    def link_mac(self) -> str:
        return f"52:54:00:5f:01:{self.number:02x}"

    @property
    def link_address(self) -> str:
        """IPv4 address on the card between the hosts; no packet of that network leaves the two processes."""
        return f"10.77.0.{self.number}"

    @property
    def uuid(self) -> str:
        return f"5f1e0000-0000-4000-8000-{self.number:012x}"


HOSTS = {name: HostSpec(name, number) for number, name in enumerate(("kvm1", "kvm2"), start=1)}


def spec(name: str) -> HostSpec:
    """The host of that name. Raises LabError for a name that the lab does not have."""
    try:
        return HOSTS[name]
    except KeyError:
        raise LabError(f"no host {name!r} in the lab; there are {', '.join(HOSTS)}") from None


def free_port() -> int:
    """A TCP port on 127.0.0.1 that the kernel says is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
