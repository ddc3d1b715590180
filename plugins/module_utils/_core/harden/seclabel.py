# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which guests get which <seclabel>, which are left alone and why, and which run with another label than that.

libvirt checks none of this: it starts two guests with one static label, one whose label holds another's, and one of a
type that is not for guests. So it is checked here, before anything is written.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ..errors import DomainXmlError, LabelError, PlanError
from ..facts.guest_label import FOREIGN, NARROW, OPEN, WIDE, fault_of
from ..libvirt.category_range import DaemonRange, libvirt_range
from ..libvirt.domain_edit import with_seclabel
from ..libvirt.file_labels import confinement, relabels, same
from ..selinux.context import Context, parse_context, read_context, type_of
from ..snapshot.model import SecLabel
from .guest_definition import POWER_CYCLE, Define, Definition, Plan, Survey

DYNAMIC, STATIC, NONE = "dynamic", "static", "none"
TYPES = (DYNAMIC, STATIC, NONE)

#: What may be repaired without naming each guest. The rules of the audit that find it: GST-003, GST-004, GST-005,
#: GST-006, GST-008.
REPAIRS = ("none", "foreign_type", "few_categories", "wide", "static_without_relabel")

_BY_FAULT = {OPEN: "foreign_type", FOREIGN: "foreign_type", NARROW: "few_categories", WIDE: "wide"}
_DYNAMIC = SecLabel("selinux", DYNAMIC, relabel=True)


@dataclass(frozen=True)
class Wish:
    """The <seclabel> that somebody wants a guest to have."""

    guest: str
    type: str
    label: str | None = None


@dataclass(frozen=True)
class _Target:
    guest: Definition
    wanted: SecLabel


def plan(survey: Survey, wishes: t.Iterable[Wish], repairs: t.Collection[str] = ()) -> Plan:
    """What to do. Raises PlanError for what cannot be meant."""
    made = Plan()
    targets = {target.guest.uuid: target for target in _targets(survey, wishes, repairs, made)}
    for uuid, why in _conflicts(survey, targets).items():
        made.refuse(targets.pop(uuid).guest.subject, why)
    for guest in survey.guests:
        target = targets.get(guest.uuid)
        try:
            _settle(guest, target, survey, made)
        except DomainXmlError as error:
            if target is not None:
                made.refuse(guest.subject, str(error))
    return made


def needs_cycle(survey: Survey, guest: Definition, wanted: SecLabel | None) -> str:
    """Why a running guest gets the label of its XML (``wanted``) only by a power cycle; empty: it has it."""
    if not guest.active or not guest.process or not _has_driver(survey):
        return ""
    if wanted is not None and wanted.type == STATIC:
        if wanted.label is not None and not same(wanted.label, guest.process):
            return f"it runs as {guest.process}; its definition says {wanted.label}"
        running = confinement(guest.now.seclabels) if guest.now is not None else None
        if relabels(wanted) and running is not None and not relabels(running):
            return "libvirt labels its files from its next start on"
        return ""
    if wanted is not None and wanted.type == NONE:
        return ""  # a power cycle would make it worse
    context = read_context(guest.process)
    live = confinement(guest.now.seclabels) if guest.now is not None else None
    if context is None or fault_of(context, survey.guest_types, survey.daemon) is not None:
        return f"it runs as {guest.process}; its definition lets libvirt choose a label"
    if live is not None and live.type == STATIC:
        return f"it runs with the static label {guest.process}; its definition lets libvirt choose one"
    drawn = _range(survey.daemon)
    if drawn is not None and not all(drawn.low <= number <= drawn.high for number in context.categories):
        return f"it runs as {guest.process}; libvirt draws from {drawn} by now"
    return ""


def _range(daemon: str | None) -> DaemonRange | None:
    """What libvirt draws from; None where that is not known."""
    try:
        return libvirt_range(daemon) if daemon else None
    except LabelError:
        return None


def shown(seclabel: SecLabel | None) -> str:
    """A <seclabel> in one line."""
    if seclabel is None:
        return "dynamic (libvirt's default)"
    words = [seclabel.type or DYNAMIC, seclabel.label or ""]
    words += [f"baselabel {seclabel.baselabel}"] if seclabel.baselabel else []
    words += [] if relabels(seclabel) or seclabel.type == NONE else ["relabel=no"]
    return " ".join(word for word in words if word)


# -- what is wanted --------------------------------------------------------------------------------------------------


def _targets(survey: Survey, wishes: t.Iterable[Wish], repairs: t.Collection[str], made: Plan) -> t.Iterator[_Target]:
    named: set[str] = set()
    for wish in wishes:
        guest = survey.guest(wish.guest)
        if guest.uuid in named:
            raise PlanError(f"{guest.subject} is named twice; give one label for it")
        named.add(guest.uuid)
        wanted = _wanted(wish)
        why = _why_not(survey, guest, wanted)
        if why:
            made.refuse(guest.subject, why)
        else:
            yield _Target(guest, wanted)
    for guest in survey.guests if repairs else ():
        if guest.uuid in named:
            continue
        target = _repair(survey, guest, repairs, made)
        why = _why_not(survey, guest, target.wanted) if target is not None else ""
        if why:
            made.refuse(guest.subject, why)
        elif target is not None:
            yield target


def _wanted(wish: Wish) -> SecLabel:
    if wish.type not in TYPES:
        raise PlanError(f"guest {wish.guest!r}: type {wish.type!r} is none of {', '.join(TYPES)}")
    if wish.type != STATIC:
        if wish.label is not None:
            raise PlanError(f"guest {wish.guest!r}: a label goes with type static only; leave it out")
        return replace(_DYNAMIC) if wish.type == DYNAMIC else SecLabel("selinux", NONE)
    if not wish.label:
        raise PlanError(f"guest {wish.guest!r}: type static needs a label such as system_u:system_r:svirt_t:s0:c1,c2")
    try:
        context = parse_context(wish.label)
    except LabelError as error:
        raise PlanError(f"guest {wish.guest!r}: {error}") from error
    return SecLabel("selinux", STATIC, relabel=True, label=str(context))


def _repair(survey: Survey, guest: Definition, repairs: t.Collection[str], made: Plan) -> _Target | None:
    """What a repair that was asked for makes of a guest that nobody named."""
    try:
        domain = guest.next
    except DomainXmlError as error:
        made.refuse(guest.subject, str(error))
        return None
    current = confinement(domain.seclabels) if domain is not None else None
    if current is None:
        return None
    fault = _fault(survey, current)
    if fault is not None and fault in repairs:
        return _Target(guest, replace(_DYNAMIC))
    if fault is None and current.type == STATIC and not relabels(current) and "static_without_relabel" in repairs:
        return _Target(guest, SecLabel("selinux", STATIC, relabel=True, label=current.label))
    return None


def _fault(survey: Survey, seclabel: SecLabel) -> str | None:
    """The repair that a <seclabel> is a case for, beside that of a missing relabel."""
    if seclabel.type == NONE:
        return "none"
    if seclabel.type == STATIC:
        context = read_context(seclabel.label)
        fault = fault_of(context, survey.guest_types, survey.daemon) if context is not None else None
        return _BY_FAULT[fault] if fault else None
    type_ = type_of(seclabel.baselabel) if seclabel.baselabel else None
    return "foreign_type" if type_ is not None and type_ not in survey.guest_types else None


# -- what is refused -------------------------------------------------------------------------------------------------


def _has_driver(survey: Survey) -> bool:
    return any(model.model == "selinux" for model in survey.models)


def _why_not(survey: Survey, guest: Definition, wanted: SecLabel) -> str:
    """Why a guest must not have this <seclabel>, whatever other guests have."""
    if guest.inactive is None:
        return "it is transient: there is no definition to write to, and its label ends with it"
    if wanted.type == NONE:
        return (
            "type none is refused: the guest would run in the daemon's own domain, and a breakout would have the host"
        )
    models = {model.model: model for model in survey.models}
    if "selinux" not in models:
        return "libvirt runs without the SELinux driver here, and would not start a guest that asks for it"
    if wanted.type != STATIC:
        return ""
    try:
        context = parse_context(wanted.label or "")
        kind = guest.next.kind if guest.next is not None else ""
    except (LabelError, DomainXmlError) as error:
        return str(error)
    base = models["selinux"].baselabels.get(kind)
    base_type = type_of(base) if base else None
    if base_type is None:
        return f"libvirt names no label for guests of kind {kind!r}, so the type of a static one is not known"
    if context.type != base_type:
        return f"its label has type {context.type}; libvirt gives guests of kind {kind} the type {base_type} here"
    return _unsound(survey, context)


def _unsound(survey: Survey, context: Context) -> str:
    if context.low != context.high:
        return f"its label has the range {context.range}; give one level, such as s0:c1,c2"
    fault = fault_of(context, survey.guest_types, survey.daemon)
    if fault == NARROW:
        return f"its label {context} has fewer than two categories, so other guests may reach its disks"
    if fault == WIDE:
        return f"its label {context} has so many categories that it holds other guests'"
    return "" if fault is None else f"its label {context} has a type that does not hold guests"


def _conflicts(survey: Survey, targets: t.Mapping[str, _Target]) -> dict[str, str]:
    """Targets whose static label another guest's holds, or that holds it: the later one of two wishes goes."""
    refused: dict[str, str] = {}
    while True:
        left = {uuid: target for uuid, target in targets.items() if uuid not in refused}
        found = _first_conflict(survey, left)
        if found is None:
            return refused
        refused[found[0]] = found[1]


def _first_conflict(survey: Survey, targets: t.Mapping[str, _Target]) -> tuple[str, str] | None:
    order = {uuid: number for number, uuid in enumerate(targets)}
    for uuid, target in targets.items():
        own = read_context(target.wanted.label)
        if own is None:
            continue
        for other in survey.guests:
            # Of two wishes that meet, the one that came first stands.
            if other.uuid == uuid or order.get(other.uuid, -1) > order[uuid]:
                continue
            for label, when in _labels_of(other, targets.get(other.uuid)):
                context = read_context(label)
                if context is None or fault_of(context, survey.guest_types, survey.daemon) is not None:
                    continue  # the fault of the other guest, which is told of it
                why = meeting(own, context)
                if why:
                    return uuid, f"its label {own} {why} {other.subject} {when} ({label}); give it one of its own"
    return None


def _labels_of(guest: Definition, target: _Target | None) -> t.Iterator[tuple[str, str]]:
    """The labels that a guest has now and gets at its next start."""
    if guest.process:
        yield guest.process, "runs with"
    try:
        wanted = target.wanted if target is not None else confinement(guest.next.seclabels) if guest.next else None
    except DomainXmlError:
        return
    if wanted is not None and wanted.type == STATIC and wanted.label:
        yield wanted.label, "is given" if target is not None else "is defined with"


def meeting(own: Context, other: Context) -> str:
    """How one set of categories holds the other; empty when neither does."""
    if own.categories == other.categories:
        return "has the categories that"
    if own.categories.dominates(other.categories):
        return "holds the categories that"
    return "lies within the categories that" if other.categories.dominates(own.categories) else ""


# -- what is done ----------------------------------------------------------------------------------------------------


def _settle(guest: Definition, target: _Target | None, survey: Survey, made: Plan) -> None:
    domain = guest.next
    if domain is None or guest.inactive is None:
        return
    current = confinement(domain.seclabels)
    wanted = current
    if target is not None and not _has(current, target.wanted):
        wanted = target.wanted
        xml = with_seclabel(guest.inactive, wanted)
        made.steps.append(Define(guest.uuid, guest.name, guest.inactive, xml))
        made.lines.append(
            {"action": "define", "subject": guest.subject, "from": shown(current), "to": shown(wanted)},
        )
    if target is not None:
        made.before.append(_state(guest, current))
        made.after.append(_state(guest, wanted))
    why = needs_cycle(survey, guest, wanted)
    if why:
        made.wait(guest.subject, POWER_CYCLE, why)


def _has(current: SecLabel | None, wanted: SecLabel) -> bool:
    """The XML says it already, in whatever words."""
    if wanted.type == DYNAMIC:
        return current is None or (current.type in (None, DYNAMIC) and not current.baselabel)
    return (
        current is not None
        and current.type == STATIC
        and relabels(current)
        and same(current.label or "", wanted.label or "")
    )


def _state(guest: Definition, seclabel: SecLabel | None) -> dict[str, t.Any]:
    return {
        "guest": guest.name,
        "uuid": guest.uuid,
        "type": (seclabel.type if seclabel else None) or DYNAMIC,
        "label": seclabel.label if seclabel else None,
        "relabel": relabels(seclabel),
    }
