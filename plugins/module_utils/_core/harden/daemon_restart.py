# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether libvirt's daemon needs a restart, whether one would hurt a guest, and whether it did.

At its start the daemon takes the categories of each running dynamic guest back into its own list. A second guest with
the same range is an error to it, and it kills that guest. A file that it refuses leaves all guests without a manager.

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
from ..libvirt.hooks import Hook, is_unseen
from ..snapshot.model import OK, Assignment, Guest, Libvirt, QemuConf, Snapshot
from .guard import LINK
from .qemu_conf import driver_faults

CONF = "qemu.conf"
#: Suspends or shuts down all guests when it stops.
GUESTS_UNIT = "libvirt-guests.service"
_REFUSED = frozenset(("syntax", "wrong_type", "bad_value"))
_QEMU_KINDS = frozenset(("kvm", "qemu"))


@dataclass(frozen=True)
class Unit:
    """A unit of systemd, as loaded."""

    name: str
    #: active, inactive, failed, activating, …
    state: str
    pid: int | None = None
    #: What systemd kills with the unit: process leaves the guests alone.
    kill_mode: str = ""
    #: Its files changed since systemd read them.
    stale: bool = False
    #: Units that systemd stops or restarts with this one.
    followers: tuple[str, ...] = ()


@dataclass(repr=False, eq=False)
class Look:
    """All that the gate looks at."""

    snapshot: Snapshot
    units: list[Unit]
    #: When the daemon started, to a hundredth of a second where that is known.
    started_at: float | None = None
    #: Files that the daemon, or systemd for it, reads at its start -> time of the last change.
    files: dict[str, float] = field(default_factory=dict)
    #: Guest's uuid -> job under way that a restart would break.
    jobs: dict[str, str] = field(default_factory=dict)
    #: Label that the daemon is to run with; None: whatever the policy gives.
    context: str | None = None
    #: Hooks for guests that libvirt would call.
    hooks: list[Hook] = field(default_factory=list)
    #: Further reasons for a restart.
    reasons: list[str] = field(default_factory=list)

    @property
    def libvirt(self) -> Libvirt:
        """libvirt on the host."""
        return self.snapshot.libvirt

    @property
    def unit(self) -> Unit | None:
        """The unit of the daemon in charge."""
        daemon = self.libvirt.daemon
        return next((unit for unit in self.units if daemon and unit.name == f"{daemon.name}.service"), None)


@dataclass(frozen=True)
class Foreseen:
    """What earlier tasks of a run in check mode would have changed, had it not been for check mode."""

    #: Why the daemon would need a restart.
    reasons: tuple[str, ...] = ()
    #: Keys of qemu.conf as they would be; None: taken out.
    settings: t.Mapping[str, t.Any] = field(default_factory=dict)
    #: The loaded policy would be another one, so what it denies says nothing.
    policy: bool = False


@dataclass(frozen=True)
class Running:
    """A guest that runs."""

    name: str
    pid: int | None
    context: str | None
    #: Start of its process; a pid alone can be another's by now.
    started_at: float | None


def newer(files: t.Mapping[str, float], started_at: float | None) -> list[str]:
    """The files that changed after the daemon started; all, when nobody knows when it did."""
    return sorted(path for path, changed_at in files.items() if started_at is None or changed_at > started_at)


def reasons(look: Look) -> list[str]:
    """Why the running daemon needs a restart; nothing for one that sleeps: it reads all anew when it wakes up."""
    daemon = look.libvirt.daemon
    if daemon is None or daemon.pid is None:
        return []
    found = [f"{path} changed after {daemon.name} started" for path in newer(look.files, look.started_at)]
    if look.unit is not None and look.unit.stale:
        found.append(f"the files of {look.unit.name} changed and systemd has not read them yet")
    if look.context is not None and daemon.context != look.context:
        found.append(f"{daemon.name} runs as {daemon.context}, not as {look.context}")
    if is_unseen(LINK, look.hooks, look.started_at):
        found.append(f"{LINK} was made after {daemon.name} started, which looks for hooks only then")
    found += [why for why in look.reasons if why not in found]
    conf, models = look.libvirt.conf, look.libvirt.models
    if conf is not None and models is not None:
        names = qemu_conf.security_driver(conf).names
        missing = [name for name in names if name != "none" and name not in [item.model for item in models]]
        found += [f"security_driver names {name}, which the running {daemon.name} does not have" for name in missing]
    return found


def expect(look: Look, foreseen: Foreseen) -> None:
    """Make the look what it would be had earlier tasks done their work."""
    look.reasons += foreseen.reasons
    if foreseen.policy:
        look.hooks = [replace(hook, denied="") for hook in look.hooks]
    conf = look.libvirt.conf
    if conf is not None and foreseen.settings:
        look.libvirt.conf = _with(conf, foreseen.settings)


def _with(conf: QemuConf, settings: t.Mapping[str, t.Any]) -> QemuConf:
    set_ = [Assignment(key, value, 0) for key, value in settings.items() if value is not None]
    kept = [item for item in conf.assignments if item.key not in settings]
    problems = [problem for problem in conf.problems if problem.key not in settings]
    return replace(conf, assignments=set_ + kept, problems=problems)


def refusals(look: Look) -> list[tuple[str, str]]:
    """What speaks against a restart: (subject, reason)."""
    return [*_guest_refusals(look), *_hook_refusals(look), *_conf_refusals(look), *_daemon_refusals(look)]


def has_selinux(look: Look, restarted: bool) -> bool:
    """Whether libvirt labels the guests that start then: by the daemon that runs, or by what it is restarted with."""
    if "selinux" in [model.model for model in look.libvirt.models or ()]:
        return True
    conf = look.libvirt.conf
    if not restarted or conf is None or look.snapshot.selinux.mode == "disabled":
        return False
    driver = qemu_conf.security_driver(conf)
    return driver.selinux or driver.kind == "unset"


def running(snapshot: Snapshot) -> dict[str, Running]:
    """The guests that run, by uuid."""
    started = {process.pid: process.started_at for process in snapshot.processes}
    return {
        guest.uuid: Running(guest.name, guest.pid, guest.context, started.get(guest.pid or 0))
        for guest in snapshot.guests
        if guest.active
    }


def losses(before: t.Mapping[str, Running], after: t.Mapping[str, Running]) -> list[str]:
    """What became of guests that ran before; nothing when all run on as they did."""
    found = []
    for uuid, old in sorted(before.items()):
        new = after.get(uuid)
        name = f"guest {old.name} ({uuid})"
        if new is None or new.pid is None:
            found.append(f"{name} no longer runs; it had pid {old.pid}")
        elif (new.pid, new.started_at) != (old.pid, old.started_at):
            found.append(f"{name} runs as pid {new.pid}; it had pid {old.pid}")
        elif new.context != old.context:
            found.append(f"{name} has label {new.context}; it had {old.context}")
    return found


def shortfalls(look: Look) -> list[str]:
    """What a daemon that came back still lacks."""
    daemon, conf, models = look.libvirt.daemon, look.libvirt.conf, look.libvirt.models
    found = []
    if look.context is not None and (daemon is None or daemon.context != look.context):
        found.append(f"the daemon runs as {daemon.context if daemon else None}, not as {look.context}")
    asked = conf is not None and qemu_conf.security_driver(conf).selinux
    if asked and models is None:
        found.append("whether the daemon came back with SELinux, which qemu.conf names, is not known")
    elif asked and "selinux" not in [model.model for model in models or ()]:
        found.append("the daemon came back without SELinux though qemu.conf names it")
    return found


def _guest_refusals(look: Look) -> t.Iterator[tuple[str, str]]:
    snapshot = look.snapshot
    coverage = snapshot.coverage["guests"]
    if coverage.status != OK:
        yield "guests", f"whether a restart would hurt one is not known: {coverage.why}"
    sharing: dict[str, list[Guest]] = defaultdict(list)
    for guest in _dynamic(snapshot):
        level = _level(guest.context)
        if level:
            sharing[level].append(guest)
        elif snapshot.selinux.mode != "disabled":
            why = "its process's label has no range that could be read; libvirt could kill it at the restart"
            yield f"guest {guest.name}", f"{why}: {guest.context}"
    for level, guests in sorted(sharing.items()):
        if len(guests) > 1:
            names = ", ".join(sorted(guest.name for guest in guests))
            yield names, f"they run with the same range {level}; libvirt would kill all but one of them at the restart"
    for guest in snapshot.guests:
        job = look.jobs.get(guest.uuid)
        if job:
            yield f"guest {guest.name}", f"{job} is under way, which a restart would break off; wait until it is done"


def _hook_refusals(look: Look) -> t.Iterator[tuple[str, str]]:
    """libvirt calls a hook for each running guest when it is back, and ends those for which it fails."""
    for hook in look.hooks:
        if hook.denied:
            why = "libvirt could not run it: no guest would start, and those that run would be ended at the restart"
            yield (
                f"hook {hook.path}",
                f"{why}; give it a label that the daemon may execute, as bin_t is ({hook.denied})",
            )


def _dynamic(snapshot: Snapshot) -> t.Iterator[Guest]:
    """Running guests whose categories libvirt drew, and will reserve at its start."""
    for guest in snapshot.guests:
        if guest.active and guest.kind in _QEMU_KINDS:
            label = confinement(guest.live)
            if label is not None and label.type in (None, "dynamic"):
                yield guest


def _level(context: str | None) -> str:
    """The range of a label, as libvirt compares it: as text."""
    parts = (context or "").split(":", 3)
    return parts[3] if len(parts) == 4 else ""


def _conf_refusals(look: Look) -> t.Iterator[tuple[str, str]]:
    conf, selinux = look.libvirt.conf, look.snapshot.selinux
    if conf is None:
        yield CONF, "the file could not be read, so whether libvirt would start with it is not known"
        return
    broken = [problem for problem in conf.problems if problem.kind in _REFUSED]
    for problem in broken:
        subject = f"{CONF} {problem.key}".rstrip()
        yield subject, f"line {problem.line}: {problem.message}; libvirt would not start"
    if broken:
        return
    for why in driver_faults(conf, selinux.mode, selinux.lsms):
        yield f"{CONF} security_driver", why
    names = qemu_conf.security_driver(conf).names
    models = [model.model for model in look.libvirt.models or ()]
    if "selinux" in models and names and "selinux" not in names:
        yield f"{CONF} security_driver", f"it names {', '.join(names)}: guests would start without SELinux from then on"


def _daemon_refusals(look: Look) -> t.Iterator[tuple[str, str]]:
    daemon, unit = look.libvirt.daemon, look.unit
    if daemon is None:
        yield "daemon", "no libvirt daemon runs, and no socket would start one"
        return
    if look.libvirt.driver not in (None, "QEMU"):
        yield f"daemon {daemon.name}", f"it drives {look.libvirt.driver}, not QEMU"
    active = [item.name for item in look.units if item.state not in ("inactive", "failed")]
    if len(active) > 1:
        yield "daemon", f"{' and '.join(active)} are active; only one may drive the guests. Stop the one that does not"
    if daemon.pid is not None and (unit is None or unit.pid != daemon.pid):
        pid = f"{unit.name} has pid {unit.pid}" if unit else "no unit of systemd is known for it"
        yield f"daemon {daemon.name}", f"pid {daemon.pid} was not started by systemd ({pid}); start it by its unit"
    elif unit is not None and unit.kill_mode != "process":
        why = f"KillMode={unit.kill_mode}: systemd would end the guests with the daemon; set KillMode=process"
        yield unit.name, why
    if unit is not None and GUESTS_UNIT in unit.followers:
        yield (
            unit.name,
            f"systemd would stop {GUESTS_UNIT} with it, which shuts the guests down; have it want, not require",
        )
    if look.context is not None:
        try:
            libvirt_range(look.context)
        except LabelError as error:
            yield "context", f"no guest could start under {look.context}: {error}"
