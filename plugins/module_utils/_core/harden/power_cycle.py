# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which guests, of those that may be stopped and started, need it for what their definition already says.

A guest that was stopped must be let back in. The guard lets none start beside a guest that reaches all others, or is
reached by all, as one does that runs unconfined: such guests come first, and all of them are off before the first of
them starts. A guest that would not be let back in is not stopped.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..errors import DomainXmlError
from ..facts.guest_label import fault_of, holds_the_range
from ..libvirt.domain_edit import Filter, cards, with_filter, with_seclabel
from ..libvirt.file_labels import confinement, relabels, same
from ..selinux.context import Context, read_context
from ..snapshot.model import SecLabel
from .guest_definition import POWER_CYCLE, Definition, Plan, Survey
from .seclabel import DYNAMIC, NONE, STATIC, meeting, needs_cycle, shown

SHUTDOWN = "shutdown"


@dataclass(frozen=True)
class Cycle:
    """Stop a guest and start it again."""

    uuid: str
    name: str
    #: Label of its process now; a guest that has another one meanwhile was cycled by somebody else.
    process: str | None
    wanted: SecLabel | None
    why: str
    #: While it runs as it does, the guard lets no guest start.
    blocks: bool = False

    @property
    def subject(self) -> str:
        """As the audit names it."""
        return f"guest {self.name}"

    @property
    def label(self) -> str | None:
        """The label that it starts with, where that is known before."""
        return self.wanted.label if self.wanted is not None and self.wanted.type == STATIC else None


@dataclass(frozen=True)
class Foreseen:
    """What earlier tasks of a run in check mode would have changed, had it not been for check mode."""

    #: ``after`` of guest_seclabel and of guest_network_filter.
    seclabels: t.Sequence[t.Mapping[str, t.Any]] = ()
    filters: t.Sequence[t.Mapping[str, t.Any]] = ()
    #: ``after`` of guard_hook.
    guard: t.Mapping[str, t.Any] = field(default_factory=dict)

    @property
    def guarded(self) -> bool:
        """Whether a guard would be there that refuses."""
        settings = self.guard.get("settings") or {}
        return bool(self.guard.get("installed")) and settings.get("collision", "refuse") != "allow"


def absent(survey: Survey, guests: t.Iterable[str]) -> list[str]:
    """The names that stand for no guest of this host."""
    return [key for key in dict.fromkeys(guests) if survey.find(key) is None]


def plan(
    survey: Survey, guests: t.Iterable[str], guarded: bool = False, sure: bool = False
) -> tuple[list[Cycle], Plan]:
    """The guests to cycle, in the order in which that works; names that stand for no guest are passed over.

    ``guarded``: a guard refuses guests here. ``sure``: whoever is told to stop does.
    """
    made, found = Plan(), dict[str, Cycle]()
    for guest in [guest for key in guests if (guest := survey.find(key)) is not None]:
        if guest.uuid in found or not guest.active:
            continue
        try:
            cycle, why = _judged(survey, guest, guarded)
        except DomainXmlError as error:
            cycle, why = None, str(error)
        if why:
            made.refuse(guest.subject, why)
        elif cycle is not None:
            found[guest.uuid] = cycle
    cycles = sorted(found.values(), key=lambda cycle: not cycle.blocks)
    for uuid, why in _kept_out(survey, cycles, guarded, sure).items():
        made.refuse(found[uuid].subject, why)
        made.wait(found[uuid].subject, POWER_CYCLE, found[uuid].why)
        cycles.remove(found[uuid])
    for cycle in cycles:
        _line(cycle, made)
    return cycles, made


def _line(cycle: Cycle, made: Plan) -> None:
    made.before.append({"guest": cycle.name, "uuid": cycle.uuid, "label": cycle.process})
    made.after.append({"guest": cycle.name, "uuid": cycle.uuid, "label": cycle.label})
    line = {"action": "power_cycle", "subject": cycle.subject, "from": cycle.process, "to": shown(cycle.wanted)}
    made.lines.append({**line, "why": cycle.why})


def _judged(survey: Survey, guest: Definition, guarded: bool) -> tuple[Cycle | None, str]:
    """The cycle that a running guest needs, or why it must not be cycled."""
    if guest.inactive is None or guest.next is None:
        return None, "it is transient: stopped, it would be gone"
    wanted = confinement(guest.next.seclabels)
    needs = [need for need in [needs_cycle(survey, guest, wanted), *_other_filters(guest)] if need]
    if not needs:
        return None, ""
    if guest.managed_save:
        return None, "it has a saved state, which a start would go back to; remove it first (virsh managedsave-remove)"
    blocks = guarded and _blocks(guest.process, survey)
    return Cycle(guest.uuid, guest.name, guest.process, wanted, "; ".join(needs), blocks), ""


def _other_filters(guest: Definition) -> t.Iterator[str]:
    """Interfaces that have a filter in the definition which they do not have now."""
    now = {card.mac: card.filter for card in cards(guest.live or "")}
    for card in cards(guest.inactive or ""):
        if card.mac in now and card.filter is not None and _parts(card.filter) != _parts(now[card.mac]):
            yield f"interface {card.mac} gets its network filter ({card.filter.shown()}) at its next start"


def _parts(found: Filter | None) -> tuple[t.Any, ...]:
    return () if found is None else (found.name, sorted(found.parameters))


# -- who would be let back in ------------------------------------------------------------------------------------------


def _blocks(label: str | None, survey: Survey) -> bool:
    """Whether a guest that runs with this label reaches each other guest, or is reached by each."""
    context = read_context(label)
    if context is None:
        return False
    return not len(context.categories) or holds_the_range(context.categories, survey.daemon)


def _kept_out(survey: Survey, cycles: t.Sequence[Cycle], guarded: bool, sure: bool) -> dict[str, str]:
    """The guests that would not be let back in, or would reach another one then, by uuid, and why."""
    kept: dict[str, str] = {}
    while True:  # a guest that is not cycled runs on, and may stand in another one's way
        left = [cycle for cycle in cycles if cycle.uuid not in kept]
        fresh = {cycle.uuid: why for cycle in left if (why := _why_out(survey, cycle, left, guarded, sure))}
        if not fresh:
            return kept
        kept.update(fresh)


def _why_out(survey: Survey, cycle: Cycle, left: t.Sequence[Cycle], guarded: bool, sure: bool) -> str:
    own = read_context(cycle.label)
    together = [other for other in left if other.blocks]
    open_ = cycle.wanted is not None and cycle.wanted.type == NONE
    if guarded and (open_ or _blocks(cycle.label, survey)):
        return f"the guard would not let it start as its definition has it ({shown(cycle.wanted)})"
    if cycle.blocks and len(together) > 1 and not sure:
        names = ", ".join(other.name for other in together)
        return (
            f"{names} run with labels that stand in the way of every start, so all of them have to be off before the "
            "first one starts; allow force, or method destroy, so that they surely stop"
        )
    for name, label in _running_then(survey, cycle, left):
        other = read_context(label)
        why = _meeting(survey, own, other, guarded) if other is not None else ""
        if why:
            return f"{why} guest {name} ({label}), which runs then; it was not stopped"
    return ""


def _running_then(survey: Survey, cycle: Cycle, left: t.Sequence[Cycle]) -> t.Iterator[tuple[str, str | None]]:
    """The other guests that run when this one starts, each with its label; None: libvirt will draw it."""
    order = {other.uuid: number for number, other in enumerate(left)}
    cycled = {other.uuid: other for other in left}
    for guest in survey.guests:
        other = cycled.get(guest.uuid)
        if guest.uuid == cycle.uuid or not guest.active:
            continue
        if other is not None and order[other.uuid] < order[cycle.uuid]:
            yield guest.name, other.label
        elif other is None or not (other.blocks and cycle.blocks):  # those are off together
            yield guest.name, guest.process


def _meeting(survey: Survey, own: Context | None, other: Context, guarded: bool) -> str:
    """Why a guest with this label, or with one that libvirt draws (None), must not start beside the other."""
    if guarded and _blocks(str(other), survey):
        return "the guard lets no guest start beside"
    if own is None or (not guarded and fault_of(other, survey.guest_types, survey.daemon) is not None):
        return ""  # the fault of the other guest, which is told of it
    why = meeting(own, other)
    return f"its label {own} {why}" if why else ""


# -- what earlier tasks would have changed -----------------------------------------------------------------------------


def expect(survey: Survey, foreseen: Foreseen) -> Survey:
    """The guests as they would be defined."""
    return replace(survey, guests=[_expected(guest, foreseen) for guest in survey.guests])


def _expected(guest: Definition, foreseen: Foreseen) -> Definition:
    try:
        for label in foreseen.seclabels:
            if label["uuid"] == guest.uuid and guest.inactive is not None:
                guest = replace(guest, inactive=_with_label(guest, guest.inactive, label))
        for state in foreseen.filters:
            if state["uuid"] == guest.uuid:
                inactive = _with_filter(guest.inactive, state["mac"], state["persistent"])
                guest = replace(guest, inactive=inactive, live=_with_filter(guest.live, state["mac"], state["live"]))
    except DomainXmlError:
        return guest  # the task that would change it refuses it too
    return guest


def _with_label(guest: Definition, xml: str, label: t.Mapping[str, t.Any]) -> str:
    current = confinement(guest.next.seclabels) if guest.next is not None else None
    now = ((current.type if current else None) or DYNAMIC, current.label if current else None, relabels(current))
    if now == (label["type"], label["label"], label["relabel"]):
        return xml
    return with_seclabel(xml, SecLabel("selinux", label["type"], relabel=label["relabel"], label=label["label"]))


def _with_filter(xml: str | None, mac: str, text: str | None) -> str | None:
    if xml is None or text is None:
        return xml
    name, *words = text.split(" ")  # as Filter.shown has it; neither names nor values hold spaces
    wanted = Filter(name, tuple((key, value) for key, _equals, value in (word.partition("=") for word in words)))
    now = next((card.filter for card in cards(xml) if card.mac == mac), None)
    return xml if _parts(now) == _parts(wanted) else with_filter(xml, mac, wanted)


# -- what became of it -------------------------------------------------------------------------------------------------


def wrong_label(survey: Survey, cycle: Cycle, process: str | None) -> str:
    """What is wrong with the label that a guest was started with; empty when nothing is."""
    if not any(model.model == "selinux" for model in survey.models):
        return ""
    if process is None:
        return "it was started, and the label of its process cannot be read"
    wanted = cycle.wanted
    if wanted is not None and wanted.type == STATIC:
        right = same(wanted.label or "", process)
        return "" if right else f"it was started as {process}; its definition says {wanted.label}"
    context = read_context(process)
    if wanted is not None and wanted.type == NONE:
        return ""
    if context is None or fault_of(context, survey.guest_types, survey.daemon) is not None:
        return f"it was started as {process}, which does not hold it"
    return ""


def done(
    cycles: t.Sequence[Cycle],
    made: Plan,
    refused: t.Mapping[str, str],
    failed: t.Mapping[str, str],
    labels: t.Mapping[str, str | None],
    diff: bool = False,
) -> dict[str, t.Any]:
    """The result of a run. ``refused`` still run as before, ``failed`` do not run as they should, both by uuid."""
    for cycle in cycles:
        if cycle.uuid in refused:
            made.refuse(cycle.subject, refused[cycle.uuid])
            made.wait(cycle.subject, POWER_CYCLE, cycle.why)
    made.after = [
        {**state, "label": labels.get(state["uuid"]) if state["uuid"] not in refused else state["label"]}
        for state in made.before
    ]
    result = made.result(diff)
    result["changed"] = len(refused) < len(cycles)
    if failed:
        result["not_made"] = [
            {"subject": cycle.subject, "why": failed[cycle.uuid]} for cycle in cycles if cycle.uuid in failed
        ]
    return result
