# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drop-in that gives libvirt's daemon its range of categories: what it says, and when it may be written.

libvirt draws the categories of dynamic guests from its daemon's own label. systemd gives the daemon that label, so a
drop-in of the daemon's unit decides. Guests that run keep what they have; the daemon takes the range at its next start.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ..errors import LabelError, PlanError
from ..facts.guests import draws_categories, qemu_guests
from ..libvirt.category_range import MIN_CATEGORIES, DaemonRange, libvirt_range
from ..selinux.context import MAX_CATEGORY, CategorySet, Context, Level, parse_context
from ..selinux.shipped_types import DAEMON_TYPES
from ..snapshot.model import OK, Snapshot
from ..system.unit_files import UnitAssignment, UnitFile, applied, assignments

PRESENT, ABSENT, REPAIRED = "present", "absent", "repaired"
STATES = (PRESENT, ABSENT, REPAIRED)
FOLDER = "/etc/systemd/system"
#: After the drop-ins of packages, before those of somebody who means to have the last word.
NAME = "60-svirt-fleet.conf"
KEY = "SELinuxContext"
#: libvirt tries pairs by chance until it finds a free one, and does not give up: with half of them taken it still does.
ROOM = 2

_RECORD = re.compile(r"^# range: c(0|[1-9][0-9]{0,3})\.c(0|[1-9][0-9]{0,3})$", re.MULTILINE)


@dataclass(frozen=True)
class Wish:
    """What somebody wants of the drop-in. ``range`` is None unless it is to be present."""

    state: str
    range: DaemonRange | None = None


@dataclass(frozen=True)
class Running:
    """Guests of libvirt as they bear on a range."""

    #: Guests that run with a drawn label.
    dynamic: int
    #: Guests that draw one, now or at their next start; None: not known.
    drawing: int | None


@dataclass(frozen=True)
class Seen:
    """The host, as far as the range of its daemon goes."""

    #: libvirtd or virtqemud; None where no daemon runs and no socket would start one.
    daemon: str | None
    #: SELinux decides, and has categories.
    selinux: bool
    mls: bool = True
    #: It runs, and with this label.
    awake: bool = False
    context: str | None = None
    #: Label that it gets from the policy when systemd starts it without a drop-in; None: not known.
    given: str | None = None
    #: Label of systemd.
    init: str | None = None
    #: Files of its unit, without the drop-in.
    files: tuple[UnitFile, ...] = ()
    #: The drop-in as it is; None where there is none.
    ours: str | None = None
    #: Why the drop-in's place is not ours to write to; empty when it is.
    taken: str = ""
    #: None: nobody asked.
    running: Running | None = None
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

    def settings(self, ours: str | None) -> list[UnitAssignment]:
        """Who sets the label of the daemon, in systemd's order, with this text for the drop-in."""
        files = [*self.files, *([UnitFile(self.path, ours)] if ours is not None else [])]
        return assignments(applied(self.unit, files), KEY)


@dataclass(frozen=True)
class Plan:
    """What to do. ``text`` is the drop-in as it is to be; the same as before where nothing is to be done."""

    text: str | None
    #: Label that the daemon is to run with; None: as the policy and others have it.
    context: str | None = None
    refused: str = ""
    warnings: tuple[str, ...] = ()


def path_of(unit: str) -> str:
    """The drop-in of a unit."""
    return f"{FOLDER}/{unit}.d/{NAME}"


def wish(state: str, low: int | None, high: int | None) -> Wish:
    """From a module's options. Raises PlanError."""
    if state != PRESENT:
        if low is not None or high is not None:
            raise PlanError(f"low and high go with state {PRESENT} only; leave them out with {state}")
        return Wish(state)
    if low is None or high is None:
        raise PlanError("low or high is missing; give the first and the last category of the range")
    if not 0 <= low <= high <= MAX_CATEGORY:
        raise PlanError(f"c{low}.c{high} is no range; give low and high from 0 to {MAX_CATEGORY}, low first")
    wanted = DaemonRange(low, high)
    if wanted.categories < MIN_CATEGORIES:
        raise PlanError(
            f"{wanted} has {wanted.categories} categories; libvirt draws from no fewer than {MIN_CATEGORIES}, and no "
            "guest would start: give a wider range"
        )
    return Wish(state, wanted)


def text_of(context: Context) -> str:
    """The drop-in for a label."""
    drawn = libvirt_range(str(context))
    return (
        "# Made by the module category_range of the Ansible collection svirt.fleet. The next line is for its repair.\n"
        f"# range: {drawn}\n[Service]\n{KEY}={context}\n"
    )


def recorded(text: str | None) -> DaemonRange | None:
    """The range that a drop-in of ours was made for."""
    found = _RECORD.findall(text or "")
    if len(found) != 1:
        return None
    low, high = (int(number) for number in found[0])
    return DaemonRange(low, high) if low + MIN_CATEGORIES - 1 <= high <= MAX_CATEGORY else None


def is_sound(text: str) -> bool:
    """Whether a drop-in of ours says what it was made to say, for a daemon of libvirt."""
    found = assignments([UnitFile("", text)], KEY)
    try:
        context = parse_context(found[-1].value) if len(found) == 1 else None
        return context is not None and context.type in DAEMON_TYPES and text_of(context) == text
    except LabelError:
        return False


def running(snapshot: Snapshot) -> tuple[Running | None, str]:
    """The guests of a host, or why they are not known."""
    coverage = snapshot.coverage["guests"]
    if coverage.status == OK:
        guests = [guest for guest in qemu_guests(snapshot) if draws_categories(guest)]
        return Running(sum(guest.active for guest in guests), len(guests)), ""
    processes = snapshot.coverage["processes"]
    if processes.status != OK:
        return None, coverage.why or processes.why
    # Each QEMU may be a dynamic guest: so many at most.
    return Running(sum(process.role == "qemu" for process in snapshot.processes), None), ""


def plan(seen: Seen, wanted: Wish) -> Plan:
    """What to do about the drop-in."""
    if seen.daemon is None:
        why = "no libvirt daemon for QEMU runs, and no socket would start one, so no unit is known to be the one"
        return Plan(None, refused="" if wanted.state == REPAIRED else why)
    if wanted.state == REPAIRED:
        return _repair(seen)
    if wanted.state == ABSENT:
        return Plan(seen.ours, refused=seen.taken) if seen.taken else Plan(None)
    return _set(seen, wanted.range or DaemonRange(0, MAX_CATEGORY))


def drawn_from(context: str | None) -> str | None:
    """The range that libvirt takes from a label, in words."""
    if context is None:
        return None
    try:
        return str(libvirt_range(context))
    except LabelError as error:
        return str(error)


def restart_needed(seen: Seen, made: Plan) -> bool:
    """Whether the daemon that runs has another label than the one that it is to have."""
    if not seen.awake or made.refused or seen.daemon is None:
        return False
    wanted = made.context
    if wanted is None:
        left = seen.settings(made.text)
        wanted = left[-1].value.lstrip("-") if left else seen.given
    if wanted is None or seen.context is None:
        return made.text != seen.ours
    return not _alike(wanted, seen.context)


def _repair(seen: Seen) -> Plan:
    if seen.ours is None or seen.taken or is_sound(seen.ours):
        return Plan(seen.ours)
    drawn = recorded(seen.ours)
    if drawn is None:
        why = (
            f"{seen.path} was changed by hand so that nobody knows which range it was made for; give the range again, "
            "or remove it (state absent)"
        )
        return Plan(seen.ours, refused=why)
    return _set(seen, drawn)


def _set(seen: Seen, drawn: DaemonRange) -> Plan:
    why = _not_now(seen)
    base = None
    if not why:
        base, why = _base(seen)
    if why or base is None:
        return Plan(seen.ours, refused=why)
    level = Level(0, CategorySet.of(range(drawn.low, drawn.high + 1)))
    context = Context(base.user, base.role, base.type, Level(0, CategorySet()), level)
    text = text_of(context)
    settings = seen.settings(text)
    if not settings or settings[-1].path != seen.path:
        return Plan(seen.ours, refused=_overruled(seen, settings))
    narrow = _too_narrow(seen, drawn)
    if text == seen.ours:
        return Plan(text, str(context), warnings=(narrow,) if narrow else ())
    if narrow:
        return Plan(seen.ours, refused=narrow)
    others = sorted({item.path for item in settings[:-1]})
    return Plan(text, str(context), warnings=tuple(f"{path} sets {KEY} too; {seen.path} counts" for path in others))


def _not_now(seen: Seen) -> str:
    if not seen.selinux:
        return "SELinux is off, so the daemon has no label to draw from; turn it on first (selinux_state)"
    if not seen.mls:
        return "the loaded policy has no categories; load one that has (targeted, or Debian's default)"
    return seen.taken


def _base(seen: Seen) -> tuple[Context | None, str]:
    """The label that the daemon has but for the range, or why it must not be built upon."""
    if not seen.awake:
        return _given(seen, f"{seen.daemon} does not run")
    context = _known(seen.context)
    if context is None:
        return None, f"the label of {seen.daemon} could not be read: {seen.context}"
    fault = _fault(seen, context)
    if not fault:
        return context, ""
    if _is_ours(seen):
        return _given(seen, f"{fault}; {seen.path} gave it that")
    return None, f"{fault}; find out who chose it, and start the daemon by its unit alone (LIB-007)"


def _given(seen: Seen, why: str) -> tuple[Context | None, str]:
    """The label that the policy gives the daemon at its start."""
    context = _known(seen.given)
    if context is not None and context.type in DAEMON_TYPES:
        return context, ""
    told = f"would start it as {seen.given}" if seen.given else "does not say what it would start it as"
    return None, f"{why}, and the policy {told}; see that its program has the label of its package (restorecon)"


def _fault(seen: Seen, context: Context) -> str:
    """What is wrong with the label of a daemon that runs."""
    told = f"{seen.daemon} runs as {seen.context}"
    if context.type not in DAEMON_TYPES:
        return f"{told}, whose type is not that of a libvirt daemon"
    init = _known(seen.init)
    if init is not None and init.user != context.user:
        return f"{told}, which is not what systemd starts (as user {init.user})"
    try:
        drawn = libvirt_range(str(seen.context))
    except LabelError as error:
        return f"{told}, from which libvirt cannot draw: {error}"
    extra = [number for number in context.categories if not drawn.low <= number <= drawn.high]
    return f"{told}, of which libvirt draws from {drawn} only" if extra else ""


def _is_ours(seen: Seen) -> bool:
    """The label that the daemon runs with is what the drop-in says."""
    settings = seen.settings(seen.ours)
    return bool(settings) and settings[-1].path == seen.path and _alike(settings[-1].value, seen.context or "")


def _alike(one: str, other: str) -> bool:
    first, second = _known(one), _known(other)
    return first == second if first is not None and second is not None else one == other


def _known(label: str | None) -> Context | None:
    try:
        return parse_context(label) if label else None
    except LabelError:
        return None


def _overruled(seen: Seen, settings: t.Sequence[UnitAssignment]) -> str:
    if not settings:
        return f"a file of {seen.unit} that comes after {NAME} takes {KEY} back; have it say nothing of {KEY}"
    last = settings[-1]
    return (
        f"{last.path} sets {KEY}={last.value[:200]} and comes after {NAME}, so it would count; take that line out, if "
        "nobody needs it, and run this again"
    )


def _too_narrow(seen: Seen, drawn: DaemonRange) -> str:
    if seen.running is None:
        return f"whether {drawn} is wide enough for the guests that run is not known: {seen.unknown}"
    dynamic, drawing = seen.running.dynamic, seen.running.drawing
    if drawn.pairs <= ROOM * dynamic:
        return (
            f"{drawn} has {drawn.pairs} pairs and {dynamic} guests run with drawn labels; libvirt's search for a free "
            f"pair does not end when none is left, so there must be more than {ROOM * dynamic}: give a wider range, or "
            "give guests static labels"
        )
    if drawing is not None and drawn.pairs < drawing:
        return (
            f"{drawn} has {drawn.pairs} pairs for {drawing} guests without a static label; not all of them could run: "
            "give a wider range, or give guests static labels"
        )
    return ""
