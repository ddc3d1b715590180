# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether guests may migrate to a host without losing their isolation or their disks.

Unknown is never a yes: a guest may move only when all was read and nothing forbids it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..facts.guests import QEMU_KINDS
from ..snapshot.model import NOT_APPLICABLE, OK, Guest, Snapshot
from . import files, label
from .move import ALLOWED, REFUSED, UNKNOWN, Move, MoveFleet, Objection, refused, some, unknown

#: Limit of reasons per guest.
MAX_REASONS = 50


@dataclass(frozen=True)
class MoveAnswer:
    """Whether one guest may move."""

    #: Name or uuid, as given.
    asked: str
    target: str
    objections: tuple[Objection, ...] = ()
    name: str | None = None
    uuid: str | None = None
    source: str | None = None

    @property
    def verdict(self) -> str:
        """allowed, refused or unknown."""
        statuses = {objection.status for objection in self.objections}
        return REFUSED if REFUSED in statuses else UNKNOWN if statuses or self.uuid is None else ALLOWED

    def document(self) -> dict[str, t.Any]:
        """Entry of the return value ``answers``."""
        return {
            "asked": self.asked,
            "guest": self.name,
            "uuid": self.uuid,
            "from": self.source,
            "to": self.target,
            "verdict": self.verdict,
            "reasons": [objection.as_dict() for objection in self.objections],
        }


def has_any(snapshot: Snapshot, guests: t.Collection[str]) -> bool:
    """Whether a host knows one of the guests, each a name or a uuid."""
    return any(guest.uuid in guests or guest.name in guests for guest in snapshot.guests)


def check(guests: t.Iterable[str], fleet: MoveFleet) -> list[MoveAnswer]:
    """An answer for each guest, in the given order."""
    return [_check(guest, fleet) for guest in dict.fromkeys(guests)]


def _check(query: str, fleet: MoveFleet) -> MoveAnswer:
    moves = _find(query, fleet)
    if isinstance(moves, Objection):
        return MoveAnswer(query, fleet.target, (moves,))
    move = moves[0]
    distinct = dict.fromkeys(_objections(move))
    for report in moves[1:]:
        # One host's report does not override what another host reports about the guest.
        if move.target in move.fleet.snapshots:
            distinct.update(dict.fromkeys(_elsewhere_objections(report)))
    objections = sorted(distinct, key=lambda objection: objection.status != REFUSED)[:MAX_REASONS]
    return MoveAnswer(query, fleet.target, tuple(objections), move.guest.name, move.guest.uuid, move.source)


def _find(query: str, fleet: MoveFleet) -> list[Move] | Objection:
    """The guest by uuid, else by name, on each host that has it; where it runs first."""
    guests = [(guest, host) for host, snapshot in sorted(fleet.snapshots.items()) for guest in snapshot.guests]
    matches = [pair for pair in guests if pair[0].uuid == query] or [pair for pair in guests if pair[0].name == query]
    if not matches:
        if fleet.unread:
            return unknown(
                "guest_not_seen", f"no host that was read has such a guest, and {some(fleet.unread)} could not be read"
            )
        return refused("no_such_guest", "no host has such a guest; give its name or uuid")
    if len({guest.uuid for guest, _host in matches}) > 1:
        hosts = some({host for _guest, host in matches})
        return refused(
            "name_not_unique", f"several guests have this name, on {hosts}; give the uuid of the one that is meant"
        )
    running = [pair for pair in matches if pair[0].active] or matches
    guest, source = next((pair for pair in running if pair[1] != fleet.target), running[0])
    others = [pair for pair in matches if pair[1] not in (source, fleet.target)]
    return [Move(fleet, guest, source), *(Move(fleet, guest, host) for guest, host in others)]


def _elsewhere_objections(move: Move) -> t.Iterator[Objection]:
    """Objections by another host's report about the guest."""
    if move.guest.kind not in QEMU_KINDS:
        yield refused("not_qemu", f"it is of kind {move.guest.kind} on {move.source}; only QEMU guests are checked")
        return
    yield from _guest(move.guest, move.here, move.source)
    yield from label.objections(move)
    yield from files.objections(move)


def _objections(move: Move) -> t.Iterator[Objection]:
    if move.source == move.target:
        yield refused("already_there", f"it is on {move.target} already")
        return
    if move.guest.kind not in QEMU_KINDS:
        yield refused("not_qemu", f"it is of kind {move.guest.kind}; only guests of QEMU are looked at")
        return
    why = move.fleet.unread.get(move.target)
    if move.target not in move.fleet.snapshots:
        why = why or "it is none of the hosts that were looked at"
        yield unknown("target_unread", f"{move.target} could not be read: {why}")
        return
    yield from _guest(move.guest, move.here, move.source)
    yield from _elsewhere(move)
    yield from _domains(move)
    yield from _target(move)
    yield from label.objections(move)
    yield from files.objections(move)


def _guest(guest: Guest, snapshot: Snapshot, host: str) -> t.Iterator[Objection]:
    if guest.error:
        yield unknown("guest_unread", f"it could not be read wholly on {host}: {guest.error}")
    if guest.saved_labels is not None and not guest.active:
        yield refused(
            "managed_save",
            f"its memory is saved on {host}, with labels of its own, and would stay behind: start it there first, or "
            "discard what is saved (virsh managedsave-remove)",
        )
    entry = snapshot.coverage["guests"]
    if entry.status != OK:
        yield unknown("area_unread", f"not all guests of {host} are known: {entry.why}")


def _elsewhere(move: Move) -> t.Iterator[Objection]:
    others = [
        host
        for host, snapshot in move.fleet.snapshots.items()
        if host != move.source and any(guest.uuid == move.guest.uuid and guest.active for guest in snapshot.guests)
    ]
    if others:
        yield refused("runs_elsewhere", f"it runs on {some(others)} too: a migration is under way, or one was cut off")


def _domains(move: Move) -> t.Iterator[Objection]:
    here, there = move.fleet.domains.get(move.source), move.fleet.domains.get(move.target)
    if here is None and there is None:
        return
    if here is None or there is None or here.name != there.name:
        places = [
            f"{host} is in {f'label domain {domain.name}' if domain else 'none'}"
            for host, domain in ((move.source, here), (move.target, there))
        ]
        yield refused("other_label_domain", f"{' and '.join(places)}: labels are kept apart within a domain only")
    elif not here.pool:
        yield refused("domain_without_migration", f"label domain {here.name} has no migration between its hosts")


def _target(move: Move) -> t.Iterator[Objection]:
    snapshot, target = move.there, move.target
    for area in ("selinux", "libvirt"):
        entry = snapshot.coverage[area]
        if entry.status == NOT_APPLICABLE:
            yield refused("target_not_suitable", f"{target} is none for guests that are kept apart: {entry.why}")
        elif entry.status != OK:
            yield unknown("area_unread", f"not all of {area} on {target} is known: {entry.why}")
    if snapshot.selinux.mode != "enforcing":
        yield refused(
            "not_enforcing", f"SELinux on {target} is {snapshot.selinux.mode}: nothing confines a guest there"
        )
    if snapshot.selinux.mls is False:
        yield refused("no_categories", f"the policy of {target} has no categories")
    models = snapshot.libvirt.models
    if models is None:
        yield unknown("drivers_unread", f"which security drivers libvirt on {target} has is not known")
    elif "selinux" not in [model.model for model in models]:
        yield refused("no_selinux_driver", f"libvirt on {target} runs without the SELinux driver")
