# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which values qemu.conf is to have, from what was asked for and what the host is; refuses what would stop libvirt.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import re
import typing as t
from dataclasses import dataclass, field

from ..errors import PlanError
from ..libvirt import qemu_conf
from ..libvirt.qemu_conf_edit import Edit, change
from ..paths import below
from ..snapshot.model import QemuConf

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
class Wish:
    """What was asked for."""

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
class Plan:
    """The file as it is to be, and what that takes."""

    text: str
    edits: list[Edit]
    before: dict[str, t.Any]
    after: dict[str, t.Any]
    #: What was left alone, and why: (subject, reason).
    refused: list[tuple[str, str]]


def settings_of(options: t.Mapping[str, t.Any], more: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """Values by key, from options (None: leave alone) and from further keys (None: take out). Raises PlanError."""
    found: dict[str, t.Any] = {}
    for option in OPTIONS:
        if options.get(option) is not None:
            key = RENAMED.get(option, option)
            found[key] = value_of(key, options[option])
    for key, value in (more or {}).items():
        if key in found or key == SHARED:
            raise PlanError(f"settings names {key}, which has an option of its own: say it there only")
        found[str(key)] = None if value is None else value_of(str(key), value)
    return found


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


def plan(text: str, wish: Wish, mode: str, lsms: t.Collection[str]) -> Plan:
    """What to write. ``mode`` is SELinux's, ``lsms`` are the kernel's security modules. Raises PlanError."""
    before = QemuConf("qemu.conf", True, *qemu_conf.parse(text))
    refused: list[tuple[str, str]] = []
    wanted = dict(wish.settings)
    _keep_same_driver(wanted, before)
    if wish.shared is not None or wish.exported:
        wanted[SHARED] = _shared(wish, before, refused)
    changed, edits = change(text, wanted, wish.duplicates)
    after = QemuConf("qemu.conf", True, *qemu_conf.parse(changed))
    # Only what this run would bring about is refused; what was there before is for the restart's gate.
    if {DRIVER, "security_require_confined"} & set(wanted):
        for why in driver_faults(after, mode, lsms):
            raise PlanError(why)
    refused += [
        (f"qemu.conf {problem.key}", f"line {problem.line}: {problem.message}")
        for problem in after.problems
        if problem.kind in ("wrong_type", "bad_value")
    ]
    return Plan(changed, edits, _values(before, wanted, edits), _values(after, wanted, edits), refused)


def driver_faults(conf: QemuConf, mode: str, lsms: t.Collection[str]) -> t.Iterator[str]:
    """Why libvirt would not start with the file's security driver on this host."""
    driver = qemu_conf.security_driver(conf)
    if driver.selinux and mode == "disabled":
        yield (
            "security_driver names selinux and SELinux is off on this host: libvirt would not start. Turn SELinux on "
            "first, which takes a reboot"
        )
    elif "apparmor" in driver.names and "apparmor" not in lsms and "selinux" not in driver.names:
        yield "security_driver names apparmor and AppArmor is off on this host: libvirt would not start"
    none = driver.kind == "none" or (driver.kind == "unset" and mode == "disabled" and "apparmor" not in lsms)
    if none and qemu_conf.setting(conf, "security_require_confined") == 1:
        yield (
            "security_require_confined = 1 and no security driver would be in force: libvirt would not start. Name a "
            "driver that the host has, or leave require_confined at no"
        )


def uncovered(folders: t.Iterable[str], named: t.Sequence[str]) -> list[str]:
    """The folders that lie neither in a named one nor in one another, sorted."""
    found: list[str] = []
    for folder in sorted({posixpath.normpath(path) for path in folders}):
        if not any(below(folder, other) for other in (*named, *found)):
            found.append(folder)
    return found


def _keep_same_driver(wanted: dict[str, t.Any], conf: QemuConf) -> None:
    """A list of one driver is the same as the driver's name."""
    value = wanted.get(DRIVER)
    now = qemu_conf.security_driver(conf)
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else None
    if names and now.kind in ("explicit", "none") and now.names == names:
        wanted[DRIVER] = qemu_conf.setting(conf, DRIVER)


def _shared(wish: Wish, conf: QemuConf, refused: list[tuple[str, str]]) -> list[str] | None:
    value = qemu_conf.setting(conf, SHARED)
    present = [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
    for path in wish.shared or ():
        if not path.startswith("/"):
            raise PlanError(f"shared_filesystems: {path[:80]!r} is not the whole path of a folder")
    named = list(wish.shared or ()) if wish.exact else [*present, *uncovered(wish.shared or (), present)]
    exported = list(wish.exported)
    if "/" in exported:
        exported.remove("/")
        refused.append(("folder /", "the whole host is exported; name the folders with images in shared_filesystems"))
    named += uncovered(exported, named)
    unset = not named and SHARED not in qemu_conf.effective(conf.assignments)
    return None if unset else named


def _values(conf: QemuConf, wanted: t.Iterable[str], edits: list[Edit]) -> dict[str, t.Any]:
    found = qemu_conf.effective(conf.assignments)
    keys = {*wanted, *(edit.key for edit in edits)}
    return {key: found[key].value if key in found else None for key in sorted(keys)}
