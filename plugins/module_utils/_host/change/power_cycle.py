# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stops and starts guests, one after the other, by the plan of power cycles.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field, replace

from ..._core.errors import DomainXmlError
from ..._core.harden.guest_definition import Survey
from ..._core.harden.power_cycle import SHUTDOWN, Cycle, would_lose, wrong_label
from ..._core.result import Reason
from ..base.deadline import alive
from ..base.root import reason as error_text
from .guest_definitions import Session, definition, jobs, process_label

_GRACEFUL = 1  # VIR_DOMAIN_DESTROY_GRACEFUL
_PAUSE = 0.5


@dataclass(frozen=True)
class CycleMethod:
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
class CycleOutcome:
    """State of the guests afterwards, by uuid."""

    cycled: list[Cycle] = field(default_factory=list)
    #: Guests that still run as before.
    left: dict[str, Reason] = field(default_factory=dict)
    #: Guests that were stopped and do not run as they should.
    failed: dict[str, Reason] = field(default_factory=dict)
    #: Label of each process that was started.
    labels: dict[str, str | None] = field(default_factory=dict)
    #: A guest that blocks every start, and could not be stopped.
    blocking: str = ""


def cycle(session: Session, survey: Survey, cycles: t.Sequence[Cycle], method: CycleMethod) -> CycleOutcome:
    """Stop and start each guest. After a guest that does not run again as planned, no other is stopped.

    Guests that block every start are stopped together, before the first of them starts.
    """
    outcome = CycleOutcome()
    together = [guest for guest in cycles if guest.blocks]
    for batch in [together, *([guest] for guest in cycles if not guest.blocks)]:
        stopped = [(guest, session.guest(guest.uuid)) for guest in batch if _stopped(session, guest, method, outcome)]
        for guest, domain in stopped:
            label = None
            fault = _start(session, domain, guest)
            if fault is None:
                label = process_label(session, domain)
                fault = wrong_label(survey, guest, label)
            outcome.labels[guest.uuid] = label
            if fault is not None:
                outcome.failed[guest.uuid] = fault
            else:
                outcome.cycled.append(guest)
    return outcome


def _stopped(session: Session, guest: Cycle, method: CycleMethod, outcome: CycleOutcome) -> bool:
    """Stop a guest, unless it might not be able to start again."""
    reason = None
    if outcome.failed:
        text = "a guest before it did not come back as it should; it was left alone"
        reason = Reason("after_a_failure", text)
    elif outcome.blocking:
        text = f"{outcome.blocking} still runs, beside which the guard lets no guest start; it was left alone"
        reason = Reason("blocked", text)
    try:
        if reason is None:
            alive(f"stopping {guest.subject}")
            reason = _stop(session, session.guest(guest.uuid), guest, method)
    except session.error as error:
        reason = Reason("libvirt_error", error_text(error))
    if reason is None:
        return True
    outcome.left[guest.uuid] = reason
    if guest.blocks and not outcome.blocking:
        outcome.blocking = guest.subject
    return False


def _stop(session: Session, domain: t.Any, guest: Cycle, method: CycleMethod) -> Reason | None:
    """Stop a guest; gives why it still runs."""
    if domain is None or not domain.isPersistent():
        return Reason("changed_meanwhile", "its definition went meanwhile")
    if not domain.isActive() or process_label(session, domain) != guest.process:
        return Reason("changed_meanwhile", "somebody stopped or started it meanwhile; it was left alone")
    loss = _would_lose(session, domain)
    if loss is not None:
        return loss
    if method.method == SHUTDOWN:
        reason = _shut_down(session, domain, method)
        if reason is None or not method.force:
            return reason
        loss = _would_lose(session, domain) if domain.isActive() else None  # a backup may have begun meanwhile
        if loss is not None and domain.isActive():
            return loss
    try:
        domain.destroyFlags(_GRACEFUL)
    except session.error as error:
        if domain.isActive():
            return Reason("does_not_stop", f"it could not be stopped: {error_text(error)}")
    return None


def _would_lose(session: Session, domain: t.Any) -> Reason | None:
    """As planned, right before the stop: a disk may have been attached, or a backup begun, since."""
    guest = definition(session, domain)
    if guest is None:
        return Reason("changed_meanwhile", "its definition went meanwhile")
    try:
        return would_lose(replace(guest, jobs=jobs(session, domain, guest.live)))
    except DomainXmlError as error:
        return Reason("xml_unreadable", str(error))


def _shut_down(session: Session, domain: t.Any, method: CycleMethod) -> Reason | None:
    try:
        domain.shutdown()
        until = time.monotonic() + method.timeout
        while domain.isActive():
            if time.monotonic() >= until:
                return Reason(
                    "does_not_shut_down",
                    f"it did not shut down within {method.timeout:g} s; it still runs as before (force: true ends it)",
                )
            time.sleep(method.pause)
    except session.error as error:
        if domain.isActive():
            return Reason("shutdown_refused", f"it could not be asked to shut down: {error_text(error)}")
    return None


def _start(session: Session, domain: t.Any, guest: Cycle) -> Reason | None:
    """Start a guest that is off; gives why it does not run."""
    # The categories that libvirt draws may conflict with a static label, which the guard refuses; it draws again then.
    for last in (False, False, True) if guest.label is None else (True,):
        alive(f"starting {guest.subject}")
        try:
            if not domain.isActive():  # somebody else may have been quicker
                domain.create()
            return None
        except session.error as error:
            if last:
                return Reason("does_not_start", f"it is off now and did not start again: {error_text(error)}")
    return None
