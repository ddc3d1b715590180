# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan of the watch: its files, and the order in which they are installed and removed.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import typing as t
from dataclasses import dataclass, replace

from ...audit.watch.settings import METRICS, WatchSettings, check
from ...errors import PlanError
from ...result import Reason, Step
from ...selinux.context import type_of
from ...selinux.policy_access import AccessVerdict, Check
from ...system.own_files import WATCH_PROGRAM, WATCH_SETTINGS, WATCH_STATE
from .units import ENABLED_PATH, MARK, SERVICE_PATH, TIMER, TIMER_PATH, service_text, timer_text

#: Kind of the journal's entries about a timer that was started or stopped.
UNIT_KIND = "unit"
#: Safe order: the timer comes last.
ORDER = (WATCH_PROGRAM, WATCH_SETTINGS, SERVICE_PATH, TIMER_PATH)
_UNITS = (SERVICE_PATH, TIMER_PATH)
_ZIP = b"PK"
QEMU_CONF, SELINUXFS = "/etc/libvirt/qemu.conf", "/sys/fs/selinux/access"
#: Folders of the journal; its files have their label.
JOURNALS = ("/var/log/journal", "/run/log/journal")


@dataclass(frozen=True)
class WatchOptions:
    """What is asked for."""

    settings: WatchSettings
    program: bytes
    python: str
    #: Seconds and MiB that one run may take.
    time_limit: int = 300
    memory_limit: int = 512


@dataclass(frozen=True)
class WatchFacts:
    """Facts of a host that decide about the watch."""

    #: Content of each file; None where there is none.
    files: t.Mapping[str, bytes | None]
    #: Folders that are missing, the higher ones first.
    missing_folders: tuple[str, ...] = ()
    #: Target of the link that starts the timer at boot; None where there is none.
    link: str | None = None
    #: Another file has the link's name.
    link_taken: bool = False
    #: The timer runs.
    active: bool = False
    #: Metrics and state of earlier runs.
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class WatchStep:
    """One change: ``action`` is folder, file, link, unlink, remove, start, restart or stop."""

    action: str
    path: str
    content: bytes | None = None
    before: str = ""
    after: str = ""

    @property
    def step(self) -> Step:
        """The change as the module's plan shows it."""
        return Step(self.action, self.path, self.before, self.after)


def check_options(options: WatchOptions) -> None:
    """Raise PlanError for options that cannot be meant."""
    check(options.settings)
    for name, low, high in (("time_limit", 10, 3600), ("memory_limit", 64, 65536)):
        value = getattr(options, name)
        if not low <= value <= high:
            raise PlanError(f"{name} is {value}; give {low} to {high}", f"bad_{name}")
    if options.time_limit >= options.settings.interval:
        interval = options.settings.interval
        text = f"time_limit is {options.time_limit} and interval {interval}; let a run end before the next one"
        raise PlanError(text, "bad_time_limit")
    if not options.program.startswith(_ZIP):
        text = "content is not the program of the watch; leave it out, the action plugin of this module builds it"
        raise PlanError(text, "no_content")


def wanted(options: WatchOptions) -> dict[str, bytes]:
    """The content of each file."""
    service = service_text(options.python, options.settings.directory, options.time_limit, options.memory_limit)
    return {
        WATCH_PROGRAM: options.program,
        WATCH_SETTINGS: options.settings.text().encode(),
        SERVICE_PATH: service.encode(),
        TIMER_PATH: timer_text(options.settings.interval).encode(),
    }


def install(options: WatchOptions, seen: WatchFacts) -> list[WatchStep]:
    """The changes that install the watch, in order. Raises PlanError for a file that belongs to somebody else."""
    check_options(options)
    _ours(seen)
    steps = [WatchStep("folder", path, after="there") for path in seen.missing_folders]
    content = wanted(options)
    steps += [_file(seen, path, content[path]) for path in ORDER if seen.files[path] != content[path]]
    changed = any(step.path in _UNITS for step in steps)
    if seen.link != TIMER_PATH:
        steps.append(WatchStep("link", ENABLED_PATH, after=TIMER_PATH))
    if not seen.active:
        steps.append(WatchStep("start", TIMER, before="inactive", after="active"))
    elif changed:
        steps.append(WatchStep("restart", TIMER, before="active", after="active"))
    return steps


def remove(seen: WatchFacts) -> list[WatchStep]:
    """The changes that remove the watch: first the timer stops. Folders stay."""
    _ours(seen)
    steps = [WatchStep("stop", TIMER, before="active", after="inactive")] if seen.active else []
    if seen.link == TIMER_PATH:
        steps.append(WatchStep("unlink", ENABLED_PATH, before=TIMER_PATH))
    gone = [path for path in reversed(ORDER) if seen.files[path] is not None]
    steps += [WatchStep("remove", path, before=_shown(seen.files[path]), after="absent") for path in gone]
    return steps + [WatchStep("remove", path, before="there", after="absent") for path in seen.left]


def applied(seen: WatchFacts, steps: t.Sequence[WatchStep]) -> WatchFacts:
    """The facts after the steps."""
    files, link, active, left = dict(seen.files), seen.link, seen.active, seen.left
    for step in steps:
        if step.action == "file" or (step.action == "remove" and step.path in files):
            files[step.path] = step.content
        elif step.action == "remove":
            left = tuple(path for path in left if path != step.path)
        elif step.path == ENABLED_PATH:
            link = TIMER_PATH if step.action == "link" else None
        elif step.path == TIMER:
            active = step.action != "stop"
    return replace(seen, files=files, link=link, active=active, left=left, missing_folders=())


def left_of(files: t.Mapping[str, bytes | None]) -> tuple[str, ...]:
    """Files that runs of an installed watch may have left: its metrics, by its settings, and its state."""
    try:
        directory = str(json.loads(files[WATCH_SETTINGS] or b"")["directory"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return (WATCH_STATE,)
    return (posixpath.join(directory, METRICS), WATCH_STATE) if directory.startswith("/") else (WATCH_STATE,)


def facts(seen: WatchFacts) -> dict[str, t.Any]:
    """The watch in short, for before and after."""
    try:
        settings = json.loads(seen.files[WATCH_SETTINGS] or b"null")
    except ValueError:
        settings = None
    return {
        "active": seen.active,
        "enabled": seen.link == TIMER_PATH,
        "settings": settings,
        "files": {
            path: None if content is None else hashlib.sha256(content).hexdigest()
            for path, content in sorted(seen.files.items())
        },
    }


def diff(before: WatchFacts, after: WatchFacts) -> list[dict[str, str]]:
    """The changes as Ansible shows them; the program by its size and digest."""
    parts = []
    for path in ORDER:
        texts = [_text(path, item.files[path]) for item in (before, after)]
        if texts[0] != texts[1]:
            parts.append({"before": texts[0], "after": texts[1], "before_header": path, "after_header": path})
    return parts


# -- what the service may do on this host ------------------------------------------------------------------------------


def questions(domain: str, labels: t.Mapping[str, str | None], directory: str) -> list[Check]:
    """Permissions that the service needs, given labels of files; one without a label is left out."""
    needs = (
        (QEMU_CONF, "file", ("open", "read")),
        (SELINUXFS, "file", ("open", "read", "write")),
        (SELINUXFS, "security", ("compute_av",)),
        *((path, "file", ("open", "read", "map")) for path in JOURNALS),
        (directory, "dir", ("search", "write", "add_name", "remove_name")),
        (directory, "file", ("create", "write", "rename", "unlink", "setattr")),
    )
    checks = [Check(domain, label, tclass, names) for path, tclass, names in needs if (label := labels.get(path))]
    guests = [label for path, label in labels.items() if not path.startswith("/") and label]
    return checks + [Check(domain, label, "file", ("open", "read")) for label in guests]


def limits(verdicts: t.Iterable[AccessVerdict]) -> list[Reason]:
    """What the loaded policy keeps the service from."""
    return [
        Reason(
            "denied",
            f"the loaded policy denies the watch ({type_of(item.check.source)}) {' '.join(item.check.permissions)} on "
            f"{item.check.tclass} {type_of(item.check.target)}",
        )
        for item in verdicts
        if item.status == "denied" and not item.permissive
    ]


def _file(seen: WatchFacts, path: str, content: bytes) -> WatchStep:
    return WatchStep("file", path, content, _shown(seen.files[path]), _shown(content))


def _ours(seen: WatchFacts) -> None:
    if seen.link_taken or seen.link not in (None, TIMER_PATH):
        text = f"{ENABLED_PATH} is there and is not the link of the watch; move it away"
        raise PlanError(text, "not_ours")
    for path in _UNITS:
        content = seen.files[path]
        if content is not None and not content.startswith(MARK.encode()):
            text = f"{path} is there and was not written by this collection; move it away"
            raise PlanError(text, "not_ours")


def _shown(content: bytes | None) -> str:
    return "absent" if content is None else f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()[:16]}"


def _text(path: str, content: bytes | None) -> str:
    if content is None:
        return ""
    return f"{_shown(content)}\n" if path == WATCH_PROGRAM else content.decode("utf-8", "replace")
