# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objections to a move by labels: a label that collides on the target, and files that would lose theirs.

A static label moves with the guest, unchanged and unchecked by libvirt: it must not collide with any label there. A
dynamic one is drawn anew, and the files on shared storage are labelled with the new draw before the move succeeds.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..errors import LabelError
from ..facts.guests import qemu_guests
from ..facts.images import shared_with_hosts
from ..facts.storage import file_path
from ..libvirt.file_labels import MADE_BY_LIBVIRT, confinement, same
from ..selinux.context import CategorySet, Context, parse_context, type_of
from ..snapshot.model import UNKNOWN, Guest, SecLabel, Snapshot, TypeFacts
from .move import Move, Objection, refused, some, unknown

_DEVICES = ("block", "char")


def objections(move: Move) -> t.Iterator[Objection]:
    """Objections by the guest's label."""
    labels = move.guest.live if move.guest.active else move.guest.persistent_labels
    seclabel = confinement(labels)
    if move.guest.active and seclabel is None:
        yield unknown("live_xml_unread", "its live XML was not read, so which label it goes with is not known")
        return
    if seclabel is not None and seclabel.type == "none":
        yield refused("unconfined", "it runs without confinement; give it a label and power-cycle it first")
        return
    if seclabel is not None and seclabel.type == "static":
        yield from _static(move, seclabel)
    else:
        yield from _dynamic(move)


def _static(move: Move, seclabel: SecLabel) -> t.Iterator[Objection]:
    try:
        own = parse_context(seclabel.label or "")
    except LabelError as error:
        yield unknown("label_invalid", f"its static label cannot be understood: {error}")
        return
    if move.guest.active and not same(seclabel.label or "", move.guest.context or ""):
        if move.guest.context:
            yield refused(
                "label_pending", f"it runs as {move.guest.context}, though its XML says {own}: power-cycle it first"
            )
        else:
            yield unknown("label_unread", "the label of its process was not read")
    if len(own.categories) < 2:
        yield refused(
            "too_few_categories",
            f"its label {own} has fewer than two categories, so other guests may reach its disks",
        )
    yield from _type(move, own.type, "its label has")
    yield from _on_target(move, own)
    yield from _on_storage(move, own)


def _dynamic(move: Move) -> t.Iterator[Objection]:
    base = _base(move)
    if base is not None:
        yield from _type(move, base, f"libvirt on {move.target} gives it")
    if not move.guest.active:
        return  # its files have no label of a guest now
    storage = {entry.mount: entry for entry in move.here.storage}
    for item in move.guest.resources:
        if item.role != "image" or item.in_namespace or item.file.kind in _DEVICES or item.kind in MADE_BY_LIBVIRT:
            continue
        path, entry = file_path(item), storage.get(item.file.mount or "")
        if entry is None:
            yield unknown("storage_unknown", f"on which storage {path} lies is not known")
        elif entry.labelled and entry.context is None and shared_with_hosts(entry, path):
            yield refused(
                "drawn_label_on_shared_storage",
                f"its label is drawn, and {path} lies on labelled shared storage: libvirt on {move.target} would label "
                "it with another draw, and a failed migration leaves it so and takes the disk from the guest; give it "
                "a static label (svirt.fleet.allocate) and power-cycle it first",
            )


# -- types -------------------------------------------------------------------------------------------------------------


def _base(move: Move) -> str | None:
    """The type that libvirt gives guests of this kind on the target."""
    models = {model.model: model for model in move.there.libvirt.models or ()}
    label = models["selinux"].baselabels.get(move.guest.kind) if "selinux" in models else None
    return type_of(label) if label else None


def _type(move: Move, type_: str, giver: str) -> t.Iterator[Objection]:
    base = _base(move)
    if base is None:
        yield unknown(
            "type_unknown", f"which type libvirt on {move.target} gives guests of kind {move.guest.kind} is not known"
        )
    elif base != type_:
        yield refused(
            "type_differs",
            f"its label has type {type_}; libvirt on {move.target} gives guests of kind {move.guest.kind} type {base}",
        )
    facts = next((entry for entry in move.there.selinux.types if entry.name == type_), TypeFacts(type_))
    if facts.known is False:
        yield refused("type_not_in_policy", f"{giver} type {type_}, which the policy of {move.target} does not know")
    elif facts.permissive:
        yield refused("type_permissive", f"{giver} type {type_}, which is permissive on {move.target}")
    elif facts.constrained is False:
        yield refused("type_unconstrained", f"{giver} type {type_}, which categories do not bind on {move.target}")
    elif None in (facts.known, facts.permissive, facts.constrained):
        yield unknown("type_unread", f"what the policy of {move.target} says of type {type_} is not known")


# -- labels on the target ----------------------------------------------------------------------------------------------


def _on_target(move: Move, own: Context) -> t.Iterator[Objection]:
    for area in ("guests", "processes", "containers"):
        entry = move.there.coverage[area]
        if entry.status == UNKNOWN:
            yield unknown("area_unread", f"not all {area} of {move.target} are known: {entry.why}")
    for holder, label in _labels(move.there, move.guest.uuid):
        if label is None:
            yield unknown("neighbour_unread", f"{holder} on {move.target} has a label that was not read")
            continue
        try:
            context = parse_context(label)
        except LabelError as error:
            yield unknown(
                "neighbour_invalid", f"{holder} on {move.target} has a label that cannot be understood: {error}"
            )
            continue
        if holder.startswith("container") and len(context.categories) < 2:
            continue  # of no guest's kind: such a label is every container's
        why = _meeting(own.categories, context.categories)
        if why:
            yield refused("label_meets_neighbour", f"its label {own} {why} {holder} on {move.target} ({label})")


def _labels(snapshot: Snapshot, uuid: str) -> t.Iterator[tuple[str, str | None]]:
    """All labels of a host except the guest's own; None: not read."""
    for guest in qemu_guests(snapshot):
        if guest.uuid == uuid:
            continue
        holder = f"guest {guest.name}"
        if guest.active or guest.error:
            yield holder, guest.context
        label = _defined(guest)
        if label:
            yield f"{holder}, which is defined so", label
    for process in snapshot.processes:
        if process.guest is None:
            yield f"process {process.pid} ({process.role})", process.context
    for container in snapshot.containers:
        yield "container", container.context


def _defined(guest: Guest) -> str | None:
    seclabel = confinement(guest.persistent_labels)
    if seclabel is None or seclabel.type != "static":
        return None
    return None if guest.active and same(seclabel.label or "", guest.context or "") else seclabel.label


def _meeting(own: CategorySet, other: CategorySet) -> str:
    if own == other:
        return "has the categories of"
    if own.dominates(other):
        return "holds the categories of"
    return "lies within the categories of" if other.dominates(own) else ""


# -- guests on shared storage ------------------------------------------------------------------------------------------


def _on_storage(move: Move, own: Context) -> t.Iterator[Objection]:
    """Guests of other hosts, by way of labelled storage that the target shares with them."""
    fleet = move.fleet
    if fleet.unread:
        yield unknown(
            "hosts_unread",
            f"{some(fleet.unread)} could not be read, and may have guests with its label on shared storage",
        )
    sharing, target, disks = fleet.labelled, move.target, move.disks
    reach = sharing.keys_of(target)
    for compared in fleet.compared_hosts:
        if compared.host in (move.source, target):
            continue
        shares = bool(reach & sharing.keys_of_files(compared.host, None))
        if not shares and not sharing.is_open_between(compared.host, None, target):
            continue
        for doubt in compared.doubts:
            yield unknown(
                "sharer_unread",
                f"{compared.host} shares labelled storage with {target}{'' if shares else ', or may'}: {doubt}",
            )
        for guest in compared.guests:
            if guest.uuid == move.guest.uuid and guest.disks == disks:
                continue
            why = _meeting(own.categories, guest.level.categories)
            if why and reach & sharing.keys_of_files(compared.host, guest.files):
                yield refused(
                    "label_meets_on_storage",
                    f"its label {own} {why} guest {guest.name} on {compared.host} ({guest.level}), which has files on "
                    f"labelled storage that {target} mounts",
                )
            elif why and sharing.is_open_between(compared.host, guest.files, target):
                yield unknown(
                    "label_may_meet_on_storage",
                    f"its label {own} {why} guest {guest.name} on {compared.host} ({guest.level}), and whether its "
                    f"files are on storage that {target} has is not known; name in svirt_storage which mounts are one "
                    "storage and which are not",
                )
