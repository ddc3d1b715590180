# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's faults in steps: faults that touch different things share one, unless each is to be looked at by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from tests.lab.faults import FAULTS, Fault
from tests.lab.host import shape as host_shape
from tests.lab.shape import Shape

HOSTS = ("kvm1", "kvm2")
#: Faults in one step: a host has memory for about so many more guests.
AT_ONCE = 5
#: The daemon that runs the guests.
DAEMONS = {Shape.DEBIAN: host_shape.DEBIAN.daemon, Shape.EL: host_shape.EL.daemon}
_DEBIAN_DAEMON = f"daemon {DAEMONS[Shape.DEBIAN]}"

Findings = set[tuple[str, str]]


def faults_of(host: str) -> list[Fault]:
    """The faults that a host goes through; what works on both is dealt out, what reboots comes last."""
    return sorted((FAULTS[name] for name, where in _dealt().items() if where == host), key=lambda fault: fault.reboot)


def _dealt() -> dict[str, str]:
    """The host of each fault, so that both have about as many steps."""
    # The daemon's restart takes kvm1 longer, which has the filtered card. What else stands alone fills up.
    free = {fault.name for fault in FAULTS.values() if fault.alone and not fault.daemon and len(fault.hosts) > 1}
    host_of = {
        fault.name: fault.hosts[-1] if fault.daemon else fault.hosts[0]
        for fault in FAULTS.values()
        if fault.name not in free
    }
    for name in sorted(free):
        host_of[name] = min(HOSTS, key=lambda host: _steps(host_of, host))
    return host_of


def _steps(dealt: dict[str, str], host: str) -> int:
    """How many steps these faults make, those that reboot aside."""
    return len(_grouped([FAULTS[name] for name, where in dealt.items() if where == host and not FAULTS[name].reboot]))


def steps_of(host: str, *, single: bool, reboots: bool) -> list[list[Fault]]:
    """The same in steps; single: each fault is a step; reboots: those too that reboot the host."""
    wanted = [fault for fault in faults_of(host) if reboots or not fault.reboot]
    return [[fault] for fault in wanted] if single else _grouped(wanted)


def _grouped(wanted: Iterable[Fault]) -> list[list[Fault]]:
    steps: list[list[Fault]] = []
    for fault in wanted:
        fits = [step for step in steps if len(step) < AT_ONCE and all(_apart(fault, one) for one in step)]
        if fits:
            fits[0].append(fault)
        else:
            steps.append([fault])
    return steps


def _apart(one: Fault, other: Fault) -> bool:
    """Whether two faults touch different things, so that neither can make or hide a finding of the other."""
    same_place = one.subject == other.subject != "{host}"
    like = one.daemon == other.daemon and not (one.alone or other.alone)
    return like and not same_place and not set(one.expects) & set(other.expects)


HOST_OF = {fault.name: host for host in HOSTS for fault in faults_of(host)}


def expected_of(wanted: Iterable[Fault], host: str, shape: Shape = Shape.DEBIAN) -> Findings:
    """Rule and subject of every finding that these faults make in a host of that shape."""
    daemon = f"daemon {DAEMONS[shape]}"
    return {
        (rule, daemon if subject == _DEBIAN_DAEMON else subject.format(host=host))
        for fault in wanted
        for rule, subject in fault.expects
    }


def findings_of(report: dict[str, Any]) -> Findings:
    """Rule and subject of the findings. A process is named without its number, which nobody can predict."""
    return {(item["rule"], re.sub(r"^process \d+ ", "process PID ", item["subject"])) for item in report["findings"]}


class Taken(Protocol):
    """A step that was taken."""

    error: str


@contextmanager
def noted(step: Taken) -> Iterator[None]:
    """An error is the failure of the step's own tests, not of the steps after it."""
    try:
        yield
    except Exception as error:
        step.error += f"{type(error).__name__}: {error}\n"
