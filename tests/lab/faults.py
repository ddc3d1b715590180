# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults by name, from the machine that runs the lab: one round trip each."""

from __future__ import annotations

from pathlib import Path

from .agent import ask
from .errors import LabError
from .host.faults import FAULTS, Fault
from .lab import DEFAULT_DIR, Lab

__all__ = ["FAULTS", "Fault", "default_faults", "find", "inject", "injected", "undo"]


def find(name: str) -> Fault:
    """The fault of that name. Raises LabError with the names that there are."""
    try:
        return FAULTS[name]
    except KeyError:
        raise LabError(f"no fault {name!r}; there are: {', '.join(sorted(FAULTS))}") from None


def default_faults(host: str) -> list[str]:
    """Names of the faults that a host has unless it is asked to be clean."""
    return [fault.name for fault in FAULTS.values() if host in fault.default_on]


def inject(host: str, *names: str, lab: Path | str = DEFAULT_DIR) -> list[str]:
    """Put faults into a host; returns those that were not there before. Raises LabError when one does not work."""
    place = Lab.at(lab)
    for name in names:
        if host not in find(name).hosts:
            raise LabError(f"fault {name} is for {', '.join(find(name).hosts)}, not for {host}")
    done = _names(ask(place.remote(host), "inject", *names))
    if any(FAULTS[name].reboot for name in done):
        place.reboot(host)
    return done


def undo(host: str, *names: str, lab: Path | str = DEFAULT_DIR) -> list[str]:
    """Take faults back; returns those that were there."""
    place = Lab.at(lab)
    for name in names:
        find(name)
    done = _names(ask(place.remote(host), "undo", *names))
    if any(FAULTS[name].reboot for name in done):
        place.reboot(host)
    return done


def injected(host: str, lab: Path | str = DEFAULT_DIR) -> list[str]:
    """Names of the faults that are in a host."""
    return _names(ask(Lab.at(lab).remote(host), "injected"))


def _names(answer: object) -> list[str]:
    if not isinstance(answer, list):
        raise LabError(f"the host answered {answer!r} instead of a list of names")
    return [str(name) for name in answer]
