# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about guests: the labels of their processes, and those that their XML gives to the next start.

A guest has up to two labels: that of its process, and that of its next start by the persistent XML. Each label has at
most one fault (``_fault``), and each fault belongs to one rule:

- GST-002 runs in a type that confines nothing; but GST-010 when the persistent XML already confines it;
- GST-003 ``<seclabel type='none'>`` waits for the next start, while the process is confined or off;
- GST-004 a type outside the guests' types; GST-005 fewer than two categories; GST-006 a set that contains the sets of
  all others. A faulty process is reported once, by its own fault: GST-007 and GST-010 are then silent.
- GST-007 a sound process, but the live XML names another label;
- GST-010 a sound process, but the persistent XML names another sound label.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import functools
import typing as t
from collections import Counter
from dataclasses import dataclass

from ...facts import outsiders
from ...facts.guest_label import FOREIGN, MAX_CATEGORIES, NARROW, OPEN, WIDE, fault_of
from ...facts.guests import qemu_guests, selinux_off
from ...facts.process_types import facts_of, guest_types, runs_open
from ...facts.subjects import guest_name, process_name
from ...libvirt.domain_xml import RISKS
from ...libvirt.file_labels import confinement, relabels, same
from ...libvirt.qemu_conf import doubt_of, setting
from ...result import Reason
from ...selinux.context import Context, read_context, type_of, unreadable
from ...snapshot.model import UNKNOWN, Guest, Process, SecLabel, Snapshot
from ..finding import SEVERITIES, Hit, Rule, Settings, Unsure
from ._common import (
    NIST_AC3,
    NIST_AC4,
    NIST_AC6,
    NIST_CM3,
    NIST_CM6,
    NIST_CM7,
    NIST_SC4,
    NIST_SC39,
    guest_unread,
    off_is_unsure,
)

Results = t.Iterable[t.Union[Hit, Unsure]]


#: Guests that the evidence names at most.
_MOST_REACHED = 8


FaultOf = t.Callable[[Context], t.Optional[str]]


def _fault_on(snapshot: Snapshot) -> FaultOf:
    """The fault of a label on this host, whose types are collected once for all its guests."""
    daemon = snapshot.libvirt.daemon
    opens = functools.lru_cache(maxsize=None)(functools.partial(runs_open, snapshot))
    types, drawn_by = guest_types(snapshot), daemon.context if daemon else None
    return lambda context: fault_of(context, types, drawn_by, opens)


@dataclass(frozen=True)
class _NextStart:
    """Label of the next start, by the persistent XML."""

    #: dynamic, static, none, or open where the host's configuration leaves it unconfined; None: no persistent XML,
    #: or not read.
    kind: str | None
    label: str | None = None
    fault: str | None = None
    #: Why it cannot be judged.
    doubt: Reason | None = None


def _next_start(snapshot: Snapshot, guest: Guest, fault_on: FaultOf) -> _NextStart:
    if not guest.persistent:
        return _NextStart(None)
    if guest.error and not guest.persistent_labels:
        return _NextStart(None, doubt=guest_unread(guest).reason)
    defined = _start_by(snapshot, guest.persistent_labels, fault_on)
    if guest.saved_labels is None or defined.fault or defined.doubt or defined.kind in ("none", OPEN):
        return defined
    return _start_by(snapshot, guest.saved_labels, fault_on)


def _start_by(snapshot: Snapshot, seclabels: t.Sequence[SecLabel], fault_on: FaultOf) -> _NextStart:
    seclabel = confinement(seclabels)
    if _left_open(snapshot, seclabel):
        return _NextStart(OPEN)
    if seclabel is None or seclabel.type in (None, "dynamic"):
        # Only the type of a <baselabel> survives, and without one the type is the daemon's own choice.
        type_ = type_of(seclabel.baselabel) if seclabel is not None and seclabel.baselabel else None
        foreign = type_ is not None and (runs_open(snapshot, type_) or type_ not in guest_types(snapshot))
        return _NextStart("dynamic", seclabel.baselabel if seclabel else None, FOREIGN if foreign else None)
    if seclabel.type == "none":
        return _NextStart("none")
    context = read_context(seclabel.label)
    if context is None:
        doubt = Reason("label_unreadable", unreadable(seclabel.label, "the label in its XML"))
        return _NextStart(seclabel.type, seclabel.label, doubt=doubt)
    fault = fault_on(context)
    return _NextStart(seclabel.type, seclabel.label, FOREIGN if fault == OPEN else fault)


def _left_open(snapshot: Snapshot, seclabel: SecLabel | None) -> bool:
    """The daemon would start the guest unconfined although its label is dynamic or absent."""
    models, conf = snapshot.libvirt.models, snapshot.libvirt.conf
    if models is not None and all(model.model != "selinux" for model in models):
        return seclabel is None or seclabel.type != "none"
    return seclabel is None and conf is not None and setting(conf, "security_default_confined") == 0


@dataclass(frozen=True)
class _JudgedGuest:
    """A guest, its process's label and that of its next start."""

    guest: Guest
    subject: str
    #: None: it does not run, or its label could not be read.
    context: Context | None
    fault: str | None
    next: _NextStart
    doubt: Reason | None = None

    def hit(self, severity: str | None = None, fix: str | None = None, **evidence: t.Any) -> Hit:
        """Finding about this guest, with the labels of its process and of its next start as evidence."""
        shown = {"process": self.guest.context, "persistent": _shown(self.guest.persistent_labels), **evidence}
        if self.guest.saved_labels is not None:
            shown["saved"] = _shown(self.guest.saved_labels)
        return Hit(self.subject, self.guest.uuid, shown, fix=fix, severity=severity, note=self._note)

    @property
    def _note(self) -> str:
        if self.guest.saved_labels is not None:
            return _SAVED
        return "" if self.guest.persistent else _TRANSIENT

    @property
    def migrates_dynamic(self) -> bool:
        """A migration makes its label anew: only the live XML travels, and it names no label of its own."""
        live = confinement(self.guest.live)
        return live is None or live.type == "dynamic"


def _shown(seclabels: t.Iterable[SecLabel]) -> str | None:
    """The <seclabel> that the SELinux driver acts on, in one line."""
    seclabel = confinement(seclabels)
    if seclabel is None:
        return None
    relabel = {True: "relabel=yes", False: "relabel=no", None: None}[seclabel.relabel]
    label = seclabel.label or (f"baselabel {seclabel.baselabel}" if seclabel.baselabel else None)
    return " ".join(part for part in (f"type={seclabel.type}", relabel, label) if part)


def _judged_guests(snapshot: Snapshot) -> t.Iterator[_JudgedGuest]:
    fault_on = _fault_on(snapshot)
    for guest in qemu_guests(snapshot):
        next_ = _next_start(snapshot, guest, fault_on)
        subject = guest_name(guest)
        if not guest.active:
            yield _JudgedGuest(guest, subject, None, None, next_)
            continue
        context = read_context(guest.context)
        if context is not None:
            yield _JudgedGuest(guest, subject, context, fault_on(context), next_)
        elif (type_ := type_of(guest.context or "")) and runs_open(snapshot, type_):  # the type alone decides
            yield _JudgedGuest(guest, subject, None, OPEN, next_)
        else:
            doubt = Reason("label_unreadable", unreadable(guest.context, "the label of its process"))
            yield _JudgedGuest(guest, subject, None, None, next_, doubt)


def _each(
    snapshot: Snapshot, settings: Settings, judge: t.Callable[[_JudgedGuest], Results], reads: str = "both"
) -> Results:
    """Apply a rule to every guest. ``reads`` is what it judges: the process, the xml of the next start, or both.

    A part that could not be read gives an Unsure.
    """
    if selinux_off(snapshot):
        yield from off_is_unsure(snapshot)
        return
    for judged in settings.once("judged_guests", lambda: list(_judged_guests(snapshot))):
        results = list(judge(judged))
        yield from results
        doubts = (judged.doubt if reads != "xml" else None, judged.next.doubt if reads != "process" else None)
        if not results:
            yield from (Unsure(judged.subject, doubt) for doubt in doubts if doubt)


def _confined_next(judged: _JudgedGuest) -> bool:
    """The persistent XML gives the next start a sound label."""
    return judged.next.kind in ("dynamic", "static") and judged.next.fault is None and not judged.next.doubt


def _unmanaged(snapshot: Snapshot, _settings: Settings) -> Results:
    """Report these also while SELinux is off and on a host without libvirt: no other rule does."""
    outside = outsiders.outside_qemus(snapshot)
    names = Counter((process.exe, process.name) for process, _kind in outside)
    for process, kind in outside:
        subject = process_name(process)
        if snapshot.coverage["guests"].status == UNKNOWN:
            yield Unsure(subject, Reason("guests_unread", "the guests could not be read, so it may be one of them"))
            continue
        alone = bool(process.name) and names[process.exe, process.name] == 1
        key = f"{process.exe}\0{process.name if alone else process.pid}"
        severity, confined_by, fix = _OUTSIDE.get(kind, (None, None, None))
        evidence = _shown_process(process) | {"kind": kind}
        evidence |= {"confined": confined_by} if confined_by else {}
        yield Hit(subject, key, evidence, severity=severity, fix=fix)


_ENGINE_FIX = (
    "Nothing is to be done for its confinement: its engine sees to that. Its categories are compared with those of the "
    "guests here; give the engine and libvirt ranges of their own, so that they stay apart."
)
_SESSION_FIX = (
    "Ask its user whether it must run in a session of libvirt (qemu:///session). That daemon draws from the same "
    "categories as the system's, and neither knows what the other drew: define it with the system's libvirt."
)
#: QEMUs outside libvirt that are confined all the same: severity, what confines them, and the repair where it differs.
_OUTSIDE: dict[str, tuple[str, str, str | None]] = {
    outsiders.CONTAINER: ("info", "confined by a container engine, by type and categories", _ENGINE_FIX),
    outsiders.SESSION: ("medium", "a guest's type and categories, from a user's session daemon", _SESSION_FIX),
    outsiders.CONFINED: ("high", "a guest's type and categories, from whoever started it", None),
    outsiders.APPARMOR: ("medium", "an AppArmor profile", None),
}


def _borrowed_label(snapshot: Snapshot, _settings: Settings) -> Results:
    if selinux_off(snapshot):
        yield from off_is_unsure(snapshot)
        return
    for process in outsiders.label_bearers(snapshot):
        subject = process_name(process)
        unplaced = outsiders.unplaced_guests(snapshot, process.context)
        if snapshot.coverage["guests"].status == UNKNOWN:
            yield Unsure(subject, Reason("guests_unread", "the guests could not be read, so it may serve one of them"))
        elif unplaced:
            why = f"guest {unplaced[0]} has the same label and no control group of its own, so it may be its helper"
            yield Unsure(subject, Reason("may_be_helper", why))
        else:
            evidence = _shown_process(process) | {"reaches": _reached(snapshot, process)}
            yield Hit(subject, f"{process.exe}\0{process.context}", evidence)


def _shown_process(process: Process) -> dict[str, t.Any]:
    names = ("pid", "exe", "context", "uid", "cgroup")
    return {name: getattr(process, name) for name in names}


def _reached(snapshot: Snapshot, process: Process) -> list[str]:
    """Running guests whose files are open to the process, by categories."""
    context = read_context(process.context)
    own = ((guest, read_context(guest.context)) for guest in snapshot.guests if guest.active)
    return [
        guest_name(guest)
        for guest, label in own
        if label is not None and context is not None and context.high.dominates(label.high)
    ][:_MOST_REACHED]


def _unconfined(snapshot: Snapshot, settings: Settings) -> Results:
    def judge(judged: _JudgedGuest) -> Results:
        if judged.fault == OPEN and not _confined_next(judged):
            yield judged.hit(fix=f"{_CONFINE} {_MIGRATED}" if judged.migrates_dynamic else None)

    return _each(snapshot, settings, judge, "process")


def _none_label(snapshot: Snapshot, settings: Settings) -> Results:
    conf = snapshot.libvirt.conf
    known = doubt_of(conf, "security_require_confined") is None
    refused = conf is not None and known and setting(conf, "security_require_confined") == 1

    def judge(judged: _JudgedGuest) -> Results:
        if judged.next.kind == "none" and judged.fault != OPEN:
            yield judged.hit(fix=_REFUSED_START if refused else None, security_require_confined=int(refused))

    return _each(snapshot, settings, judge, "xml")


def _foreign_type(snapshot: Snapshot, settings: Settings) -> Results:
    def judge(judged: _JudgedGuest) -> Results:
        if judged.fault == FOREIGN and judged.context is not None:
            constrained = facts_of(snapshot, judged.context.type).constrained
            # The policy may confine such a process, but not as it confines guests.
            yield judged.hit("medium" if constrained else None, constrained=constrained)
        elif judged.next.fault == FOREIGN and judged.fault != OPEN:
            yield judged.hit()

    return _each(snapshot, settings, judge)


def _few_categories(snapshot: Snapshot, settings: Settings) -> Results:
    return _by_fault(snapshot, settings, NARROW)


def _wide(snapshot: Snapshot, settings: Settings) -> Results:
    return _by_fault(snapshot, settings, WIDE)


def _by_fault(snapshot: Snapshot, settings: Settings, fault: str) -> Results:
    def judge(judged: _JudgedGuest) -> Results:
        if judged.fault == fault or (judged.next.fault == fault and judged.fault != OPEN):
            yield judged.hit()

    return _each(snapshot, settings, judge)


def _xml_disagrees(snapshot: Snapshot, settings: Settings) -> Results:
    def judge(judged: _JudgedGuest) -> Results:
        if not judged.guest.active or judged.context is None or judged.fault is not None:
            return
        seclabel = confinement(judged.guest.live)
        if seclabel is None:
            no_label = Reason("no_live_label", "its live XML has no SELinux label to compare with")
            yield guest_unread(judged.guest) if judged.guest.error else Unsure(judged.subject, no_label)
        elif seclabel.label is None and seclabel.type != "none":
            why = "its live XML has a <seclabel> without a label"
            yield Unsure(judged.subject, Reason("live_label_empty", why))
        elif seclabel.type == "none" or not same(seclabel.label or "", judged.guest.context or ""):
            yield judged.hit(live=_shown(judged.guest.live))

    return _each(snapshot, settings, judge, "process")


def _static_without_relabel(snapshot: Snapshot, settings: Settings) -> Results:
    def judge(judged: _JudgedGuest) -> Results:
        where = {
            name: _shown(seclabels)
            for name, seclabels in (("live", judged.guest.live), ("persistent", judged.guest.persistent_labels))
            if _keeps_labels(seclabels)
        }
        if where:
            yield judged.hit(**where)

    return _each(snapshot, settings, judge, "xml")


def _keeps_labels(seclabels: t.Iterable[SecLabel]) -> bool:
    seclabel = confinement(seclabels)
    return seclabel is not None and seclabel.type == "static" and not relabels(seclabel)


#: Severity of each risk; others are low.
_RISK_SEVERITY = {
    "custom_argv": "high",
    "custom_override": "high",
    "external_launch": "high",
    "high_privileges": "high",
    "host_capability": "high",
    "raw_io": "high",
    "unfiltered_sgio": "high",
    "custom_capabilities": "medium",
    "custom_emulator": "medium",
    "host_filesystem": "medium",
    "hook_script": "medium",
    "passthrough_lun": "medium",
    "passthrough_pci": "medium",
    "passthrough_scsi": "medium",
    "passthrough_scsi_host": "medium",
    "passthrough_tpm": "medium",
    "passthrough_usb": "medium",
    "vhostuser": "medium",
}


def _risky(snapshot: Snapshot, _settings: Settings) -> Results:
    for guest in qemu_guests(snapshot):
        subject = guest_name(guest)
        if guest.risks:
            severity = min((_RISK_SEVERITY.get(risk, "low") for risk in guest.risks), key=SEVERITIES.index)
            evidence = {"risks": {risk: RISKS.get(risk, "") for risk in guest.risks}}
            yield Hit(subject, guest.uuid, evidence, severity=severity)
        elif guest.error:
            yield guest_unread(guest)


def _pending(snapshot: Snapshot, settings: Settings) -> Results:
    def judge(judged: _JudgedGuest) -> Results:
        if judged.fault == OPEN and _confined_next(judged):
            migrates = judged.migrates_dynamic and judged.next.kind == "dynamic"
            yield judged.hit(fix=f"{_POWER_CYCLE} {_MIGRATED}" if migrates else None)
        elif judged.context is not None and judged.fault is None and judged.next.fault is None and _differs(judged):
            yield judged.hit("low", live=_shown(judged.guest.live))

    return _each(snapshot, settings, judge)


def _differs(judged: _JudgedGuest) -> bool:
    """The next start has another sound label than the process: static now and then, or other static categories."""
    if judged.next.kind == "static" and judged.next.label:
        return not same(judged.next.label, judged.guest.context or "")
    live = confinement(judged.guest.live)
    return judged.next.kind == "dynamic" and live is not None and live.type == "static"


#: Management such as nova, oVirt and OpenNebula writes the XML of each start anew.
_TRANSIENT = (
    "The guest is transient: whoever starts it writes its XML anew, so the XML is to be changed there, and virsh edit "
    "does not last."
)
#: libvirt resumes a managed save by the XML in it.
_SAVED = (
    "The guest has a managed save, and its next start resumes that by the XML in it (evidence: saved), so a change of "
    "its definition counts only after that: make the same change by virsh managedsave-edit, or start the guest, shut "
    "it down by its own system, and start it again."
)
_LATER = "The change counts from the guest's next power cycle (stop and start; a reboot inside the guest is not enough)"
_REFUSED_START = (
    "security_require_confined = 1, so libvirt refuses the guest's next start. Remove the <seclabel> from its XML "
    "(virsh edit): with security_default_confined = 1 it starts confined. The running guest is not touched."
)
_CONFINE = (
    "Remove <seclabel type='none'/> or the foreign label from the guest's XML (virsh edit), and make sure that "
    f"libvirt's driver is SELinux. {_LATER}."
)
_POWER_CYCLE = "Stop and start the guest, in agreement with its owner. A reboot inside it is not enough."
_MIGRATED = "A migration gives it a label too: libvirt draws one anew on the other host."

RULES: tuple[Rule, ...] = (
    Rule(
        id="GST-001",
        title="A QEMU runs outside libvirt",
        severity="critical",
        scope="guest",
        why=(
            "The system's libvirt does not know this process, so it chose neither its label nor its categories, and "
            "keeps no guest apart from it. As a rule it runs unconfined: whoever breaks out of it may reach every "
            "guest's disks that its user may open. The evidence says what confines it, if anything does."
        ),
        fix=(
            "Find out who started it and why. Define it as a libvirt guest and start it there; then end this process "
            "in agreement with its owner. Nothing here can confine it while it runs."
        ),
        cost="operator",
        needs=("selinux", "processes"),
        regardless=("selinux",),
        check=_unmanaged,
        references=(NIST_AC3, NIST_SC39, NIST_CM7),
    ),
    Rule(
        id="GST-002",
        title="A guest runs unconfined",
        severity="critical",
        scope="guest",
        why=(
            "The guest's QEMU runs in a domain that SELinux holds back from next to nothing. Whoever breaks out of it "
            "has every other guest's disks, and often the host."
        ),
        fix=_CONFINE,
        cost="guest_power_cycle",
        needs=("selinux", "guests"),
        check=_unconfined,
        references=(NIST_AC3, NIST_AC6, NIST_SC39),
    ),
    Rule(
        id="GST-003",
        title="A guest's XML asks for no confinement",
        severity="high",
        scope="guest",
        why=(
            "<seclabel type='none'/>: at its next start the guest runs in the daemon's own domain, and a breakout "
            "from it controls the host; with security_require_confined = 1 libvirt refuses that start instead. "
            "(type='none' together with model='none' is different, and harmless.)"
        ),
        fix=f"Remove the <seclabel> from the guest's XML (virsh edit). {_LATER}; the running guest is not touched.",
        cost="none",
        needs=("selinux", "guests"),
        check=_none_label,
        references=(NIST_AC3, NIST_AC6, NIST_CM6),
    ),
    Rule(
        id="GST-004",
        title="A guest has a type that is not meant for guests",
        severity="high",
        scope="guest",
        why=(
            "A static label or <baselabel> names a type of its own. libvirt checks neither what that type may do nor "
            "whether categories bind it, so nobody knows what a breakout from this guest may reach."
        ),
        fix=(
            "Give the label the type that libvirt's capabilities name for the guest's kind (svirt_t; svirt_tcg_t for "
            f"emulated guests where the policy has it), or remove it. {_LATER}."
        ),
        cost="guest_power_cycle",
        needs=("selinux", "guests"),
        check=_foreign_type,
        references=(NIST_AC3, NIST_AC6, NIST_SC39),
    ),
    Rule(
        id="GST-005",
        title="A guest has fewer than two categories",
        severity="high",
        scope="guest",
        why=(
            "Files without categories are open to every guest, files with one to each guest whose pair holds it: "
            "this guest's disks are not its own."
        ),
        fix=(
            "Remove the static label from the guest's XML, or write one with two to four categories that no other "
            f"guest has. {_LATER}. A dynamic guest with one category: upgrade libvirt (CVE-2021-3631)."
        ),
        cost="guest_power_cycle",
        needs=("selinux", "guests"),
        check=_few_categories,
        references=(NIST_AC4, NIST_SC4, NIST_SC39, "CVE-2021-3631"),
    ),
    Rule(
        id="GST-006",
        title="A guest's categories hold everybody's",
        severity="critical",
        scope="guest",
        why=(
            "A process may open what has a subset of its categories. This set holds all that libvirt draws from, or "
            f"more than {MAX_CATEGORIES}: whoever breaks out of this guest may read and write other guests' disks."
        ),
        fix=(
            "Remove the static label from the guest's XML, or write one with two to four categories that no other "
            f"guest has. {_LATER}."
        ),
        cost="guest_power_cycle",
        needs=("selinux", "guests"),
        check=_wide,
        references=(NIST_AC4, NIST_AC6, NIST_SC39),
    ),
    Rule(
        id="GST-007",
        title="A guest's process and its live XML name different labels",
        severity="high",
        scope="guest",
        why=(
            "libvirt labels the guest's files by the XML, the kernel decides by the process: the guest may lose its "
            "disks, or share another guest's categories without libvirt's knowledge."
        ),
        fix=(
            "Do not restart libvirt's daemon first: with two guests on one label it would kill one. Migrate or "
            "power-cycle this guest, so that both labels are set anew."
        ),
        cost="guest_power_cycle",
        needs=("selinux", "guests"),
        check=_xml_disagrees,
        references=(NIST_AC4, NIST_SC39),
    ),
    Rule(
        id="GST-008",
        title="A static label without relabelling",
        severity="medium",
        scope="guest",
        why=(
            "libvirt runs the guest with its static label but leaves its files as they are. They must be labelled by "
            "hand, and what was labelled by hand to make it start is often open to every guest."
        ),
        fix=f"Set relabel='yes' on the guest's static <seclabel> (virsh edit). {_LATER}.",
        cost="guest_power_cycle",
        needs=("selinux", "guests"),
        check=_static_without_relabel,
        references=(NIST_AC3, NIST_CM6),
    ),
    Rule(
        id="GST-009",
        title="A guest reaches past what sVirt controls",
        severity="medium",
        scope="guest",
        why=(
            "A device of the host, a shared directory or an argument past libvirt is given to the guest; the evidence "
            "names it. It widens what a hostile guest, or a breakout from it, can touch."
        ),
        fix=(
            "Take the device or argument out of the guest's XML if the guest can do without it. If it is meant to be, "
            "waive this finding with the reason."
        ),
        cost="guest_power_cycle",
        needs=("selinux", "guests"),
        check=_risky,
        references=(NIST_AC6, NIST_CM7),
    ),
    Rule(
        id="GST-010",
        title="A guest has its proper label only after a power cycle",
        severity="critical",
        scope="guest",
        why=(
            "The guest's persistent XML is right, but the process still runs as it was started: unconfined, or (then "
            "low) with another label. A running process cannot be relabelled."
        ),
        fix=_POWER_CYCLE,
        cost="guest_power_cycle",
        needs=("selinux", "guests"),
        check=_pending,
        references=(NIST_AC3, NIST_SC39, NIST_CM3),
    ),
    Rule(
        id="GST-011",
        title="A process with a guest's label belongs to no guest",
        severity="high",
        scope="guest",
        why=(
            "It is no QEMU and serves no guest, yet it has a type and categories that only guests get: it may read and "
            "write the disks of each guest in the evidence (reaches). It may be left over from a guest that ended, or "
            "somebody gave it this label to get at a guest's files."
        ),
        fix=(
            "Find out who started it and why with this label (evidence: exe, uid, cgroup). Once it is sure that no "
            "running guest leans on it, end this process in agreement with its owner. Then see who may choose this "
            "label: runcon, the label of a service, a policy module of your own."
        ),
        cost="operator",
        needs=("selinux", "processes"),
        check=_borrowed_label,
        references=(NIST_AC3, NIST_AC4, NIST_SC39),
        unproved="the policy lets only QEMU's own file start in a guest's type; the lab has no module against that",
    ),
)
