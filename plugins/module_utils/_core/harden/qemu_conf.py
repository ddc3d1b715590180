# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan of the security keys of qemu.conf; refuses values with which libvirt would not start on the host.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import itertools
import posixpath
import re
import typing as t
from dataclasses import dataclass, field

from ..errors import PlanError
from ..facts import images
from ..libvirt import qemu_conf, qemu_conf_host
from ..libvirt.qemu_conf_edit import ConfEdit, change
from ..libvirt.qemu_conf_host import HostFact, HostFacts
from ..libvirt.qemu_conf_keys import ignores
from ..libvirt.secrets import blanked_value
from ..paths import below
from ..result import Pending, Reason, Refusal, Result, Step
from ..snapshot.model import NOT_APPLICABLE, OK, Assignment, Daemon, QemuConf, Snapshot

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
class QemuConfRequest:
    """Requested values."""

    #: By key of qemu.conf; None takes the key out.
    settings: dict[str, t.Any] = field(default_factory=dict)
    #: Folders that shared_filesystems must cover, or with ``exact`` must be.
    shared: tuple[str, ...] | None = None
    exact: bool = False
    #: Folders that the host exports and that hold files of guests, which shared_filesystems must cover too.
    exported: tuple[str, ...] = ()
    #: Other folders that it exports, where not all files of guests are known, and why.
    doubtful: tuple[str, ...] = ()
    doubt: str = ""
    #: Make comments of the later assignments of every key.
    duplicates: bool = True
    #: Version of the libvirt that reads the file at the daemon's next start; None: not known.
    version: str | None = None


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


def facts_for(text: str, request: QemuConfRequest) -> list[HostFact]:
    """What the plan has to know of the host."""
    present = list(qemu_conf.effective(qemu_conf.parse(text)[0]).values())
    requested = [Assignment(key, value, 0) for key, value in request.settings.items() if value is not None]
    folders = Assignment(SHARED, [*(request.shared or ()), *request.exported], 0)
    return qemu_conf_host.facts_of([*present, *requested, folders])


def plan(
    text: str, request: QemuConfRequest, mode: str, lsms: t.Collection[str], facts: HostFacts | None = None
) -> QemuConfPlan:
    """Plan the new text. ``mode`` is SELinux's, ``lsms`` are the kernel's security modules. Raises PlanError.

    Without ``facts`` values are not checked against the host.
    """
    before = _conf(text, facts)
    refused: list[Refusal] = []
    wanted = dict(request.settings)
    _keep_same_driver(wanted, before)
    if request.shared is not None or request.exported or request.doubtful:
        wanted[SHARED] = _shared(request, before, facts or {}, refused)
        if wanted[SHARED] and ignores(SHARED, request.version):
            wanted.pop(SHARED)
            refused.append(Refusal(f"qemu.conf {SHARED}", _ignored(request.version)))
    changed, edits = change(text, wanted, request.duplicates)
    after = _conf(changed, facts)
    # Only what this run would bring about is refused; what was there before is for the restart's gate.
    if {DRIVER, "security_require_confined"} & set(wanted):
        for reason in qemu_conf_host.driver_faults(after, mode, lsms):
            raise PlanError(reason.text, reason.code)
    _refuse_new_problems(before, after, wanted)
    refused += [
        Refusal(f"qemu.conf {problem.key}", Reason(problem.kind, f"line {problem.line}: {problem.message}"))
        for problem in after.problems
        if problem.kind in ("wrong_type", "bad_value")
    ]
    return QemuConfPlan(changed, edits, _values(before, wanted, edits), _values(after, wanted, edits), refused)


def _ignored(version: str | None) -> Reason:
    text = (
        f"libvirt {version} as released ignores this key, which libvirt 10.8 and later read; migrate no guest away "
        "from this host while its images lie in an exported folder, or see IMG-003"
    )
    return Reason("key_ignored", text)


def _conf(text: str, facts: HostFacts | None) -> QemuConf:
    conf = QemuConf("qemu.conf", True, *qemu_conf.parse(text))
    return conf if facts is None else qemu_conf_host.checked(conf, facts)


def _refuse_new_problems(before: QemuConf, after: QemuConf, wanted: t.Collection[str]) -> None:
    """Raise PlanError for a value that the change brings and that the daemon would not accept."""
    old = {(problem.kind, problem.key) for problem in before.problems}
    for problem in after.problems:
        new = problem.key in wanted or (problem.kind, problem.key) not in old
        if new and problem.kind in (*qemu_conf.REFUSED, qemu_conf.UNVERIFIED) and problem.key != SHARED:
            raise PlanError(f"qemu.conf {problem.key}: {problem.message}", code=problem.kind)


def result_of(plan: QemuConfPlan, daemon: Daemon | None, stale: bool) -> Result:
    """The module's result. ``daemon`` is the running daemon; ``stale``: the file changed after it started."""
    needed = daemon is not None and (bool(plan.edits) or stale)
    reads = Reason("read_at_start", f"{daemon.name} reads the file when it starts" if daemon else "")
    return Result(
        plan.before,
        plan.after,
        plan=[_step(edit) for edit in plan.edits],
        pending=[Pending("qemu.conf", "daemon_restart", reads)] if needed else [],
        refused=plan.refused,
        extra={"restart_needed": needed},
    )


def _step(edit: ConfEdit) -> Step:
    before, after = (blanked_value(edit.key, value) for value in (edit.before, edit.after))
    return Step(edit.action, f"qemu.conf {edit.key}", before, after)


def files_of_guests(snapshot: Snapshot) -> tuple[frozenset[str], str]:
    """Paths of all files of guests, as libvirt has them and with links followed; and why they are not all known."""
    paths = frozenset(path for file in images.files(snapshot) for path in (file.path, file.real_path))
    covered = snapshot.coverage.get("guests")
    if covered is not None and covered.status in (OK, NOT_APPLICABLE):
        return paths, ""
    return paths, covered.why if covered is not None else "guests were not read"


def unnamed(text: str, exports: t.Iterable[str], exists: t.Callable[[str], bool]) -> tuple[str, ...]:
    """Those exported folders that shared_filesystems of this text does not cover, as libvirt reads it: up to the first
    folder that does not exist."""
    named = list(itertools.takewhile(exists, _named(QemuConf("qemu.conf", True, *qemu_conf.parse(text)))))
    return tuple(folder for folder in exports if not any(below(folder, other) for other in named))


def holding(exports: t.Iterable[str], files: t.Collection[str]) -> tuple[str, ...]:
    """Those exported folders in which one of the files lies."""
    return tuple(folder for folder in exports if any(below(path, folder) for path in files))


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


def _shared(request: QemuConfRequest, conf: QemuConf, facts: HostFacts, refused: list[Refusal]) -> list[str] | None:
    """The folders to name. libvirt ends its list at the first that does not exist, so such ones come last."""
    for path in request.shared or ():
        if not path.startswith("/"):
            raise PlanError(
                f"shared_filesystems: {path[:80]!r} is not an absolute path of a folder", code="path_not_absolute"
            )
    covered = _named(conf) + list(request.shared or ())
    for folder in request.doubtful:
        if not any(below(folder, other) for other in covered):
            why = f"whether it holds files of guests is not known ({request.doubt}); if it does, name it in {SHARED}"
            refused.append(Refusal(f"folder {folder}", Reason("guest_files_unknown", why)))
    exported = [path for path in request.exported if path != "/"]
    if len(exported) < len(request.exported):
        why = "the whole host is exported; name the folders with images in shared_filesystems"
        refused.append(Refusal("folder /", Reason("whole_host_exported", why)))
    requested = []
    for path in request.shared or ():
        if _canonical(path, facts) == "":
            why = "it does not exist, and libvirt would ignore it and all folders after it; create it first"
            refused.append(Refusal(f"folder {path}", Reason("folder_missing", why)))
        else:
            requested.append(path)
    present = _named(conf)
    missing = [path for path in present if _canonical(path, facts) == ""]
    named = requested if request.exact else [path for path in present if path not in missing]
    for paths in (() if request.exact else requested, [path for path in exported if _canonical(path, facts) != ""]):
        covered = [_canonical(path, facts) for path in named]
        outside = uncovered([_canonical(path, facts) for path in paths], covered)
        named = [*named, *outside]
    named += [] if request.exact else missing
    unset = not named and SHARED not in qemu_conf.effective(conf.assignments)
    return None if unset else named


def _named(conf: QemuConf) -> list[str]:
    """Folders of shared_filesystems as they are written."""
    assignment = qemu_conf.effective(conf.assignments).get(SHARED)
    value = assignment.value if assignment is not None else None
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _canonical(path: str, facts: HostFacts) -> str:
    """The path without links, empty when it does not exist on the host; without ``.`` and ``//`` if not known."""
    folder = facts.get(HostFact(qemu_conf_host.CANONICAL, path))
    return folder if isinstance(folder, str) else posixpath.normpath(path)


def _values(conf: QemuConf, wanted: t.Iterable[str], edits: list[ConfEdit]) -> dict[str, t.Any]:
    effective = qemu_conf.effective(conf.assignments)
    keys = {*wanted, *(edit.key for edit in edits)}
    return {key: blanked_value(key, effective[key].value) if key in effective else None for key in sorted(keys)}
