# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan of the security keys of qemu.conf; refuses values with which libvirt would not start on the host.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import re
import typing as t
from dataclasses import dataclass, field

from ..errors import PlanError
from ..libvirt import qemu_conf
from ..libvirt.qemu_conf_edit import ConfEdit, change
from ..paths import below
from ..result import Pending, Reason, Refusal, Result, Step
from ..snapshot.model import Daemon, QemuConf

DRIVER, SHARED = "security_driver", "shared_filesystems"
#: Option -> key, where they are not the same.
RENAMED = {"default_confined": "security_default_confined", "require_confined": "security_require_confined"}
#: Options that are keys by their own name.
OPTIONS = (
    *(DRIVER, "default_confined", "require_confined", "user", "group", "dynamic_ownership", "remember_owner"),
    *("namespaces", "seccomp_sandbox", "relaxed_acs_check"),
)

_NUMBER = re.compile(r"[+-]?[0-9]{1,20}\Z")
_NUMBERS = (qemu_conf.BOOL, qemu_conf.INT, qemu_conf.UINT)


@dataclass(frozen=True)
class QemuConfWishes:
    """Requested values."""

    #: By key of qemu.conf; None takes the key out.
    settings: dict[str, t.Any] = field(default_factory=dict)
    #: Folders that shared_filesystems must cover, or with ``exact`` must be.
    shared: tuple[str, ...] | None = None
    exact: bool = False
    #: Folders that the host exports, which shared_filesystems must cover too.
    exported: tuple[str, ...] = ()
    #: Make comments of the later assignments of every key.
    duplicates: bool = True


@dataclass(frozen=True)
class QemuConfPlan:
    """The new text of the file, and the edits that make it."""

    text: str
    edits: list[ConfEdit]
    before: dict[str, t.Any]
    after: dict[str, t.Any]
    #: Faults and folders that are left as they are.
    refused: list[Refusal]


def settings_of(options: t.Mapping[str, t.Any], more: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """Values by key, from options (None: leave alone) and from further keys (None: take out). Raises PlanError."""
    values: dict[str, t.Any] = {}
    for option in OPTIONS:
        if options.get(option) is not None:
            key = RENAMED.get(option, option)
            values[key] = value_of(key, options[option])
    for key, value in (more or {}).items():
        if key in values or key == SHARED:
            raise PlanError(
                f"settings names {key}, which has an option of its own: set it there only", code="key_twice"
            )
        values[str(key)] = None if value is None else value_of(str(key), value)
    return values


def value_of(key: str, value: t.Any) -> t.Any:
    """A value as Ansible gives it, in the type that the key has. What does not fit stays as it is, to be refused."""
    kind = qemu_conf.KEYS.get(key)
    if kind in _NUMBERS and isinstance(value, str) and _NUMBER.match(value):
        return int(value)
    if kind in _NUMBERS and isinstance(value, bool):
        return int(value)
    if kind == qemu_conf.TEXT_OR_LIST and isinstance(value, list) and len(value) == 1:
        return value[0]
    return value


def plan(text: str, wish: QemuConfWishes, mode: str, lsms: t.Collection[str]) -> QemuConfPlan:
    """Plan the new text. ``mode`` is SELinux's, ``lsms`` are the kernel's security modules. Raises PlanError."""
    before = QemuConf("qemu.conf", True, *qemu_conf.parse(text))
    refused: list[Refusal] = []
    wanted = dict(wish.settings)
    _keep_same_driver(wanted, before)
    if wish.shared is not None or wish.exported:
        wanted[SHARED] = _shared(wish, before, refused)
    changed, edits = change(text, wanted, wish.duplicates)
    after = QemuConf("qemu.conf", True, *qemu_conf.parse(changed))
    # Only what this run would bring about is refused; what was there before is for the restart's gate.
    if {DRIVER, "security_require_confined"} & set(wanted):
        for reason in driver_faults(after, mode, lsms):
            raise PlanError(reason.text, reason.code)
    refused += [
        Refusal(f"qemu.conf {problem.key}", Reason(problem.kind, f"line {problem.line}: {problem.message}"))
        for problem in after.problems
        if problem.kind in ("wrong_type", "bad_value")
    ]
    return QemuConfPlan(changed, edits, _values(before, wanted, edits), _values(after, wanted, edits), refused)


def result_of(plan: QemuConfPlan, daemon: Daemon | None, stale: bool) -> Result:
    """The module's result. ``daemon`` is the one that runs; ``stale``: the file changed after it started."""
    needed = daemon is not None and (bool(plan.edits) or stale)
    reads = Reason("read_at_start", f"{daemon.name} reads the file when it starts" if daemon else "")
    return Result(
        plan.before,
        plan.after,
        plan=[Step(edit.action, f"qemu.conf {edit.key}", edit.before, edit.after) for edit in plan.edits],
        pending=[Pending("qemu.conf", "daemon_restart", reads)] if needed else [],
        refused=plan.refused,
        extra={"restart_needed": needed},
    )


def driver_faults(conf: QemuConf, mode: str, lsms: t.Collection[str]) -> t.Iterator[Reason]:
    """Why libvirt would not start with the file's security driver on this host."""
    driver = qemu_conf.security_driver(conf)
    if driver.selinux and mode == "disabled":
        yield Reason(
            "selinux_off",
            "security_driver names selinux and SELinux is off on this host: libvirt would not start. Turn SELinux on "
            "first, which needs a reboot",
        )
    elif "apparmor" in driver.names and "apparmor" not in lsms and "selinux" not in driver.names:
        yield Reason(
            "apparmor_off", "security_driver names apparmor and AppArmor is off on this host: libvirt would not start"
        )
    none = driver.kind == "none" or (driver.kind == "unset" and mode == "disabled" and "apparmor" not in lsms)
    if none and qemu_conf.setting(conf, "security_require_confined") == 1:
        yield Reason(
            "no_driver",
            "security_require_confined = 1 and no security driver would be in force: libvirt would not start. Name a "
            "driver that the host has, or leave require_confined at no",
        )


def uncovered(folders: t.Iterable[str], named: t.Sequence[str]) -> list[str]:
    """The folders that lie neither in a named one nor in one another, sorted."""
    outside: list[str] = []
    for folder in sorted({posixpath.normpath(path) for path in folders}):
        if not any(below(folder, other) for other in (*named, *outside)):
            outside.append(folder)
    return outside


def _keep_same_driver(wanted: dict[str, t.Any], conf: QemuConf) -> None:
    """A list of one driver is the same as the driver's name."""
    value = wanted.get(DRIVER)
    now = qemu_conf.security_driver(conf)
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else None
    if names and now.kind in ("explicit", "none") and now.names == names:
        wanted[DRIVER] = qemu_conf.setting(conf, DRIVER)


def _shared(wish: QemuConfWishes, conf: QemuConf, refused: list[Refusal]) -> list[str] | None:
    value = qemu_conf.setting(conf, SHARED)
    present = [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
    for path in wish.shared or ():
        if not path.startswith("/"):
            raise PlanError(
                f"shared_filesystems: {path[:80]!r} is not an absolute path of a folder", code="path_not_absolute"
            )
    named = list(wish.shared or ()) if wish.exact else [*present, *uncovered(wish.shared or (), present)]
    exported = list(wish.exported)
    if "/" in exported:
        exported.remove("/")
        why = "the whole host is exported; name the folders with images in shared_filesystems"
        refused.append(Refusal("folder /", Reason("whole_host_exported", why)))
    named += uncovered(exported, named)
    unset = not named and SHARED not in qemu_conf.effective(conf.assignments)
    return None if unset else named


def _values(conf: QemuConf, wanted: t.Iterable[str], edits: list[ConfEdit]) -> dict[str, t.Any]:
    effective = qemu_conf.effective(conf.assignments)
    keys = {*wanted, *(edit.key for edit in edits)}
    return {key: effective[key].value if key in effective else None for key in sorted(keys)}
