# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan of power cycles: which of the named guests need one to apply their persistent XML.

A guest that was stopped must be able to start again. The guard lets no guest start beside one that reaches all others,
or is reached by all, as an unconfined guest is: such guests come first, and all of them are off before the first of
them starts. A guest that could not start again is not stopped.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..errors import DomainXmlError
from ..facts.guest_label import fault_of, holds_the_range
from ..libvirt.domain_edit import Filter, cards, with_filter, with_seclabel
from ..libvirt.file_labels import confinement, relabels, same
from ..libvirt.live_devices import block_jobs, live_only, reboots_instead
from ..result import Reason, Refusal, Step
from ..selinux.context import Context, read_context
from ..snapshot.model import SecLabel
from ..words import some
from .guest_definition import POWER_CYCLE, Definition, GuestPlan, Survey
from .seclabel import DYNAMIC, NONE, STATIC, meeting, needs_cycle, shown, unreadable

SHUTDOWN = "shutdown"
#: The most devices or jobs that a reason names.
_NAMED = 20


@dataclass(frozen=True)
class Cycle:
    """Stop a guest and start it again."""

    uuid: str
    name: str
    #: Label of its process now; a guest with another one meanwhile was cycled by somebody else.
    process: str | None
    wanted: SecLabel | None
    reason: Reason
    #: While it runs with this label, the guard lets no guest start.
    blocks: bool = False

    @property
    def subject(self) -> str:
        """Name of the guest in results and in the audit."""
        return f"guest {self.name}"

    @property
    def label(self) -> str | None:
        """The label that it starts with, where it is known before."""
        return self.wanted.label if self.wanted is not None and self.wanted.type == STATIC else None


@dataclass(frozen=True)
class Foreseen:
    """Changes that earlier tasks of a run would have made, had it not been for check mode."""

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


@dataclass
class PowerCyclePlan(GuestPlan):
    """Result of the module, with the guests to cycle in the order in which that works."""

    cycles: list[Cycle] = field(default_factory=list)
    #: Guests of the plan that still run as before, by uuid.
    left: dict[str, Reason] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether at least one guest was stopped, or would be."""
        return len(self.cycles) > len(self.left)


def absent(survey: Survey, guests: t.Iterable[str]) -> list[str]:
    """The names that belong to no guest of this host."""
    return [key for key in dict.fromkeys(guests) if survey.find(key) is None]


def plan(survey: Survey, guests: t.Iterable[str], guarded: bool = False, sure: bool = False) -> PowerCyclePlan:
    """The guests to cycle; names that belong to no guest are ignored.

    ``guarded``: a guard refuses guests here. ``sure``: every guest that is told to stop does.
    """
    result, chosen = PowerCyclePlan(), dict[str, Cycle]()
    for guest in [guest for key in guests if (guest := survey.find(key)) is not None]:
        if guest.uuid in chosen or not guest.active:
            continue
        try:
            cycle = _judged(survey, guest, guarded, sure)
        except DomainXmlError as error:
            cycle = unreadable(error)
        if isinstance(cycle, Reason):
            result.refuse(guest.subject, cycle)
        elif cycle is not None:
            chosen[guest.uuid] = cycle
    result.cycles = sorted(chosen.values(), key=lambda cycle: not cycle.blocks)
    for uuid, reason in _kept_out(survey, result.cycles, guarded, sure).items():
        result.refuse(chosen[uuid].subject, reason)
        result.wait(chosen[uuid].subject, POWER_CYCLE, chosen[uuid].reason)
        result.cycles.remove(chosen[uuid])
    for cycle in result.cycles:
        _step(cycle, result)
    return result


def _step(cycle: Cycle, result: PowerCyclePlan) -> None:
    result.before.append({"guest": cycle.name, "uuid": cycle.uuid, "label": cycle.process})
    result.after.append({"guest": cycle.name, "uuid": cycle.uuid, "label": cycle.label})
    extra = {"why": cycle.reason.text, "code": cycle.reason.code}
    result.plan.append(Step("power_cycle", cycle.subject, cycle.process, shown(cycle.wanted), extra))


def _judged(survey: Survey, guest: Definition, guarded: bool, sure: bool) -> Cycle | Reason | None:
    """The cycle that a running guest needs, why it must not be cycled, or None: it needs none."""
    if guest.inactive is None or guest.next is None:
        return Reason("transient", "it is transient: stopped, it would be gone")
    wanted = confinement(guest.next.seclabels)
    label = needs_cycle(survey, guest, wanted)
    needs = [*([label] if label is not None else []), *_other_filters(guest)]
    if not needs:
        return None
    loss = would_lose(guest)
    if loss is not None:
        return loss
    if not sure and reboots_instead(guest.live or ""):
        text = (
            "its XML has <on_poweroff>restart</on_poweroff>: told to shut down, it would reboot and stay as it is; "
            "allow force, or method destroy"
        )
        return Reason("reboots_instead", text)
    blocks = guarded and _blocks(guest.process, survey)
    reason = Reason(needs[0].code, "; ".join(need.text for need in needs))
    return Cycle(guest.uuid, guest.name, guest.process, wanted, reason, blocks)


def would_lose(guest: Definition) -> Reason | None:
    """What a running guest would lose by a power cycle; None: nothing. Raises DomainXmlError."""
    if guest.inactive is None or guest.live is None:
        return Reason("transient", "it is transient: stopped, it would be gone")
    if guest.managed_save:
        text = "it has a saved state, and a start would resume that state; decide about the saved state first"
        return Reason("managed_save", text)
    if guest.still:
        text = (
            f"it is {guest.still}: stopped, it would lose what its memory holds, and a start would let it run, which "
            "somebody may have prevented on purpose; resume it, or stop it yourself, first"
        )
        return Reason("stands_still", text)
    jobs = [*guest.jobs, *(f"block job of {disk}" for disk in block_jobs(guest.live))]
    if jobs:
        text = f"a job is under way, which a power cycle would break: {some(jobs, _NAMED)}; wait until it has ended"
        return Reason("job_under_way", text)
    devices = live_only(guest.live, guest.inactive)
    if devices:
        text = (
            "its definition does not have all that it runs with; a power cycle would take away "
            f"{some(devices, _NAMED)}: add that to its definition, or detach it"
        )
        return Reason("live_only_devices", text)
    return None


def _other_filters(guest: Definition) -> t.Iterator[Reason]:
    """Interfaces whose filter in the persistent XML differs from the live one."""
    now = {card.mac: card.filter for card in cards(guest.live or "")}
    for card in cards(guest.inactive or ""):
        if card.mac in now and card.filter is not None and _parts(card.filter) != _parts(now[card.mac]):
            text = f"interface {card.mac} gets its network filter ({card.filter.shown()}) at its next start"
            yield Reason("filter_at_next_start", text)


def _parts(item: Filter | None) -> tuple[t.Any, ...]:
    return () if item is None else (item.name, sorted(item.parameters))


# -- guests that could not start again ---------------------------------------------------------------------------------


def _blocks(label: str | None, survey: Survey) -> bool:
    """Whether a guest that runs with this label reaches each other guest, or is reached by each."""
    context = read_context(label)
    if context is None:
        return False
    return not len(context.categories) or holds_the_range(context.categories, survey.daemon)


def _kept_out(survey: Survey, cycles: t.Sequence[Cycle], guarded: bool, sure: bool) -> dict[str, Reason]:
    """The guests that could not start again, or would reach another guest then, by uuid."""
    kept: dict[str, Reason] = {}
    while True:  # a guest that is not cycled keeps running, and may block another one
        left = [cycle for cycle in cycles if cycle.uuid not in kept]
        fresh = {cycle.uuid: why for cycle in left if (why := _objection(survey, cycle, left, guarded, sure))}
        if not fresh:
            return kept
        kept.update(fresh)


def _objection(survey: Survey, cycle: Cycle, left: t.Sequence[Cycle], guarded: bool, sure: bool) -> Reason | None:
    own = read_context(cycle.label)
    together = [other for other in left if other.blocks]
    open_ = cycle.wanted is not None and cycle.wanted.type == NONE
    if guarded and (open_ or _blocks(cycle.label, survey)):
        text = f"the guard would not let it start as its definition has it ({shown(cycle.wanted)})"
        return Reason("guard_would_refuse", text)
    if cycle.blocks and len(together) > 1 and not sure:
        names = ", ".join(other.name for other in together)
        return Reason(
            "must_be_off_together",
            f"{names} run with labels beside which the guard lets no guest start, so all of them have to be off before "
            "the first one starts; allow force, or method destroy, so that they surely stop",
        )
    for name, label in _running_then(survey, cycle, left):
        other = read_context(label)
        why = _meeting(survey, own, other, guarded) if other is not None else ""
        if why:
            text = f"{why} guest {name} ({label}), which runs then; it was not stopped"
            return Reason("guest_in_the_way", text)
    return None


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
    """Why a guest with this label (None: drawn by libvirt) must not start beside the other."""
    if guarded and _blocks(str(other), survey):
        return "the guard lets no guest start beside"
    if own is None or (not guarded and fault_of(other, survey.guest_types, survey.daemon) is not None):
        return ""  # the fault is the other guest's, and reported as such
    why = meeting(own, other)
    return f"its label {own} {why}" if why else ""


# -- changes of earlier tasks, in check mode ---------------------------------------------------------------------------


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


# -- results -----------------------------------------------------------------------------------------------------------


def wrong_label(survey: Survey, cycle: Cycle, process: str | None) -> Reason | None:
    """The fault of the label that a guest was started with; None when it has none."""
    if not any(model.model == "selinux" for model in survey.models):
        return None
    if process is None:
        return Reason("label_unreadable", "it was started, and the label of its process cannot be read")
    wanted = cycle.wanted
    if wanted is not None and wanted.type == STATIC:
        if same(wanted.label or "", process):
            return None
        return Reason("started_with_other_label", f"it was started as {process}; its definition says {wanted.label}")
    context = read_context(process)
    if wanted is not None and wanted.type == NONE:
        return None
    if context is None or fault_of(context, survey.guest_types, survey.daemon) is not None:
        return Reason("started_unconfined", f"it was started as {process}, which does not confine it")
    return None


def settle(
    result: PowerCyclePlan,
    left: t.Mapping[str, Reason],
    failed: t.Mapping[str, Reason],
    labels: t.Mapping[str, str | None],
) -> None:
    """Enter what happened into the result. ``left`` still run as before, ``failed`` do not run as they should."""
    result.left = dict(left)
    for cycle in result.cycles:
        if cycle.uuid in left:
            result.refuse(cycle.subject, left[cycle.uuid])
            result.wait(cycle.subject, POWER_CYCLE, cycle.reason)
        if cycle.uuid in failed:
            result.not_made.append(Refusal(cycle.subject, failed[cycle.uuid]))
    result.after = [
        {**state, "label": labels.get(state["uuid"]) if state["uuid"] not in left else state["label"]}
        for state in result.before
    ]
