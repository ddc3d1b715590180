# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan of the <seclabel> of guests: what is written, what is refused and why, which guests wait for a power cycle.

libvirt does not check static labels: it starts two guests with equal labels, a guest whose label dominates another's,
and a guest with a type that is not for guests. This plan checks them before anything is written.

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
from ..result import Reason, Step
from ..selinux.context import Context, parse_context, read_context, type_of
from ..snapshot.model import SecLabel
from .guest_definition import OPERATOR, POWER_CYCLE, Define, Definition, GuestPlan, Survey

DYNAMIC, STATIC, NONE = "dynamic", "static", "none"
TYPES = (DYNAMIC, STATIC, NONE)

#: Faults that are repaired without naming each guest. Rules of the audit: GST-003, GST-004, GST-005, GST-006, GST-008.
REPAIRS = ("none", "foreign_type", "few_categories", "wide", "static_without_relabel")

_BY_FAULT = {OPEN: "foreign_type", FOREIGN: "foreign_type", NARROW: "few_categories", WIDE: "wide"}
_DYNAMIC = SecLabel("selinux", DYNAMIC, relabel=True)


@dataclass(frozen=True)
class SeclabelRequest:
    """The <seclabel> that a guest is to have."""

    guest: str
    type: str
    label: str | None = None


@dataclass(frozen=True)
class _Target:
    guest: Definition
    wanted: SecLabel


def plan(survey: Survey, requests: t.Iterable[SeclabelRequest], repairs: t.Collection[str] = ()) -> GuestPlan:
    """The changes of all guests. Raises PlanError for requests that make no sense."""
    result = GuestPlan()
    targets = {target.guest.uuid: target for target in _targets(survey, requests, repairs, result)}
    for uuid, reason in _conflicts(survey, targets).items():
        result.refuse(targets.pop(uuid).guest.subject, reason)
    for guest in survey.guests:
        target = targets.get(guest.uuid)
        try:
            _settle(guest, target, survey, result)
        except DomainXmlError as error:
            if target is not None:
                result.refuse(guest.subject, unreadable(error))
    return result


def unreadable(error: DomainXmlError) -> Reason:
    """The XML of a guest cannot be understood."""
    return Reason("xml_unreadable", str(error))


def needs_cycle(survey: Survey, guest: Definition, wanted: SecLabel | None) -> Reason | None:
    """Why a running guest gets the label of its XML (``wanted``) only by a power cycle; None: it has it."""
    if not guest.active or not guest.process or not _has_driver(survey):
        return None
    if wanted is not None and wanted.type == STATIC:
        return _needs_static(guest, guest.process, wanted)
    if wanted is not None and wanted.type == NONE:
        return None  # a power cycle would make it worse
    context = read_context(guest.process)
    live = confinement(guest.now.seclabels) if guest.now is not None else None
    if context is None or fault_of(context, survey.guest_types, survey.daemon) is not None:
        return Reason("runs_unconfined", f"it runs as {guest.process}; its definition lets libvirt choose a label")
    if live is not None and live.type == STATIC:
        text = f"it runs with the static label {guest.process}; its definition lets libvirt choose one"
        return Reason("runs_with_static_label", text)
    drawn = _range(survey.daemon)
    if drawn is not None and not all(drawn.low <= number <= drawn.high for number in context.categories):
        return Reason("runs_outside_range", f"it runs as {guest.process}; libvirt draws from {drawn} by now")
    return None


def _needs_static(guest: Definition, process: str, wanted: SecLabel) -> Reason | None:
    if wanted.label is not None and not same(wanted.label, process):
        return Reason("runs_with_other_label", f"it runs as {process}; its definition says {wanted.label}")
    running = confinement(guest.now.seclabels) if guest.now is not None else None
    if relabels(wanted) and running is not None and not relabels(running):
        return Reason("relabels_at_next_start", "libvirt labels its files from its next start on")
    return None


def _range(daemon: str | None) -> DaemonRange | None:
    """The range that libvirt draws from; None where it is not known."""
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


# -- requests and repairs ----------------------------------------------------------------------------------------------


def _targets(
    survey: Survey, requests: t.Iterable[SeclabelRequest], repairs: t.Collection[str], result: GuestPlan
) -> t.Iterator[_Target]:
    named: set[str] = set()
    for request in requests:
        guest = survey.guest(request.guest)
        if guest.uuid in named:
            raise PlanError(f"{guest.subject} is named twice; give one label for it", "named_twice")
        named.add(guest.uuid)
        wanted = _wanted(request)
        reason = _objection(survey, guest, wanted)
        if reason is not None:
            result.refuse(guest.subject, reason)
        else:
            yield _Target(guest, wanted)
    for guest in survey.guests if repairs else ():
        target = _repair(survey, guest, repairs, result) if guest.uuid not in named else None
        if target is None:
            continue
        reason = _objection(survey, guest, target.wanted)
        if reason is not None:
            result.refuse(guest.subject, reason)
        else:
            yield target


def _wanted(request: SeclabelRequest) -> SecLabel:
    subject = f"guest {request.guest!r}"
    if request.type not in TYPES:
        raise PlanError(f"{subject}: type {request.type!r} is none of {', '.join(TYPES)}", "unknown_type")
    if request.type != STATIC:
        if request.label is not None:
            raise PlanError(f"{subject}: a label goes with type static only; leave it out", "label_without_static")
        return replace(_DYNAMIC) if request.type == DYNAMIC else SecLabel("selinux", NONE)
    if not request.label:
        text = f"{subject}: type static needs a label such as system_u:system_r:svirt_t:s0:c1,c2"
        raise PlanError(text, "static_without_label")
    try:
        context = parse_context(request.label)
    except LabelError as error:
        raise PlanError(f"{subject}: {error}", "label_unreadable") from error
    return SecLabel("selinux", STATIC, relabel=True, label=str(context))


def _repair(survey: Survey, guest: Definition, repairs: t.Collection[str], result: GuestPlan) -> _Target | None:
    """The repair of a guest that no request names."""
    try:
        domain = guest.next
    except DomainXmlError as error:
        result.refuse(guest.subject, unreadable(error))
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
    """The repair for a fault of a <seclabel>, other than a missing relabel."""
    if seclabel.type == NONE:
        return "none"
    if seclabel.type == STATIC:
        context = read_context(seclabel.label)
        fault = fault_of(context, survey.guest_types, survey.daemon) if context is not None else None
        return _BY_FAULT[fault] if fault else None
    type_ = type_of(seclabel.baselabel) if seclabel.baselabel else None
    return "foreign_type" if type_ is not None and type_ not in survey.guest_types else None


# -- refusals --------------------------------------------------------------------------------------------------------


def _has_driver(survey: Survey) -> bool:
    return any(model.model == "selinux" for model in survey.models)


def _objection(survey: Survey, guest: Definition, wanted: SecLabel) -> Reason | None:
    """Why a guest must not have this <seclabel>, whatever other guests have."""
    if guest.inactive is None:
        text = "it is transient: there is no definition to write to, and its label ends with it"
        return Reason("transient", text)
    if wanted.type == NONE:
        return Reason(
            "type_none",
            "type none is refused: the guest would run in the daemon's own domain, and a breakout would have the host",
        )
    models = {model.model: model for model in survey.models}
    if "selinux" not in models:
        text = "libvirt runs without the SELinux driver here, and would not start a guest that asks for it"
        return Reason("no_driver", text)
    if wanted.type != STATIC:
        return None
    try:
        context = parse_context(wanted.label or "")
        kind = guest.next.kind if guest.next is not None else ""
    except LabelError as error:
        return Reason("label_unreadable", str(error))
    except DomainXmlError as error:
        return unreadable(error)
    base = models["selinux"].baselabels.get(kind)
    base_type = type_of(base) if base else None
    if base_type is None:
        text = f"libvirt names no label for guests of kind {kind!r}, so the type of a static one is not known"
        return Reason("kind_without_label", text)
    if context.type != base_type:
        text = f"its label has type {context.type}; libvirt gives guests of kind {kind} the type {base_type} here"
        return Reason("wrong_type", text)
    return _unsound(survey, context)


def _unsound(survey: Survey, context: Context) -> Reason | None:
    if context.low != context.high:
        return Reason("range_label", f"its label has the range {context.range}; give one level, such as s0:c1,c2")
    fault = fault_of(context, survey.guest_types, survey.daemon)
    if fault == NARROW:
        text = f"its label {context} has fewer than two categories, so other guests may reach its disks"
        return Reason("few_categories", text)
    if fault == WIDE:
        text = f"its label {context} has so many categories that it dominates other guests' labels"
        return Reason("wide", text)
    return None if fault is None else Reason("foreign_type", f"its label {context} has a type that confines no guest")


def _conflicts(survey: Survey, targets: t.Mapping[str, _Target]) -> dict[str, Reason]:
    """Targets whose static label dominates another guest's or is dominated by it: of two requests the later one."""
    refused: dict[str, Reason] = {}
    while True:
        left = {uuid: target for uuid, target in targets.items() if uuid not in refused}
        conflict = _first_conflict(survey, left)
        if conflict is None:
            return refused
        refused[conflict[0]] = conflict[1]


def _first_conflict(survey: Survey, targets: t.Mapping[str, _Target]) -> tuple[str, Reason] | None:
    order = {uuid: number for number, uuid in enumerate(targets)}
    for uuid, target in targets.items():
        own = read_context(target.wanted.label)
        if own is None:
            continue
        for other in survey.guests:
            # Of two requests in conflict, the first takes precedence.
            if other.uuid == uuid or order.get(other.uuid, -1) > order[uuid]:
                continue
            for label, when in _labels_of(other, targets.get(other.uuid)):
                context = read_context(label)
                if context is None or fault_of(context, survey.guest_types, survey.daemon) is not None:
                    continue  # the fault is the other guest's, and reported as such
                overlap = meeting(own, context)
                if overlap:
                    text = f"its label {own} {overlap} {other.subject} {when} ({label}); give it one of its own"
                    return uuid, Reason("label_conflict", text)
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
    """How one category set dominates the other; empty when neither does."""
    if own.categories == other.categories:
        return "has the categories that"
    if own.categories.dominates(other.categories):
        return "dominates the categories that"
    return "is dominated by the categories that" if other.categories.dominates(own.categories) else ""


# -- changes ---------------------------------------------------------------------------------------------------------


def _settle(guest: Definition, target: _Target | None, survey: Survey, result: GuestPlan) -> None:
    domain = guest.next
    if domain is None or guest.inactive is None:
        return
    current = confinement(domain.seclabels)
    wanted = current
    if target is not None and not _has(current, target.wanted):
        wanted = target.wanted
        xml = with_seclabel(guest.inactive, wanted)
        result.changes.append(Define(guest.uuid, guest.name, guest.inactive, xml))
        result.plan.append(Step("define", guest.subject, shown(current), shown(wanted)))
    if target is not None:
        result.before.append(_state(guest, current))
        result.after.append(_state(guest, wanted))
    reason = needs_cycle(survey, guest, wanted)
    if reason is not None:
        result.wait(guest.subject, POWER_CYCLE, reason)
    elif target is not None and guest.managed_save and not guest.active:
        text = "it has a managed save, whose own XML its next start resumes; the definition counts after that"
        result.wait(guest.subject, OPERATOR, Reason("managed_save", text))


def _has(current: SecLabel | None, wanted: SecLabel) -> bool:
    """Whether the XML already means it, however it is spelled."""
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
