# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart of libvirt's daemon: why it is needed, objections to it, and its effect on the guests.

At its start the daemon reserves the categories of each running dynamic guest again. For a second guest with the same
range that fails, and the daemon kills this guest. With a qemu.conf that it refuses, the daemon does not start and the
guests run unmanaged.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass, field, replace

from ..errors import LabelError
from ..libvirt import qemu_conf
from ..libvirt.category_range import libvirt_range
from ..libvirt.file_labels import confinement
from ..libvirt.hook_script import FAILS, PASSES
from ..libvirt.hooks import Hook, is_unseen
from ..libvirt.qemu_conf_host import driver_faults
from ..libvirt.qemu_conf_keys import Version, version_of
from ..result import Pending, Reason, Refusal, Result, Step
from ..snapshot.model import OK, Assignment, Guest, Libvirt, QemuConf, Snapshot
from ..system.own_files import LINK

CONF = "qemu.conf"
#: Suspends or shuts down all guests when it stops.
GUESTS_UNIT = "libvirt-guests.service"
#: How an operator makes a hook safe, in a form that hook_script can read.
_EXIT_FIRST = (
    "if it has nothing to do then, make it a shell script whose first line after #!/bin/sh is "
    '[ "$2" = reconnect ] && exit 0 (a program of another kind can be started by such a script with exec)'
)
_QEMU_KINDS = frozenset(("kvm", "qemu"))


@dataclass(frozen=True)
class DaemonUnit:
    """A systemd unit of a daemon, as loaded."""

    name: str
    #: active, inactive, failed, activating, …
    state: str
    pid: int | None = None
    #: Which processes systemd kills with the unit; with "process" guests survive.
    kill_mode: str = ""
    #: Its files changed since systemd read them.
    stale: bool = False
    #: Units that systemd stops or restarts with this one.
    followers: tuple[str, ...] = ()


@dataclass(repr=False, eq=False)
class RestartFacts:
    """Facts that the gate judges."""

    snapshot: Snapshot
    units: list[DaemonUnit]
    #: When the daemon started, to a hundredth of a second where that is known.
    started_at: float | None = None
    #: Files that the daemon, or systemd for it, reads at its start -> time of the last change.
    files: dict[str, float] = field(default_factory=dict)
    #: Guest's uuid -> running job that a restart would abort.
    jobs: dict[str, str] = field(default_factory=dict)
    #: Requested label of the daemon; None: the policy's.
    context: str | None = None
    #: Hooks for guests that libvirt calls.
    hooks: list[Hook] = field(default_factory=list)
    #: Why systemd's units do not settle which daemon drives the guests; None where they do.
    unsettled: Reason | None = None
    #: Version of the installed libvirt, which may be newer than the running one; None: the running one.
    installed_version: str | None = None
    #: Further reasons for a restart.
    reasons: list[Reason] = field(default_factory=list)

    @property
    def libvirt(self) -> Libvirt:
        """libvirt on the host."""
        return self.snapshot.libvirt

    @property
    def version(self) -> Version | None:
        """Version of the libvirt that would start; None when it is not known."""
        return version_of(self.installed_version or self.libvirt.version)

    @property
    def unit(self) -> DaemonUnit | None:
        """The unit of the daemon in charge."""
        daemon = self.libvirt.daemon
        return next((unit for unit in self.units if daemon and unit.name == f"{daemon.name}.service"), None)


@dataclass(frozen=True)
class ForeseenRestart:
    """Changes that earlier tasks of a run in check mode only planned."""

    #: Why the daemon would need a restart.
    reasons: tuple[Reason, ...] = ()
    #: Values of keys of qemu.conf; None: no assignment.
    settings: t.Mapping[str, t.Any] = field(default_factory=dict)
    #: Another policy would be loaded, so what the present one denies does not count.
    policy: bool = False


@dataclass(frozen=True)
class RunningGuest:
    """A running guest."""

    name: str
    pid: int | None
    context: str | None
    #: Start of its process; a pid alone can be another's by now.
    started_at: float | None


def newer(files: t.Mapping[str, float], started_at: float | None) -> list[str]:
    """Files that changed after the daemon started; all of them when its start time is unknown."""
    return sorted(path for path, changed_at in files.items() if started_at is None or changed_at > started_at)


def reasons(look: RestartFacts) -> list[Reason]:
    """Why the running daemon needs a restart; empty for an idle one, which reads everything at its next start."""
    daemon = look.libvirt.daemon
    if daemon is None or daemon.pid is None:
        return []
    why = [
        Reason("file_changed", f"{path} changed after {daemon.name} started")
        for path in newer(look.files, look.started_at)
    ]
    if look.unit is not None and look.unit.stale:
        why.append(Reason("unit_stale", f"the files of {look.unit.name} changed and systemd has not read them yet"))
    if look.context is not None and daemon.context != look.context:
        why.append(Reason("other_context", f"{daemon.name} runs as {daemon.context}, not as {look.context}"))
    if is_unseen(LINK, look.hooks, look.started_at):
        text = f"{LINK} was made after {daemon.name} started, which looks for hooks only then"
        why.append(Reason("hook_unseen", text))
    why += [reason for reason in look.reasons if reason not in why]
    return why + _missing_drivers(look, daemon.name)


def _missing_drivers(look: RestartFacts, daemon: str) -> list[Reason]:
    """Security drivers that qemu.conf names and the running daemon does not have."""
    conf, models = look.libvirt.conf, look.libvirt.models
    if conf is None or models is None:
        return []
    present = {"none", *(item.model for item in models)}
    names = [name for name in qemu_conf.security_driver(conf).names if name not in present]
    why = "security_driver names {}, which the running {} does not have"
    return [Reason("driver_missing", why.format(name, daemon)) for name in names]


def expect(look: RestartFacts, foreseen: ForeseenRestart) -> None:
    """Change the facts to what they would be after the earlier tasks."""
    look.reasons += foreseen.reasons
    if foreseen.policy:
        look.hooks = [replace(hook, denied=()) for hook in look.hooks]
    conf = look.libvirt.conf
    if conf is not None and foreseen.settings:
        look.libvirt.conf = _with(conf, foreseen.settings)


def _with(conf: QemuConf, settings: t.Mapping[str, t.Any]) -> QemuConf:
    set_ = [Assignment(key, value, 0) for key, value in settings.items() if value is not None]
    kept = [item for item in conf.assignments if item.key not in settings]
    problems = [problem for problem in conf.problems if problem.key not in settings]
    folders = None if qemu_conf.SHARED in settings else conf.shared_folders
    return replace(conf, assignments=set_ + kept, problems=problems, shared_folders=folders)


def refusals(look: RestartFacts) -> list[Refusal]:
    """What speaks against a restart."""
    return [*_guest_refusals(look), *_hook_refusals(look), *_conf_refusals(look), *_daemon_refusals(look)]


def has_selinux(look: RestartFacts, restarted: bool) -> bool:
    """Whether libvirt labels guests that start from now on: with the running daemon, or after its restart."""
    if "selinux" in [model.model for model in look.libvirt.models or ()]:
        return True
    conf = look.libvirt.conf
    if not restarted or conf is None or look.snapshot.selinux.mode == "disabled":
        return False
    driver = qemu_conf.security_driver(conf)
    return driver.selinux or driver.kind == "unset"


def running(snapshot: Snapshot) -> dict[str, RunningGuest]:
    """Running guests by uuid."""
    started = {process.pid: process.started_at for process in snapshot.processes}
    return {
        guest.uuid: RunningGuest(guest.name, guest.pid, guest.context, started.get(guest.pid or 0))
        for guest in snapshot.guests
        if guest.active
    }


def losses(before: t.Mapping[str, RunningGuest], after: t.Mapping[str, RunningGuest]) -> list[Reason]:
    """Guests that the restart changed; empty when all run on unchanged."""
    lost = []
    for uuid, old in sorted(before.items()):
        new = after.get(uuid)
        name = f"guest {old.name} ({uuid})"
        if new is None or new.pid is None:
            lost.append(Reason("guest_gone", f"{name} no longer runs; it had pid {old.pid}"))
        elif (new.pid, new.started_at) != (old.pid, old.started_at):
            lost.append(Reason("guest_restarted", f"{name} runs as pid {new.pid}; it had pid {old.pid}"))
        elif new.context != old.context:
            lost.append(Reason("guest_relabelled", f"{name} has label {new.context}; it had {old.context}"))
    return lost


def shortfalls(look: RestartFacts) -> list[Reason]:
    """What a daemon that came back does not have."""
    daemon, conf, models = look.libvirt.daemon, look.libvirt.conf, look.libvirt.models
    missing = []
    if look.context is not None and (daemon is None or daemon.context != look.context):
        text = f"the daemon runs as {daemon.context if daemon else None}, not as {look.context}"
        missing.append(Reason("other_context", text))
    names_selinux = conf is not None and qemu_conf.security_driver(conf).selinux
    if names_selinux and models is None:
        text = "whether the daemon came back with SELinux, which qemu.conf names, is not known"
        missing.append(Reason("driver_unknown", text))
    elif names_selinux and "selinux" not in [model.model for model in models or ()]:
        text = "the daemon came back without SELinux though qemu.conf names it"
        missing.append(Reason("driver_missing", text))
    return missing


def planned(look: RestartFacts, only_if_needed: bool) -> Result:
    """What the module does. For an idle daemon systemd only reads its unit files again, where they changed."""
    daemon, unit = look.libvirt.daemon, look.unit
    asleep = daemon is None or daemon.pid is None
    needed = reasons(look)
    wanted = not asleep and bool(needed or not only_if_needed)
    gate = refusals(look)
    name = unit.name if unit else "daemon"
    plan = []
    if wanted and not gate:
        plan = [Step("restart", name, "running", "restarted")]
    elif asleep and unit is not None and unit.stale:
        plan = [Step("reload_units", name, "stale", "read again")]
    refused = wanted and bool(gate)
    why = (
        Reason(needed[0].code, "; ".join(map(str, needed)))
        if needed
        else Reason("asked_for", "a restart was asked for")
    )
    restarted = any(step.action == "restart" for step in plan)
    return Result(
        state(look),
        state(look),
        plan=plan,
        refused=gate if refused else [],
        pending=[Pending(name, "daemon_restart", why)] if refused else [],
        extra={
            "needed": [reason.text for reason in needed],
            "gate": [entry.as_dict() for entry in gate],
            "selinux_driver": has_selinux(look, restarted),
        },
    )


def state(look: RestartFacts) -> dict[str, t.Any]:
    """The daemon as the module's result shows it."""
    daemon = look.libvirt.daemon
    return {
        "daemon": daemon.name if daemon else None,
        "pid": daemon.pid if daemon else None,
        "context": daemon.context if daemon else None,
        "guests": len(running(look.snapshot)),
    }


def _guest_refusals(look: RestartFacts) -> t.Iterator[Refusal]:
    snapshot = look.snapshot
    coverage = snapshot.coverage["guests"]
    if coverage.status != OK:
        why = f"whether a restart would hurt one is not known: {coverage.why}"
        yield Refusal("guests", Reason("guests_unknown", why))
    sharing: dict[str, list[Guest]] = defaultdict(list)
    for guest in _dynamic(snapshot):
        level = _level(guest.context)
        if level:
            sharing[level].append(guest)
        elif snapshot.selinux.mode != "disabled":
            why = "its process's label has no readable range; libvirt could kill it at the restart"
            yield Refusal(f"guest {guest.name}", Reason("range_unreadable", f"{why}: {guest.context}"))
    for level, guests in sorted(sharing.items()):
        if len(guests) > 1:
            names = ", ".join(sorted(guest.name for guest in guests))
            why = f"they run with the same range {level}; libvirt would kill all but one of them at the restart"
            yield Refusal(names, Reason("same_range", why))
    for guest in snapshot.guests:
        job = look.jobs.get(guest.uuid)
        if job:
            why = f"its job {job} is running, which a restart would abort; wait until it is done"
            yield Refusal(f"guest {guest.name}", Reason("job_running", why))


def _hook_refusals(look: RestartFacts) -> t.Iterator[Refusal]:
    """libvirt calls each hook for each running guest when it is back, and ends the guest when the hook fails."""
    snapshot = look.snapshot
    guests = snapshot.coverage["guests"].status != OK or any(guest.active for guest in snapshot.guests)
    for hook in look.hooks:
        if hook.denied:
            why = (
                "libvirt could not run it: no guest would start, and running ones would be ended at the restart; give "
                f"it a label that the daemon may execute, such as bin_t ({'; '.join(map(str, hook.denied))})"
            )
            yield Refusal(f"hook {hook.path}", Reason("hook_denied", why))
        elif guests and hook.at_reconnect == FAILS:
            why = f"it fails when libvirt calls it for a running guest: the restart would end the guests; {_EXIT_FIRST}"
            yield Refusal(f"hook {hook.path}", Reason("hook_fails", why))
        elif guests and hook.at_reconnect != PASSES:
            why = (
                "whether it succeeds when libvirt calls it for a running guest is not known; if it does not, the "
                f"restart would end the guests; {_EXIT_FIRST}"
            )
            yield Refusal(f"hook {hook.path}", Reason("hook_unknown", why))


def _dynamic(snapshot: Snapshot) -> t.Iterator[Guest]:
    """Running guests with categories that libvirt drew, which it reserves again at its start."""
    for guest in snapshot.guests:
        if guest.active and guest.kind in _QEMU_KINDS:
            label = confinement(guest.live)
            if label is not None and label.type in (None, "dynamic"):
                yield guest


def _level(context: str | None) -> str:
    """The range of a label, as libvirt compares it: as text."""
    parts = (context or "").split(":", 3)
    return parts[3] if len(parts) == 4 else ""


def _conf_refusals(look: RestartFacts) -> t.Iterator[Refusal]:
    conf = look.libvirt.conf
    if conf is None:
        why = "the file could not be read, so whether libvirt would start with it is not known"
        yield Refusal(CONF, Reason("conf_unread", why))
        return
    problems = qemu_conf.problems_for(conf, look.version)
    broken = [problem for problem in problems if problem.kind in qemu_conf.REFUSED]
    for problem in broken:
        why = f"line {problem.line}: {problem.message}; libvirt would not start"
        yield Refusal(f"{CONF} {problem.key}".rstrip(), Reason(problem.kind, why))
    for problem in problems:
        if problem.kind == qemu_conf.UNVERIFIED and problem.key != qemu_conf.SHARED:
            why = f"line {problem.line}: {problem.message}, so whether libvirt would start is not known"
            yield Refusal(f"{CONF} {problem.key}", Reason(problem.kind, why))
    if not broken:
        yield from (Refusal(f"{CONF} security_driver", reason) for reason in _driver_refusals(look, conf))


def _driver_refusals(look: RestartFacts, conf: QemuConf) -> t.Iterator[Reason]:
    selinux, driver = look.snapshot.selinux, qemu_conf.security_driver(conf)
    if driver.kind == "invalid":
        return
    faults = list(driver_faults(conf, selinux.mode, selinux.lsms))
    yield from faults
    models = [model.model for model in look.libvirt.models or ()]
    if driver.kind == "explicit" and "apparmor" in driver.names and "apparmor" not in models and not faults:
        why = "it names apparmor, which the running daemon does not have; whether libvirt has this driver is not known"
        yield Reason("driver_unknown", why)
    if "selinux" in models and driver.names and "selinux" not in driver.names:
        why = f"it names {', '.join(driver.names)}: guests would start without SELinux from then on"
        yield Reason("without_selinux", why)


def _daemon_refusals(look: RestartFacts) -> t.Iterator[Refusal]:
    daemon, unit = look.libvirt.daemon, look.unit
    if daemon is None:
        yield Refusal("daemon", Reason("no_daemon", "no libvirt daemon runs, and no socket would start one"))
        return
    if look.unsettled is not None:
        yield Refusal("daemon", look.unsettled)
    if look.libvirt.driver not in (None, "QEMU"):
        why = f"it drives {look.libvirt.driver}, not QEMU"
        yield Refusal(f"daemon {daemon.name}", Reason("other_driver", why))
    active = [item.name for item in look.units if item.state not in ("inactive", "failed")]
    if len(active) > 1:
        why = f"{' and '.join(active)} are active; only one may drive the guests. Stop the one that does not"
        yield Refusal("daemon", Reason("two_daemons", why))
    if daemon.pid is not None and (unit is None or unit.pid != daemon.pid):
        pid = f"{unit.name} has pid {unit.pid}" if unit else "no unit of systemd is known for it"
        why = f"pid {daemon.pid} was not started by systemd ({pid}); start it by its unit"
        yield Refusal(f"daemon {daemon.name}", Reason("not_by_systemd", why))
    elif unit is not None and unit.kill_mode != "process":
        why = f"KillMode={unit.kill_mode}: systemd would end the guests with the daemon; set KillMode=process"
        yield Refusal(unit.name, Reason("kill_mode", why))
    if unit is not None and GUESTS_UNIT in unit.followers:
        why = f"systemd would stop {GUESTS_UNIT} with it, which shuts the guests down; have it want, not require"
        yield Refusal(unit.name, Reason("stops_guests", why))
    if look.context is not None:
        try:
            libvirt_range(look.context)
        except LabelError as error:
            why = f"no guest could start under {look.context}: {error}"
            yield Refusal("context", Reason("range_unusable", why))
