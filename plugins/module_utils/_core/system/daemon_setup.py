# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether systemd's units settle which libvirt daemon drives the guests, now and after the next boot.

Distributions changed from one daemon (libvirtd) to one for each driver (virtqemud). A host that is half way has both,
and which of them reads a setting or a hook is then a matter of chance.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..result import Reason
from ..snapshot.model import Daemon


@dataclass(frozen=True)
class DaemonSetup:
    """Units of a host, by the names of daemons."""

    #: Daemons whose service or socket systemd starts at each boot.
    enabled: tuple[str, ...] = ()
    #: Daemons whose service is masked.
    masked: tuple[str, ...] = ()
    #: Daemons that have a service; None: not known, systemd's folder of units is not there.
    services: t.Optional[tuple[str, ...]] = None


def doubt(setup: DaemonSetup, daemon: Daemon | None) -> Reason | None:
    """Why it is not settled which daemon drives the guests; None where it is. ``daemon`` is the one in charge now."""
    if daemon is None or daemon.own_files is not False:
        return None  # one with files of its own has no unit here
    if len(setup.enabled) > 1:
        others = [name for name in setup.enabled if name != daemon.name]
        return Reason("two_daemons_enabled", _two(setup.enabled, others or list(setup.enabled[1:])))
    if daemon.name in setup.masked:
        text = (
            f"{daemon.name}.service is masked, so systemd starts it neither now nor at the next boot: unmask it, or "
            "enable the daemon that is to drive the guests, and take the socket of the other away"
        )
        return Reason("daemon_masked", text)
    if daemon.pid is None and setup.services is not None and daemon.name not in setup.services:
        text = (
            f"there is a socket of {daemon.name}, but no {daemon.name}.service that it would start: install the "
            "daemon's package, or take the socket away"
        )
        return Reason("socket_without_service", text)
    return None


def _two(enabled: t.Sequence[str], others: t.Sequence[str]) -> str:
    units = " ".join(f"{name}.service {name}.socket" for name in others)
    return (
        f"{' and '.join(enabled)} are both enabled: the host is half way between the daemons, and which of "
        f"them drives the guests after the next boot is not settled. Disable one, as by systemctl disable --now {units}"
    )
