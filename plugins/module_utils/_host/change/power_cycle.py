# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests stopped and started again, one after the other, each only because somebody named it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field

from ..._core.harden.guest_definition import Survey
from ..._core.harden.power_cycle import SHUTDOWN, Cycle, wrong_label
from ..base.root import reason
from .guest_definitions import Session, process_label

_GRACEFUL = 1  # VIR_DOMAIN_DESTROY_GRACEFUL
_PAUSE = 0.5


@dataclass(frozen=True)
class Way:
    """How guests are stopped."""

    method: str = SHUTDOWN
    #: End a guest that does not shut down in time.
    force: bool = False
    #: Seconds that a guest has to shut down.
    timeout: float = 60.0
    pause: float = _PAUSE

    @property
    def sure(self) -> bool:
        """Whether every guest stops."""
        return self.force or self.method != SHUTDOWN


@dataclass(repr=False)
class Outcome:
    """What became of the guests; by uuid."""

    cycled: list[Cycle] = field(default_factory=list)
    #: Still running as before, and why.
    refused: dict[str, str] = field(default_factory=dict)
    #: Stopped, and not running as they should.
    failed: dict[str, str] = field(default_factory=dict)
    #: Label of each process that was started.
    labels: dict[str, str | None] = field(default_factory=dict)
    #: A guest that stands in the way of every start, and could not be stopped.
    standing: str = ""


def cycle(session: Session, survey: Survey, cycles: t.Iterable[Cycle], way: Way) -> Outcome:
    """Stop and start each guest. After one that does not run again as it should, no other is stopped.

    Those that stand in the way of every start are stopped together, before the first of them starts.
    """
    outcome = Outcome()
    cycles = list(cycles)
    first = [one for one in cycles if one.blocks]
    for batch in [first, *([one] for one in cycles if not one.blocks)]:
        stopped = [(one, session.guest(one.uuid)) for one in batch if _stopped(session, one, way, outcome)]
        for one, domain in stopped:
            why = _start(session, domain, one) or wrong_label(survey, one, process_label(session, domain))
            outcome.labels[one.uuid] = process_label(session, domain)
            if why:
                outcome.failed[one.uuid] = why
            else:
                outcome.cycled.append(one)
    return outcome


def _stopped(session: Session, one: Cycle, way: Way, outcome: Outcome) -> bool:
    """Stop a guest, unless it might not get back."""
    why = ""
    if outcome.failed:
        why = "a guest before it did not come back as it should; it was left alone"
    elif outcome.standing:
        why = f"{outcome.standing} still runs, beside which the guard lets no guest start; it was left alone"
    try:
        why = why or _stop(session, session.guest(one.uuid), one, way)
    except session.error as error:
        why = reason(error)
    if not why:
        return True
    outcome.refused[one.uuid] = why
    if one.blocks and not outcome.standing:
        outcome.standing = one.subject
    return False


def _stop(session: Session, domain: t.Any, one: Cycle, way: Way) -> str:
    """Stop a guest; gives why it still runs."""
    if domain is None or not domain.isPersistent():
        return "its definition went meanwhile"
    if not domain.isActive() or process_label(session, domain) != one.process:
        return "somebody stopped or started it meanwhile; it was left alone"
    if way.method == SHUTDOWN:
        why = _shut_down(session, domain, way)
        if not why or not way.force:
            return why
    try:
        domain.destroyFlags(_GRACEFUL)
    except session.error as error:
        if domain.isActive():
            return f"it could not be stopped: {reason(error)}"
    return ""


def _shut_down(session: Session, domain: t.Any, way: Way) -> str:
    try:
        domain.shutdown()
        until = time.monotonic() + way.timeout
        while domain.isActive():
            if time.monotonic() >= until:
                return f"it did not shut down within {way.timeout:g} s; it still runs as before (force: true ends it)"
            time.sleep(way.pause)
    except session.error as error:
        return f"it could not be asked to shut down: {reason(error)}" if domain.isActive() else ""
    return ""


def _start(session: Session, domain: t.Any, one: Cycle) -> str:
    """Start a guest that is off; gives why it does not run."""
    # The categories that libvirt draws may meet a static guest's, which the guard refuses; the next ones hardly will.
    for last in (False, False, True) if one.label is None else (True,):
        try:
            if not domain.isActive():  # somebody else may have been quicker
                domain.create()
            return ""
        except session.error as error:
            if last:
                return f"it is off now and did not start again: {reason(error)}"
    return ""
