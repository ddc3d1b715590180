# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The faults, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .journal import Journal

BOTH = ("kvm1", "kvm2")


@dataclass(frozen=True)
class Fault:
    """One way to be wrong. subject is what a finding about it should name; {host} stands for the host.

    expects: rule and subject of every finding that an audit of this host alone shows, and of no other. There {host[3]}
    stands for the host's number and braces that are meant are doubled; the daemon is that of Debian's shape. A process
    is named without its number.
    doubts: rules that such an audit cannot judge, so that the host is unknown.
    alone: it changes what the whole host does, so that no other fault can be looked at beside it.
    daemon: it is in the daemon's settings and restarts it, so that only its like can be looked at beside it.
    """

    name: str
    about: str
    subject: str
    inject: Callable[[Journal, str], None]
    hosts: tuple[str, ...] = BOTH
    default_on: tuple[str, ...] = ()
    reboot: bool = False
    expects: tuple[tuple[str, str], ...] = ()
    doubts: tuple[str, ...] = ()
    alone: bool = False
    daemon: bool = False


FAULTS: dict[str, Fault] = {}


def fault(
    name: str,
    about: str,
    subject: str,
    *,
    hosts: tuple[str, ...] = BOTH,
    default_on: tuple[str, ...] = (),
    reboot: bool = False,
    expects: tuple[tuple[str, str], ...] = (),
    doubts: tuple[str, ...] = (),
    alone: bool = False,
    daemon: bool = False,
) -> Callable[[Callable[[Journal, str], None]], Callable[[Journal, str], None]]:
    """Register a function that puts a fault into a host and writes the undo into the journal first."""

    def register(function: Callable[[Journal, str], None]) -> Callable[[Journal, str], None]:
        FAULTS[name] = Fault(name, about, subject, function, hosts, default_on, reboot, expects, doubts, alone, daemon)
        return function

    return register
