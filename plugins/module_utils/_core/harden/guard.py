# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan of the guard: its files, the order in which they are installed and removed, and the permissions that it needs.

The hook that libvirt sees is a link to a small shell program in a folder for programs. Every policy labels a file below
/etc/libvirt/hooks with a type that a daemon may not execute (virt_etc_rw_t, virt_hook_t), at the latest at the next
restorecon; libvirt then starts no guest, and ends running guests when its daemon restarts. A link avoids that: the
label of the program counts, and each policy's default for it is right. Should the host boot with AppArmor one day, the
daemon's profile lets it execute programs in /usr/sbin, not in /usr/local.

Sources: libvirt's hooks (docs/hooks.rst) and how it looks for them (src/util/virhook.c).

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import dataclass, replace

from ..errors import PlanError
from ..result import Reason, Step
from ..selinux.context import type_of
from ..selinux.policy_access import AccessVerdict, Check
from ..system.own_files import LINK, PROGRAM, SETTINGS
from ..words import some

SCRIPT = "/usr/local/lib/svirt-fleet/guard.py"
SHELL = "/bin/sh"
PYTHON = "/usr/bin/python3"
TIMEOUT = "/usr/bin/timeout"
#: libvirt's status files, and the folder in which the guard notes guests that start.
STATUS, RUN = "/run/libvirt/qemu", "/run/libvirt"
PROC = "/proc"
LOG_SOCKET = "/run/systemd/journal/dev-log"
ASKING = "/sys/fs/selinux/access"

#: The types that the policies give to files in these places; the daemon may use them in every policy known.
TYPES = {PROGRAM: "bin_t", SCRIPT: "lib_t", SETTINGS: "etc_t"}
MODES = {PROGRAM: 0o755, SCRIPT: 0o644, SETTINGS: 0o644}
#: Safe order: libvirt sees the hook only when everything that it needs is there.
ORDER = (SCRIPT, SETTINGS, PROGRAM)


class Need(t.NamedTuple):
    """Permissions on what has the label of a path."""

    path: str
    tclass: str
    permissions: tuple[str, ...]


#: Permissions of the daemon's domain without which the guard cannot work.
_NEEDS = (
    Need(PROGRAM, "file", ("read", "open", "execute", "execute_no_trans")),
    Need(SHELL, "file", ("read", "open", "execute")),
    Need(TIMEOUT, "file", ("read", "open", "execute", "execute_no_trans")),
    Need(PYTHON, "file", ("read", "open", "execute", "execute_no_trans")),
    Need(SCRIPT, "file", ("read", "open")),
    Need(SETTINGS, "file", ("read", "open")),
    Need(LINK, "lnk_file", ("read",)),
    Need(STATUS, "dir", ("search", "read", "open")),
    Need(STATUS, "file", ("read", "open")),  # files in it have the folder's type
    Need(RUN, "dir", ("search", "write", "add_name")),
    Need(RUN, "file", ("create", "read", "write", "open", "getattr", "lock")),
    Need(PROC, "dir", ("search",)),
)
#: Permissions for parts of the guard's work that it can do without.
_ASKING_NEEDS = (
    Need(ASKING, "dir", ("search",)),  # the folder has the same label
    Need(ASKING, "file", ("read", "write", "open")),
    Need(ASKING, "security", ("compute_av",)),
)
_LOG_NEEDS = (Need(LOG_SOCKET, "sock_file", ("write",)),)
#: What reading a process takes; /proc/PID has its label. As READING of the guard's script.
_READING_NEEDS = (("process", ("getattr",)), ("file", ("open", "read")), ("dir", ("search",)))
MARK = "# Written by svirt.fleet.guard_hook, which overwrites changes."

_PROGRAM = """#!/bin/sh
{mark}
# libvirt calls this for every event of a guest, and a failure has effect: when its daemon restarts it ends a running
# guest whose hook fails at "reconnect". So only operations that may be refused reach the guard.
# --foreground: without it timeout asks for a process group of its own, which Debian's policy denies the daemon.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
if [ "$#" -eq 1 ] && [ "$1" = --self-test ]; then
    exec timeout --foreground -k 1 {test_limit} {python} -ISB {script} --self-test
fi
case "$2 $3" in
    "prepare begin" | "start begin" | "migrate begin" | "restore begin") ;;
    *) exit 0 ;;
esac
timeout --foreground -k 1 {limit} {python} -ISB {script} "$@"
status=$?
case $status in
    0) exit 0 ;;
    77) exit 1 ;;
esac
# The guard did not run to its end; the administrator chose what happens then.
logger -t svirt-guard -p authpriv.err -- "the guard ended with status $status at $2: {outcome}"
{last}
"""
_LAST = {
    "allow": "exit 0",
    "refuse": 'echo "svirt-guard: the guard failed (status $status) and is set to refuse when in doubt" >&2\nexit 1',
}
_OUTCOME = {"allow": "the guest was let through", "refuse": "the guest was refused"}


#: Seconds for the self-test. It is no guest's start: a slow host may take its time.
TEST_LIMIT = 120


@dataclass(frozen=True)
class GuardOptions:
    """Settings of the guard."""

    content: str = ""
    collision: str = "refuse"
    errors: str = "allow"
    time_limit: int = 5
    log: str = "refusals"
    #: Types of processes that the daemon's domain may read.
    readable: tuple[str, ...] = ()
    #: The daemon's domain may ask the loaded policy.
    ask: bool = False


@dataclass(frozen=True)
class GuardView:
    """What the policy lets the guard read and log in the domain of libvirt's daemon."""

    readable: tuple[str, ...] = ()
    ask: bool = False
    #: Missing permissions and their effect.
    limits: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class GuardFile:
    """A file of the guard; ``content`` is None where there is none."""

    content: bytes | None = None
    mode: int = 0
    owner: tuple[int, int] = (0, 0)
    label: str | None = None


@dataclass(frozen=True)
class GuardFacts:
    """Facts of a host that decide about the guard."""

    files: t.Mapping[str, GuardFile]
    #: Folders that are missing, the higher ones first.
    missing_folders: tuple[str, ...] = ()
    #: Target of the link; None where there is no link.
    link: str | None = None
    #: Another file has the link's name.
    link_taken: bool = False
    #: SELinux is on, with levels or without.
    labels: bool = False
    levels: bool = True


@dataclass(frozen=True)
class GuardStep:
    """One change: ``action`` is folder, file, link, unlink or remove."""

    action: str
    path: str
    content: bytes | None = None
    label: str | None = None
    before: str = ""
    after: str = ""

    @property
    def step(self) -> Step:
        """The change as the module's plan shows it."""
        return Step(self.action, self.path, self.before, self.after)


def settings_text(options: GuardOptions) -> str:
    """The guard's settings file."""
    keys = ("ask", "collision", "errors", "log", "readable", "time_limit")
    return json.dumps({key: getattr(options, key) for key in keys}, indent=2, sort_keys=True) + "\n"


def program_text(options: GuardOptions) -> str:
    """The program that libvirt calls. Its limit is longer than the guard's own, so that the guard can report it."""
    return _PROGRAM.format(
        mark=MARK,
        limit=options.time_limit + 2,
        test_limit=TEST_LIMIT,
        python=PYTHON,
        script=SCRIPT,
        outcome=_OUTCOME[options.errors],
        last=_LAST[options.errors],
    )


def contents(options: GuardOptions) -> dict[str, bytes]:
    """The content of each file."""
    return {
        SCRIPT: options.content.encode("utf-8"),
        SETTINGS: settings_text(options).encode(),
        PROGRAM: program_text(options).encode(),
    }


def install(options: GuardOptions, facts: GuardFacts) -> list[GuardStep]:
    """The changes that install the guard, in order. Raises PlanError for a file that belongs to somebody else."""
    if not 1 <= options.time_limit <= 60:
        text = f"time_limit is {options.time_limit}; give 1 to 60 seconds, for libvirt waits that long"
        raise PlanError(text, "bad_time_limit")
    if not options.content.strip():
        text = "content is empty; give the text of the guard's script, as the role svirt.fleet.guard does"
        raise PlanError(text, "no_content")
    _refuse_foreign_files(facts)
    steps = [GuardStep("folder", path, after="there") for path in facts.missing_folders]
    for path, content in contents(options).items():
        _add(steps, facts, path, content)
    steps.sort(key=lambda step: (step.action != "folder", ORDER.index(step.path) if step.path in ORDER else 0))
    if facts.link != PROGRAM:
        steps.append(GuardStep("link", LINK, after=PROGRAM))
    return steps


def remove(facts: GuardFacts) -> list[GuardStep]:
    """The changes that remove the guard: first the link that libvirt sees. Folders stay."""
    _refuse_foreign_files(facts)
    steps = [GuardStep("unlink", LINK, before=PROGRAM)] if facts.link == PROGRAM else []
    present = [path for path in reversed(ORDER) if facts.files[path].content is not None]
    return steps + [GuardStep("remove", path, before=_facts(facts.files[path]), after="absent") for path in present]


def applied(facts: GuardFacts, steps: t.Sequence[GuardStep]) -> GuardFacts:
    """The facts after the steps."""
    files = dict(facts.files)
    link = facts.link
    for step in steps:
        if step.action == "file":
            files[step.path] = GuardFile(step.content, MODES[step.path], (0, 0), step.label)
        elif step.action == "remove":
            files[step.path] = GuardFile()
        elif step.path == LINK:
            link = PROGRAM if step.action == "link" else None
    return replace(facts, files=files, link=link, missing_folders=())


def summary(facts: GuardFacts) -> dict[str, t.Any]:
    """The guard in short, for before and after."""
    content = facts.files[SETTINGS].content
    try:
        settings = json.loads(content) if content is not None else None
    except ValueError:
        settings = None  # the guard uses its defaults
    return {
        "installed": facts.link == PROGRAM,
        "settings": settings,
        "files": {
            path: None
            if file.content is None
            else {
                "sha256": hashlib.sha256(file.content).hexdigest(),
                "mode": f"{file.mode:04o}",
                "label": file.label,
            }
            for path, file in sorted(facts.files.items())
        },
    }


def diff(before: GuardFacts, after: GuardFacts) -> list[dict[str, str]]:
    """The changes as Ansible shows them."""
    parts = []
    for path in ORDER:
        texts = [(item.files[path].content or b"").decode("utf-8", "replace") for item in (before, after)]
        if texts[0] != texts[1]:
            parts.append({"before": texts[0], "after": texts[1], "before_header": path, "after_header": path})
    if before.link != after.link:
        links = [f"{item.link}\n" if item.link else "" for item in (before, after)]
        parts.append({"before": links[0], "after": links[1], "before_header": LINK, "after_header": LINK})
    return parts


def label_for(path: str, facts: GuardFacts) -> str | None:
    """The label that the file is to have; None where SELinux is off."""
    if not facts.labels:
        return None
    return f"system_u:object_r:{TYPES[path]}" + (":s0" if facts.levels else "")


def questions(domain: str, labels: t.Mapping[str, str | None]) -> list[Check]:
    """Permissions that the daemon needs, given the labels of the files; a file without a label is left out."""
    return _checks(domain, labels, _NEEDS)


def asking_questions(domain: str, labels: t.Mapping[str, str | None]) -> list[Check]:
    """Permissions that the daemon needs to ask the policy; empty where selinuxfs has no label."""
    return _checks(domain, labels, _ASKING_NEEDS)


def log_questions(domain: str, labels: t.Mapping[str, str | None]) -> list[Check]:
    """Permissions that the daemon needs to write to the host's log."""
    return _checks(domain, labels, _LOG_NEEDS)


def reading_questions(domain: str, process: str) -> list[Check]:
    """Permissions that the daemon needs to read a process with this label."""
    return [Check(domain, process, tclass, permissions) for tclass, permissions in _READING_NEEDS]


def _checks(domain: str, labels: t.Mapping[str, str | None], needs: t.Iterable[Need]) -> list[Check]:
    return [Check(domain, label, need.tclass, need.permissions) for need in needs if (label := labels.get(need.path))]


def view_of(
    processes: t.Mapping[str, t.Sequence[AccessVerdict]],
    own: t.Mapping[str, t.Sequence[AccessVerdict]],
    asking: t.Sequence[AccessVerdict],
    logging: t.Sequence[AccessVerdict],
) -> GuardView:
    """What the guard may read and log, by the policy's answers.

    ``processes`` are those about each type of guests, ``own`` those about the daemon's own type, which guests have that
    libvirt does not confine. A permissive domain is not held back, but each denial would be logged: it counts like any
    other.
    """
    readable = tuple(sorted(name for name, verdicts in {**own, **processes}.items() if _allowed(verdicts)))
    limits = []
    unread = sorted(set(processes) - set(readable))
    if unread:
        source = next((item.check.source for name in unread for item in processes[name]), "")
        why = (
            f"the loaded policy does not let {type_of(source) or 'the daemon'} read processes of type "
            f"{some(unread)}, so the guard judges guests of these types by libvirt's status files"
        )
        limits.append(Reason("judged_by_status", why))
    if logging and not _allowed(logging):
        limits.append(Reason("not_logged", "the loaded policy does not let the daemon write to the host's log"))
    return GuardView(readable, bool(asking) and _allowed(asking), tuple(limits))


def _allowed(verdicts: t.Iterable[AccessVerdict]) -> bool:
    return all(item.status == "allowed" for item in verdicts)


def _refuse_foreign_files(facts: GuardFacts) -> None:
    if facts.link_taken or facts.link not in (None, PROGRAM):
        text = f"{LINK} is there and is not the guard's link; move it away, or leave the guard out"
        raise PlanError(text, "not_ours")
    program = facts.files[PROGRAM].content
    if program is not None and MARK.encode() not in program:
        text = f"{PROGRAM} is there and was not written by this collection; move it away"
        raise PlanError(text, "not_ours")


def _add(steps: list[GuardStep], facts: GuardFacts, path: str, content: bytes) -> None:
    old, label = facts.files[path], label_for(path, facts)
    right_label = label is None or (old.label or "").split(":")[2:3] == label.split(":")[2:3]
    if old.content == content and old.mode == MODES[path] and old.owner == (0, 0) and right_label:
        return
    if old.content is not None and right_label:
        label = old.label  # the level and the user are the administrator's
    after = _facts(GuardFile(content, MODES[path], (0, 0), label))
    steps.append(GuardStep("file", path, content, label, _facts(old), after))


def _facts(file: GuardFile) -> str:
    if file.content is None:
        return "absent"
    owner = "" if file.owner == (0, 0) else f", owner {file.owner[0]}:{file.owner[1]}"
    return f"{len(file.content)} bytes, mode {file.mode:04o}{owner}, label {file.label or 'none'}"
