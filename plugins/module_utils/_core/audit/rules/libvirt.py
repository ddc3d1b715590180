# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about libvirt's daemon and its qemu.conf.

Precedence, so that one fault is reported once:

- LIB-001 judges the driver in force. LIB-002 (qemu.conf does not require SELinux) and LIB-003 (qemu.conf names another
  driver for the next start) apply only where that is SELinux.
- A key whose value libvirt refuses is LIB-006; the rules about that key are then unsure.
- A driver that is missing because SELinux is off is SEL-001.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import LabelError
from ...facts.guests import qemu_guests, selinux_off
from ...facts.process_types import guest_types, is_daemon_type
from ...facts.subjects import CONF, HOST, conf_key
from ...libvirt import qemu_conf
from ...libvirt.category_range import libvirt_range
from ...libvirt.qemu_conf import REFUSED
from ...libvirt.qemu_conf_host import driver_faults
from ...libvirt.qemu_conf_keys import version_of
from ...result import Reason
from ...selinux.context import read_context, type_of
from ...snapshot.model import ConfProblem, Daemon, QemuConf, Snapshot
from ..finding import Hit, Rule, Settings, Unsure, at_least
from ._common import (
    CONF_UNREAD,
    NIST_AC3,
    NIST_AC4,
    NIST_AC6,
    NIST_CM3,
    NIST_CM6,
    NIST_CM7,
    NIST_SC39,
    NIST_SI2,
    conf_for,
    off_is_unsure,
)

Results = t.Iterable[t.Union[Hit, Unsure]]

#: Start times are known to about a second, and the daemon reads its file in the first moments of its life.
_CLOCK_SLACK = 2.0
#: From this version on libvirt draws two different categories for certain.
_TWO_CATEGORIES = (7, 5, 0)
#: Examples in evidence.
_SHOWN = 5


_DRIVERS_UNREAD = Reason("drivers_unread", "the running daemon could not be asked for its security drivers")


def _named(snapshot: Snapshot) -> list[str]:
    """Drivers that qemu.conf names; empty when it leaves the choice to libvirt, or cannot be judged."""
    conf = conf_for(snapshot, "security_driver")
    return [] if isinstance(conf, Unsure) else list(qemu_conf.security_driver(conf).names)


def _models(snapshot: Snapshot) -> list[str] | None:
    """Drivers in force; None when the daemon could not be asked."""
    models = snapshot.libvirt.models
    return None if models is None else [model.model for model in models]


def _without_selinux(snapshot: Snapshot) -> dict[str, t.Any] | None:
    """Evidence that guests start without SELinux labels; None when they do not, or when it is not known."""
    models, named = _models(snapshot), _named(snapshot)
    refused = bool(named) and "selinux" not in named
    if models is None:
        return {"security_driver": named, "models": None} if refused else None
    if "selinux" in models or (selinux_off(snapshot) and not refused):
        return None
    return {"models": models, "security_driver": named}


def _driver_off(snapshot: Snapshot, _settings: Settings) -> Results:
    evidence = _without_selinux(snapshot)
    if evidence is not None:
        yield Hit(conf_key("security_driver"), "security_driver", evidence)
    elif selinux_off(snapshot):
        yield from off_is_unsure(snapshot)
    elif snapshot.libvirt.models is None:
        if _runs(snapshot):
            yield Unsure(HOST, _DRIVERS_UNREAD)
        else:
            conf = conf_for(snapshot, "security_driver")
            yield from (conf,) if isinstance(conf, Unsure) else ()


def _runs(snapshot: Snapshot) -> bool:
    return snapshot.libvirt.daemon is not None and snapshot.libvirt.daemon.pid is not None


def _driver_not_explicit(snapshot: Snapshot, _settings: Settings) -> Results:
    conf = conf_for(snapshot, "security_driver")
    if isinstance(conf, Unsure):
        yield conf
    elif not _named(snapshot) and _without_selinux(snapshot) is None:
        written = qemu_conf.effective(conf.assignments).get("security_driver")
        evidence = {
            "path": conf.path,
            "present": conf.present,
            "security_driver": written.value if written else None,
        }
        yield Hit(conf_key("security_driver"), "security_driver", evidence)


def _file_disagrees(snapshot: Snapshot, _settings: Settings) -> Results:
    models, daemon = _models(snapshot), snapshot.libvirt.daemon
    if daemon is None or daemon.pid is None:
        return  # it reads the file when it starts
    conf = conf_for(snapshot, "security_driver")
    if isinstance(conf, Unsure):
        yield conf
        return
    if models is None:
        yield Unsure(CONF, _DRIVERS_UNREAD)
        return
    named = _named(snapshot)
    if "selinux" in models and named and "selinux" not in named:
        evidence = {"models": models, "security_driver": named, **_times(conf, daemon)}
        yield Hit(conf_key("security_driver"), "security_driver", evidence)
        return
    if _without_selinux(snapshot) is None:
        yield from _changed_since(conf, daemon)


def _changed_since(conf: QemuConf, daemon: Daemon) -> Results:
    """The daemon reports only its drivers; its values of other keys cannot be read."""
    if conf.changed_at is None or daemon.started_at is None:
        if conf.present:
            why = "when the file was changed, or when the daemon started, could not be read"
            yield Unsure(CONF, Reason("times_unread", why))
    elif conf.changed_at > daemon.started_at + _CLOCK_SLACK:
        why = "changed after the daemon started, which may still use other values until it is restarted"
        yield Unsure(CONF, Reason("file_changed", why))


def _times(conf: QemuConf, daemon: Daemon) -> dict[str, t.Any]:
    return {"changed_at": conf.changed_at, "daemon_started_at": daemon.started_at}


def _default_confined(snapshot: Snapshot, _settings: Settings) -> Results:
    return _judge_key(snapshot, "security_default_confined", lambda value: value == 0)


def _require_confined(snapshot: Snapshot, _settings: Settings) -> Results:
    return _judge_key(snapshot, "security_require_confined", lambda value: value == 0)


def _judge_key(snapshot: Snapshot, key: str, wrong: t.Callable[[t.Any], bool]) -> Results:
    conf = conf_for(snapshot, key)
    if isinstance(conf, Unsure):
        yield conf
        return
    value = qemu_conf.setting(conf, key)
    if wrong(value):
        yield Hit(conf_key(key), key, {"path": conf.path, key: value})


def _conf_problems(snapshot: Snapshot, _settings: Settings) -> Results:
    conf = snapshot.libvirt.conf
    if conf is None:
        yield CONF_UNREAD
        return
    grouped: dict[tuple[str, str], list[ConfProblem]] = {}
    for problem in [*_problems(snapshot, conf), *_missing_driver(snapshot, conf)]:
        grouped.setdefault((problem.kind, problem.key), []).append(problem)
    for (kind, key), problems in sorted(grouped.items()):
        subject = conf_key(key) if key else CONF
        if kind == qemu_conf.UNVERIFIED:
            yield Unsure(subject, Reason("conf_value_unverified", problems[0].message))
            continue
        evidence: dict[str, t.Any] = {
            "path": conf.path,
            "kind": kind,
            "lines": sorted(problem.line for problem in problems),
            "messages": sorted({problem.message for problem in problems}),
        }
        values = [assignment.value for assignment in conf.assignments if assignment.key == key]
        if kind == "duplicate":
            evidence["values"] = values
        # Only its writer knows what an ignored key was meant to be; it needs no restart.
        cost = "operator" if kind == "unknown_key" else None
        yield Hit(subject, f"{kind} {key}", evidence, cost, severity=_severity_of(kind, values))


def _problems(snapshot: Snapshot, conf: QemuConf) -> list[ConfProblem]:
    """Problems for the libvirt that runs; by the newest known version where its own is not known."""
    version = version_of(snapshot.libvirt.version)
    return conf.problems if version is None else qemu_conf.problems_for(conf, version)


def _missing_driver(snapshot: Snapshot, conf: QemuConf) -> t.Iterator[ConfProblem]:
    """A security driver beside SELinux that the kernel does not have; without SELinux it is LIB-003."""
    written = qemu_conf.effective(conf.assignments).get("security_driver")
    if not qemu_conf.security_driver(conf).selinux:
        return
    for reason in driver_faults(conf, snapshot.selinux.mode, snapshot.selinux.lsms):
        if reason.code == "apparmor_off" and written is not None:
            yield ConfProblem(written.line, "bad_value", "security_driver", reason.text)


def _severity_of(kind: str, values: list[t.Any]) -> str:
    if kind in REFUSED:
        return "high"
    if kind == "ignored_value" or (kind == "duplicate" and any(value != values[0] for value in values)):
        return "medium"
    return "low"


def _daemon_label(snapshot: Snapshot, _settings: Settings) -> Results:
    daemon = snapshot.libvirt.daemon
    if selinux_off(snapshot) or daemon is None:
        yield Unsure(HOST, Reason("no_daemon", "no daemon with a label runs"))
        return
    subject = f"daemon {daemon.name}"
    if daemon.context is None:
        asleep = Reason("daemon_asleep", "it does not run, so its label is not known yet")
        yield Unsure(subject, asleep if daemon.pid is None else Reason("label_unread", "its label could not be read"))
        return
    wrong = list(_daemon_faults(daemon, daemon.context))
    if wrong:
        worst = "high" if any(at_least(severity, "high") for severity, _what in wrong) else "medium"
        evidence = {"context": daemon.context, "wrong": [what for _severity, what in wrong]}
        yield Hit(subject, daemon.name, evidence, severity=worst)
    elif daemon.types == [] and daemon.own_files is not True:
        text = "which type the loaded policy has for it is not known, as its program's label is not"
        yield Unsure(subject, Reason("daemon_type_unread", text))


def _daemon_faults(daemon: Daemon, context: str) -> t.Iterator[tuple[str, str]]:
    """Severity and description of each fault in a daemon's label."""
    type_ = type_of(context)
    # In a container the daemon has another type by design.
    if daemon.own_files is not True and daemon.types != [] and not is_daemon_type(daemon, type_):
        yield "medium", f"type {type_} is not a libvirt daemon's; it was started by hand or by a custom unit"
    try:
        drawn = libvirt_range(context)
    except LabelError as error:
        yield "high", f"no guest without a static label can start: {error}"
        return
    parsed = read_context(context)
    if parsed is not None and parsed.categories.mask:
        extra = [number for number in parsed.categories if not drawn.low <= number <= drawn.high]
        if extra:
            yield "medium", f"libvirt draws from {drawn} only and ignores {len(extra)} other categories"


def _single_category_version(snapshot: Snapshot, _settings: Settings) -> Results:
    version = snapshot.libvirt.version
    match = re.match(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", version or "")
    if match is None:
        why = f"libvirt's version could not be read: {version!r}"[:200]
        yield Unsure(HOST, Reason("version_unread", why))
    elif tuple(int(number) for number in match.groups()) < _TWO_CATEGORIES:
        yield Hit(HOST, "libvirt", {"version": version, "fixed_in": "7.5.0"})


def _guard_view(snapshot: Snapshot, _settings: Settings) -> Results:
    """Types of guests, with running guests whose processes the guard may not read."""
    guard = snapshot.libvirt.guard
    if guard is None or guard.asks or selinux_off(snapshot):
        return
    if guard.readable is None:
        text = "the guard's settings do not say which processes it may read; run guard_hook again"
        yield Unsure(HOST, Reason("guard_settings_old", text))
        return
    guests: dict[str, list[str]] = {}
    for guest in qemu_guests(snapshot):
        type_ = type_of(guest.context or "") if guest.active else None
        # A guest of another type is not confined as guests are, which is a finding of its own.
        if type_ in guest_types(snapshot) and type_ not in guard.readable:
            guests.setdefault(type_, []).append(guest.name)
    for type_, names in sorted(guests.items()):
        evidence = {"guests": len(names), "examples": sorted(names)[:_SHOWN], "readable": guard.readable}
        yield Hit(f"type {type_}", type_, evidence)


_GATE = (
    "Before the restart make sure that no two dynamic guests share their categories: libvirt would kill one of them. "
    "Guests go on through the restart."
)

RULES: tuple[Rule, ...] = (
    Rule(
        id="LIB-001",
        title="libvirt starts guests without SELinux",
        severity="critical",
        scope="host",
        why=(
            "The daemon's security driver is not SELinux, so each guest starts unconfined, in the daemon's own "
            "domain. An attacker who breaks out of one guest controls the host and all other guests."
        ),
        fix=(
            'Make sure that SELinux is on, set security_driver = "selinux" in qemu.conf, and restart the daemon. '
            f"{_GATE} What started without a label keeps running without one: power-cycle or migrate those guests."
        ),
        cost="guest_power_cycle",
        needs=("selinux", "libvirt"),
        check=_driver_off,
        references=(NIST_AC3, NIST_SC39, NIST_CM6),
    ),
    Rule(
        id="LIB-002",
        title="qemu.conf does not require the SELinux driver",
        severity="medium",
        scope="host",
        why=(
            "Without an explicit driver libvirt fails open: on a boot without SELinux it starts every guest "
            "unconfined, without a message. With it, the daemon refuses to start."
        ),
        fix=(
            'Set security_driver = "selinux" in qemu.conf, only while SELinux is on, or the daemon will not start. It '
            f"counts from the daemon's next start. {_GATE}"
        ),
        cost="daemon_restart",
        needs=("selinux", "libvirt"),
        check=_driver_not_explicit,
        references=(NIST_AC3, NIST_CM6),
    ),
    Rule(
        id="LIB-003",
        title="qemu.conf turns SELinux off at the daemon's next start",
        severity="high",
        scope="host",
        why=(
            "The running daemon labels guests, but its file has changed since: after the next restart, by an update "
            "say, each new guest starts unconfined."
        ),
        fix='Set security_driver = "selinux" in qemu.conf again, before anything restarts the daemon.',
        cost="none",
        needs=("selinux", "libvirt"),
        check=_file_disagrees,
        references=(NIST_CM3, NIST_CM6),
    ),
    Rule(
        id="LIB-004",
        title="Guests are unconfined unless their XML asks for a label",
        severity="high",
        scope="host",
        why=(
            "security_default_confined = 0: every guest without a <seclabel> starts unconfined, and "
            "security_require_confined does not prevent it. A breakout from such a guest controls the host."
        ),
        fix=(
            f"Set security_default_confined = 1 in qemu.conf and restart the daemon. {_GATE} Then power-cycle each "
            "guest that started unconfined."
        ),
        cost="daemon_restart",
        needs=("selinux", "libvirt"),
        check=_default_confined,
        references=(NIST_AC3, NIST_AC6, NIST_CM6),
    ),
    Rule(
        id="LIB-005",
        title="libvirt accepts guests that ask to be unconfined",
        severity="low",
        scope="host",
        why=(
            "security_require_confined is off, libvirt's default: a guest's XML with <seclabel type='none'/> is "
            "started unconfined. Users who may define guests can bypass sVirt this way."
        ),
        fix=(
            "Set security_require_confined = 1 in qemu.conf; it counts from the daemon's next start, and guests with "
            f"type='none' will no longer start. {_GATE}"
        ),
        cost="daemon_restart",
        needs=("selinux", "libvirt"),
        check=_require_confined,
        references=(NIST_AC6, NIST_CM6, NIST_CM7),
    ),
    Rule(
        id="LIB-006",
        title="qemu.conf has keys that libvirt refuses or ignores",
        severity="high",
        scope="host",
        why=(
            "Of two assignments libvirt uses the first, while editors change the last: the value that the file seems "
            "to have is not in force. With a value that libvirt refuses, the daemon does not start again; guests run "
            "on unmanaged."
        ),
        fix=(
            "Keep one assignment of each key, with a value that libvirt accepts on this host: bare 0 or 1, quoted "
            "text, and only users, folders and drivers that exist. Take out keys that it does not know. Do it before "
            "the daemon's next restart."
        ),
        cost="daemon_restart",
        needs=("selinux", "libvirt"),
        check=_conf_problems,
        references=(NIST_CM6,),
    ),
    Rule(
        id="LIB-007",
        title="The daemon's own label is wrong for drawing categories",
        severity="high",
        scope="host",
        why=(
            "libvirt draws guests' categories from its daemon's own range. With a range that it cannot read, or of "
            "fewer than 8 categories, guests do not start; with a foreign type, the policy for libvirt does not "
            "apply to the daemon."
        ),
        fix=(
            "Find out who chose the label; hardening leaves it, for an unexpected type may mean an unexpected program, "
            "and replaces only its own drop-in (60-svirt-fleet.conf). Start the daemon by its systemd unit only. "
            "If the unit has SELinuxContext=, give it the daemon's type and one contiguous range of at least 8 "
            "categories, such as s0-s0:c0.c1023, and daemon-reload. If the program lost its label, check that it is "
            "the distribution's and run restorecon on it. Then restart the daemon. "
            f"{_GATE} Running guests keep their labels."
        ),
        # Only its writer knows the purpose of a unit's SELinuxContext=.
        cost="operator",
        needs=("selinux", "libvirt"),
        check=_daemon_label,
        references=(NIST_AC4, NIST_CM6),
    ),
    Rule(
        id="LIB-008",
        title="This libvirt may give a guest a single category",
        severity="medium",
        scope="host",
        why=(
            "Before 7.5.0 libvirt could draw the same category twice. The disks of a guest with one category are open "
            "to each guest whose pair contains it."
        ),
        fix=(
            "Upgrade libvirt; distributions may have backported the fix to an older version, so read their notes "
            "for CVE-2021-3631. Then power-cycle or migrate guests that run with a single category."
        ),
        cost="daemon_restart",
        needs=("selinux", "libvirt"),
        check=_single_category_version,
        references=("CVE-2021-3631", NIST_SI2, NIST_SC39),
        unproved="no Debian release that the lab can run ships a libvirt older than 7.5.0",
    ),
    Rule(
        id="LIB-009",
        title="The guard judges running guests by libvirt's status files",
        severity="info",
        scope="host",
        why=(
            "The policy does not let libvirt's daemon, in whose domain the guard runs, read the label of these guests' "
            "processes. The guard takes the label that libvirt asked for, which a process has not where libvirt could "
            "not set it, as on a permissive host."
        ),
        fix=(
            "Install the policy module svirt_fleet_guard, as the role selinux does on Fedora, EL and their kin, or "
            "allow the daemon's domain process getattr, dir search and file open and read on the type. Then run "
            "guard_hook again."
        ),
        cost="none",
        needs=("selinux", "libvirt", "guests"),
        check=_guard_view,
        references=(NIST_CM6,),
        unproved="Debian's policy lets the daemon read its guests, and no other can be had in the lab",
    ),
)
