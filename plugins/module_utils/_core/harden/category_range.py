# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan of the drop-in that gives libvirt's daemon its category range: its text, and when it may be written.

libvirt draws the categories of dynamic guests from its daemon's own label. systemd sets that label, so a drop-in of the
daemon's unit decides. Running guests keep their labels; the daemon draws from the new range after its next start.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ..errors import LabelError, PlanError
from ..facts.guests import draws_categories, qemu_guests
from ..libvirt.category_range import MIN_CATEGORIES, DaemonRange, libvirt_range
from ..result import Reason
from ..selinux.context import MAX_CATEGORY, CategorySet, Context, Level, parse_context
from ..selinux.shipped_types import SHIPPED_DAEMON_TYPES
from ..snapshot.model import OK, Snapshot
from ..system.unit_files import UnitAssignment, UnitFile, applied, assignments

PRESENT, ABSENT, REPAIRED = "present", "absent", "repaired"
STATES = (PRESENT, ABSENT, REPAIRED)
FOLDER = "/etc/systemd/system"
#: Sorts after the drop-ins of packages and before those of an operator that must take precedence.
NAME = "60-svirt-fleet.conf"
KEY = "SELinuxContext"
#: Pairs per running guest: libvirt tries random pairs until one is free; with half of them free it ends soon.
ROOM = 2

_RECORD = re.compile(r"^# range: c(0|[1-9][0-9]{0,3})\.c(0|[1-9][0-9]{0,3})$", re.MULTILINE)


@dataclass(frozen=True)
class RangeRequest:
    """State of the drop-in that is asked for. ``range`` is None unless it is to be present."""

    state: str
    range: DaemonRange | None = None


@dataclass(frozen=True)
class DrawingGuests:
    """Number of libvirt's guests that draw their labels."""

    #: Guests that run with a drawn label.
    dynamic: int
    #: Guests that draw one, now or at their next start; None: not known.
    drawing: int | None


@dataclass(frozen=True)
class RangeFacts:
    """Facts of a host that decide about its daemon's range."""

    #: libvirtd or virtqemud; None where no daemon runs and no socket would start one.
    daemon: str | None
    #: SELinux is on, and its policy has categories.
    selinux: bool
    mls: bool = True
    #: The daemon runs, and with this label.
    awake: bool = False
    context: str | None = None
    #: Label that the policy gives it when systemd starts it without a drop-in; None: not known.
    default_context: str | None = None
    #: Types that the policy has for the daemon; None: it was not asked, and the shipped names count.
    types: t.Collection[str] | None = None
    #: Label of systemd.
    init: str | None = None
    #: Files of its unit, without the drop-in.
    files: tuple[UnitFile, ...] = ()
    #: Text of the drop-in; None where there is none.
    drop_in: str | None = None
    #: Why the drop-in must not be written; empty when it may be.
    taken: str = ""
    #: None: not asked.
    guests: DrawingGuests | None = None
    #: Why the guests are not known.
    unknown: str = ""

    @property
    def unit(self) -> str:
        """The daemon's unit."""
        return f"{self.daemon}.service"

    @property
    def path(self) -> str:
        """The drop-in."""
        return path_of(self.unit)

    def is_daemon_type(self, type_: str) -> bool:
        """Whether the policy has this type for the daemon."""
        return type_ in (SHIPPED_DAEMON_TYPES if self.types is None else self.types)

    def settings(self, drop_in: str | None) -> list[UnitAssignment]:
        """Settings of the daemon's label in systemd's order, with this text for the drop-in."""
        files = [*self.files, *([UnitFile(self.path, drop_in)] if drop_in is not None else [])]
        return assignments(applied(self.unit, files), KEY)


@dataclass(frozen=True)
class RangePlan:
    """The drop-in as it is to be: ``text`` is the present one where nothing changes."""

    text: str | None
    #: Label that the daemon is to run with; None: the default of the policy and other files.
    context: str | None = None
    refused: Reason | None = None
    warnings: tuple[str, ...] = ()


def path_of(unit: str) -> str:
    """The drop-in of a unit."""
    return f"{FOLDER}/{unit}.d/{NAME}"


def requested(state: str, low: int | None, high: int | None) -> RangeRequest:
    """From a module's options. Raises PlanError."""
    if state != PRESENT:
        if low is not None or high is not None:
            text = f"low and high go with state {PRESENT} only; leave them out with {state}"
            raise PlanError(text, "range_without_present")
        return RangeRequest(state)
    if low is None or high is None:
        text = "low or high is missing; give the first and the last category of the range"
        raise PlanError(text, "range_missing")
    if not 0 <= low <= high <= MAX_CATEGORY:
        text = f"c{low}.c{high} is no range; give low and high from 0 to {MAX_CATEGORY}, low first"
        raise PlanError(text, "no_range")
    wanted = DaemonRange(low, high)
    if wanted.categories < MIN_CATEGORIES:
        raise PlanError(
            f"{wanted} has {wanted.categories} categories; libvirt draws from no fewer than {MIN_CATEGORIES}, and no "
            "guest would start: give a wider range",
            "too_few_categories",
        )
    return RangeRequest(state, wanted)


def text_of(context: Context) -> str:
    """The drop-in for a label."""
    drawn = libvirt_range(str(context))
    return (
        "# Made by the module category_range of the Ansible collection svirt.fleet. The next line is for its repair.\n"
        f"# range: {drawn}\n[Service]\n{KEY}={context}\n"
    )


def recorded(text: str | None) -> DaemonRange | None:
    """The range that a drop-in of this module was written for."""
    records = _RECORD.findall(text or "")
    if len(records) != 1:
        return None
    low, high = (int(number) for number in records[0])
    return DaemonRange(low, high) if low + MIN_CATEGORIES - 1 <= high <= MAX_CATEGORY else None


def is_sound(facts: RangeFacts, text: str) -> bool:
    """Whether a drop-in of this module is unchanged, and for a daemon of libvirt."""
    settings = assignments([UnitFile("", text)], KEY)
    try:
        context = parse_context(settings[-1].value) if len(settings) == 1 else None
        return context is not None and facts.is_daemon_type(context.type) and text_of(context) == text
    except LabelError:
        return False


def drawing_guests(snapshot: Snapshot) -> tuple[DrawingGuests | None, str]:
    """The guests of a host that draw their labels, or why they are not known."""
    coverage = snapshot.coverage["guests"]
    if coverage.status == OK:
        guests = [guest for guest in qemu_guests(snapshot) if draws_categories(guest)]
        return DrawingGuests(sum(guest.active for guest in guests), len(guests)), ""
    processes = snapshot.coverage["processes"]
    if processes.status != OK:
        return None, coverage.why or processes.why
    # Each QEMU process may be a dynamic guest: an upper bound.
    return DrawingGuests(sum(process.role == "qemu" for process in snapshot.processes), None), ""


def plan(facts: RangeFacts, request: RangeRequest) -> RangePlan:
    """The drop-in as it is to be."""
    if facts.daemon is None:
        text = "no libvirt daemon for QEMU runs, and no socket would start one, so the unit is not known"
        return RangePlan(None, refused=None if request.state == REPAIRED else Reason("no_daemon", text))
    if request.state == REPAIRED:
        return _repair(facts)
    if request.state == ABSENT:
        return RangePlan(facts.drop_in, refused=_refused(facts)) if facts.taken else RangePlan(None)
    return _set(facts, request.range or DaemonRange(0, MAX_CATEGORY))


def drawn_from(context: str | None) -> str | None:
    """The range that libvirt takes from a label, as text."""
    if context is None:
        return None
    try:
        return str(libvirt_range(context))
    except LabelError as error:
        return str(error)


def restart_needed(facts: RangeFacts, planned: RangePlan) -> bool:
    """Whether the running daemon has another label than it is to have."""
    if not facts.awake or planned.refused or facts.daemon is None:
        return False
    label = planned.context
    if label is None:
        remaining = facts.settings(planned.text)
        label = remaining[-1].value.lstrip("-") if remaining else facts.default_context
    if label is None or facts.context is None:
        return planned.text != facts.drop_in
    return not _alike(label, facts.context)


def _repair(facts: RangeFacts) -> RangePlan:
    if facts.drop_in is None or facts.taken or is_sound(facts, facts.drop_in):
        return RangePlan(facts.drop_in)
    drawn = recorded(facts.drop_in)
    if drawn is None:
        text = (
            f"{facts.path} was edited by hand, and the range that it was written for cannot be read from it any more; "
            "give the range again, or remove it (state absent)"
        )
        return RangePlan(facts.drop_in, refused=Reason("range_not_recorded", text))
    return _set(facts, drawn)


def _set(facts: RangeFacts, drawn: DaemonRange) -> RangePlan:
    base = _not_now(facts) or _base(facts)
    if isinstance(base, Reason):
        return RangePlan(facts.drop_in, refused=base)
    level = Level(0, CategorySet.of(range(drawn.low, drawn.high + 1)))
    context = Context(base.user, base.role, base.type, Level(0, CategorySet()), level)
    text = text_of(context)
    settings = facts.settings(text)
    if not settings or settings[-1].path != facts.path:
        return RangePlan(facts.drop_in, refused=_overruled(facts, settings))
    narrow = _too_narrow(facts, drawn)
    if text == facts.drop_in:
        return RangePlan(text, str(context), warnings=(narrow.text,) if narrow else ())
    if narrow:
        return RangePlan(facts.drop_in, refused=narrow)
    others = sorted({item.path for item in settings[:-1]})
    warnings = tuple(f"{path} sets {KEY} too; {facts.path} takes precedence" for path in others)
    return RangePlan(text, str(context), warnings=warnings)


def _refused(facts: RangeFacts) -> Reason:
    return Reason("not_ours", facts.taken)


def _not_now(facts: RangeFacts) -> Reason | None:
    if not facts.selinux:
        text = "SELinux is off, so the daemon has no label to draw from; turn it on first (selinux_state)"
        return Reason("selinux_off", text)
    if not facts.mls:
        text = "the loaded policy has no categories; load one that has (targeted, or Debian's default)"
        return Reason("no_categories", text)
    return _refused(facts) if facts.taken else None


def _base(facts: RangeFacts) -> Context | Reason:
    """The daemon's label apart from its range, or why it must not be used."""
    if not facts.awake:
        return _started_by_policy(facts, f"{facts.daemon} does not run")
    context = _parsed(facts.context)
    if context is None:
        return Reason("label_unreadable", f"the label of {facts.daemon} could not be read: {facts.context}")
    fault = _fault(facts, context)
    if fault is None:
        return context
    if _is_label_of_drop_in(facts):
        return _started_by_policy(facts, f"{fault.text}; {facts.path} gave it that label")
    text = f"{fault.text}; see where it comes from, and start the daemon by its unit alone (LIB-007)"
    return Reason(fault.code, text)


def _started_by_policy(facts: RangeFacts, why: str) -> Context | Reason:
    """The label that the policy gives the daemon at its start."""
    context = _parsed(facts.default_context)
    if context is not None and facts.is_daemon_type(context.type):
        return context
    policy = (
        f"would start it as {facts.default_context}"
        if facts.default_context
        else "does not say as what it would start it"
    )
    text = f"{why}, and the policy {policy}; check that its program has the label of its package (restorecon)"
    return Reason("policy_gives_no_daemon_label", text)


def _fault(facts: RangeFacts, context: Context) -> Reason | None:
    """The fault of the running daemon's label; None when it has none."""
    runs = f"{facts.daemon} runs as {facts.context}"
    if not facts.is_daemon_type(context.type):
        return Reason("foreign_type", f"{runs}, whose type is not that of a libvirt daemon")
    init = _parsed(facts.init)
    if init is not None and init.user != context.user:
        return Reason("foreign_user", f"{runs}, which is not what systemd starts (as user {init.user})")
    try:
        drawn = libvirt_range(str(facts.context))
    except LabelError as error:
        return Reason("range_unusable", f"{runs}, from which libvirt cannot draw: {error}")
    extra = [number for number in context.categories if not drawn.low <= number <= drawn.high]
    return Reason("range_in_parts", f"{runs}, of which libvirt draws from {drawn} only") if extra else None


def _is_label_of_drop_in(facts: RangeFacts) -> bool:
    """Whether the drop-in sets the daemon's label."""
    settings = facts.settings(facts.drop_in)
    return bool(settings) and settings[-1].path == facts.path and _alike(settings[-1].value, facts.context or "")


def _alike(label: str, other: str) -> bool:
    first, second = _parsed(label), _parsed(other)
    return first == second if first is not None and second is not None else label == other


def _parsed(label: str | None) -> Context | None:
    try:
        return parse_context(label) if label else None
    except LabelError:
        return None


def _overruled(facts: RangeFacts, settings: t.Sequence[UnitAssignment]) -> Reason:
    if not settings:
        text = f"a file of {facts.unit} that sorts after {NAME} resets {KEY}; take {KEY} out of that file"
        return Reason("overruled", text)
    last = settings[-1]
    text = (
        f"{last.path} sets {KEY}={last.value[:200]} and sorts after {NAME}, so it takes precedence; take that line "
        "out, if nobody needs it, and run this again"
    )
    return Reason("overruled", text)


def _too_narrow(facts: RangeFacts, drawn: DaemonRange) -> Reason | None:
    if facts.guests is None:
        text = f"whether {drawn} is wide enough for the running guests is not known: {facts.unknown}"
        return Reason("guests_unknown", text)
    dynamic, drawing = facts.guests.dynamic, facts.guests.drawing
    if drawn.pairs <= ROOM * dynamic:
        text = (
            f"{drawn} has {drawn.pairs} pairs and {dynamic} guests run with drawn labels; libvirt's search for a free "
            f"pair does not end when none is left, so there must be more than {ROOM * dynamic}: give a wider range, or "
            "give guests static labels"
        )
        return Reason("too_narrow", text)
    if drawing is not None and drawn.pairs < drawing:
        text = (
            f"{drawn} has {drawn.pairs} pairs for {drawing} guests without a static label; not all of them could run: "
            "give a wider range, or give guests static labels"
        )
        return Reason("too_narrow", text)
    return None
