# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which guests, of those that may be stopped and started, need it for what their definition already says.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .definition import POWER_CYCLE, Definition, Plan, Survey
from .domain_edit import cards
from .errors import DomainXmlError
from .expected import confinement, same
from .rules._support import read_context
from .rules.guest import fault_of
from .seclabel_plan import NONE, STATIC, needs_cycle, shown
from .snapshot import SecLabel

SHUTDOWN, DESTROY = "shutdown", "destroy"


@dataclass(frozen=True)
class Cycle:
    """Stop a guest and start it again."""

    uuid: str
    name: str
    #: Label of its process now; a guest that has another one meanwhile was cycled by somebody else.
    process: str | None
    wanted: SecLabel | None
    why: str

    @property
    def subject(self) -> str:
        """As the audit names it."""
        return f"guest {self.name}"


def plan(survey: Survey, guests: t.Iterable[str]) -> tuple[list[Cycle], Plan]:
    """The guests to cycle, in the order given. Raises PlanError for names that stand for no guest."""
    made, found = Plan(), dict[str, Cycle]()
    for guest in [survey.guest(key) for key in guests]:
        if guest.uuid in found or not guest.active:
            continue
        try:
            cycle, why = _judged(survey, guest)
        except DomainXmlError as error:
            cycle, why = None, str(error)
        if why:
            made.refuse(guest.subject, why)
        elif cycle is not None:
            found[guest.uuid] = cycle
            wanted = cycle.wanted.label if cycle.wanted is not None and cycle.wanted.type == STATIC else None
            made.before.append({"guest": guest.name, "uuid": guest.uuid, "label": cycle.process})
            made.after.append({"guest": guest.name, "uuid": guest.uuid, "label": wanted})
            made.lines.append(
                {
                    "action": "power_cycle",
                    "subject": cycle.subject,
                    "from": cycle.process,
                    "to": shown(cycle.wanted),
                    "why": cycle.why,
                }
            )
    return list(found.values()), made


def _judged(survey: Survey, guest: Definition) -> tuple[Cycle | None, str]:
    """The cycle that a running guest needs, or why it must not be cycled."""
    if guest.inactive is None or guest.next is None:
        return None, "it is transient: stopped, it would be gone"
    wanted = confinement(guest.next.seclabels)
    why = needs_cycle(survey, guest, wanted) or _other_filter(guest)
    if not why:
        return None, ""
    if guest.managed_save:
        return None, "it has a saved state, which a start would go back to; remove it first (virsh managedsave-remove)"
    return Cycle(guest.uuid, guest.name, guest.process, wanted, why), ""


def _other_filter(guest: Definition) -> str:
    """An interface has a filter in the definition that it does not have now."""
    now = {card.mac: card.filter for card in cards(guest.live or "")}
    for card in cards(guest.inactive or ""):
        if card.mac in now and card.filter is not None and _parts(card.filter) != _parts(now[card.mac]):
            return f"interface {card.mac} gets its network filter ({card.filter.shown()}) at its next start"
    return ""


def _parts(found: t.Any) -> t.Any:
    return None if found is None else (found.name, sorted(found.parameters))


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
