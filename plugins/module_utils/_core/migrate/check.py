# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether guests may migrate to a host without losing their isolation or their disks.

What could not be read is never a yes: a guest may move only when nothing speaks against it and all was looked at.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..facts.guests import QEMU_KINDS
from ..snapshot.model import NOT_APPLICABLE, OK, Guest, Snapshot
from . import files, label
from .move import ALLOWED, REFUSED, UNKNOWN, Fleet, Move, Reason, refused, some, unknown

#: So many reasons are told of one guest.
MAX_REASONS = 50


@dataclass(frozen=True)
class Answer:
    """Whether one guest may move."""

    #: As it was asked for.
    asked: str
    target: str
    reasons: tuple[Reason, ...] = ()
    name: str | None = None
    uuid: str | None = None
    source: str | None = None

    @property
    def verdict(self) -> str:
        """allowed, refused or unknown."""
        statuses = {reason.status for reason in self.reasons}
        return REFUSED if REFUSED in statuses else UNKNOWN if statuses or self.uuid is None else ALLOWED

    def document(self) -> dict[str, t.Any]:
        """As a module returns it."""
        return {
            "asked": self.asked,
            "guest": self.name,
            "uuid": self.uuid,
            "from": self.source,
            "to": self.target,
            "verdict": self.verdict,
            "reasons": [{"status": reason.status, "why": reason.why} for reason in self.reasons],
        }


def has_any(snapshot: Snapshot, guests: t.Collection[str]) -> bool:
    """Whether a host knows one of the guests, each a name or a uuid."""
    return any(guest.uuid in guests or guest.name in guests for guest in snapshot.guests)


def check(guests: t.Iterable[str], fleet: Fleet) -> list[Answer]:
    """An answer for each guest, in the order in which they were asked for."""
    return [_check(asked, fleet) for asked in dict.fromkeys(guests)]


def _check(asked: str, fleet: Fleet) -> Answer:
    found = _find(asked, fleet)
    if isinstance(found, Reason):
        return Answer(asked, fleet.target, (found,))
    move = found
    told = dict.fromkeys(_reasons(move))  # each once
    reasons = sorted(told, key=lambda reason: reason.status != REFUSED)[:MAX_REASONS]
    return Answer(asked, fleet.target, tuple(reasons), move.guest.name, move.guest.uuid, move.source)


def _find(asked: str, fleet: Fleet) -> Move | Reason:
    """The guest by uuid, else by name; where it runs, when several hosts know it."""
    every = [(guest, host) for host, one in sorted(fleet.snapshots.items()) for guest in one.guests]
    found = [pair for pair in every if pair[0].uuid == asked] or [pair for pair in every if pair[0].name == asked]
    if not found:
        if fleet.unread:
            return unknown(f"no host that was read has such a guest, and {some(fleet.unread)} could not be read")
        return refused("no host has such a guest; give its name or uuid")
    if len({guest.uuid for guest, _host in found}) > 1:
        hosts = some({host for _guest, host in found})
        return refused(f"several guests have this name, on {hosts}; give the uuid of the one that is meant")
    running = [pair for pair in found if pair[0].active] or found
    guest, source = next((pair for pair in running if pair[1] != fleet.target), running[0])
    return Move(fleet, guest, source)


def _reasons(move: Move) -> t.Iterator[Reason]:
    if move.source == move.target:
        yield refused(f"it is on {move.target} already")
        return
    if move.guest.kind not in QEMU_KINDS:
        yield refused(f"it is of kind {move.guest.kind}; only guests of QEMU are looked at")
        return
    why = move.fleet.unread.get(move.target)
    if move.target not in move.fleet.snapshots:
        yield unknown(f"{move.target} could not be read: {why or 'it is none of the hosts that were looked at'}")
        return
    yield from _guest(move.guest, move.here, move.source)
    yield from _elsewhere(move)
    yield from _domains(move)
    yield from _target(move)
    yield from label.reasons(move)
    yield from files.reasons(move)


def _guest(guest: Guest, snapshot: Snapshot, host: str) -> t.Iterator[Reason]:
    if guest.error:
        yield unknown(f"it could not be read wholly on {host}: {guest.error}")
    entry = snapshot.coverage["guests"]
    if entry.status != OK:
        yield unknown(f"not all guests of {host} are known: {entry.why}")


def _elsewhere(move: Move) -> t.Iterator[Reason]:
    others = [
        host
        for host, snapshot in move.fleet.snapshots.items()
        if host != move.source and any(guest.uuid == move.guest.uuid and guest.active for guest in snapshot.guests)
    ]
    if others:
        yield refused(f"it runs on {some(others)} too: a migration is under way, or one was cut off")


def _domains(move: Move) -> t.Iterator[Reason]:
    here, there = move.fleet.domains.get(move.source), move.fleet.domains.get(move.target)
    if here is None and there is None:
        return
    if here is None or there is None or here.name != there.name:
        told = [
            f"{host} is in {f'label domain {one.name}' if one else 'none'}"
            for host, one in ((move.source, here), (move.target, there))
        ]
        yield refused(f"{' and '.join(told)}: labels are kept apart within a domain only")
    elif not here.pool:
        yield refused(f"label domain {here.name} has no migration between its hosts")


def _target(move: Move) -> t.Iterator[Reason]:
    snapshot, target = move.there, move.target
    for area in ("selinux", "libvirt"):
        entry = snapshot.coverage[area]
        if entry.status == NOT_APPLICABLE:
            yield refused(f"{target} is none for guests that are kept apart: {entry.why}")
        elif entry.status != OK:
            yield unknown(f"not all of {area} on {target} is known: {entry.why}")
    if snapshot.selinux.mode != "enforcing":
        yield refused(f"SELinux on {target} is {snapshot.selinux.mode}: nothing holds a guest there")
    if snapshot.selinux.mls is False:
        yield refused(f"the policy of {target} has no categories")
    models = snapshot.libvirt.models
    if models is None:
        yield unknown(f"which security drivers libvirt on {target} has is not known")
    elif "selinux" not in [model.model for model in models]:
        yield refused(f"libvirt on {target} runs without the SELinux driver")
