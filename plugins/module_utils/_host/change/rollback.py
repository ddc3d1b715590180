# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that runs changed on this host, put back from the journal, the newest first.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import HostWriteError, JournalError, PlanError, SvirtError
from ..base import file_write
from ..base.journal import FOLDER, Entry, Journal, entries_of, runs_in
from ..base.root import reason

Restore = t.Callable[[Entry], None]
RunCommand = t.Callable[..., tuple[int, str, str]]

#: Larger files are named in a diff, not shown.
_SHOWN = 256 * 1024

#: Files that systemd reads when it is told to.
_UNITS = "/etc/systemd/system/"

DAEMON, GUEST, REBOOT = "daemon_restart", "guest_power_cycle", "reboot"
#: What it takes until a thing that was put back counts, by kind.
_NEEDS = {
    "guest": (GUEST, "a running guest keeps its label until its next start"),
}
#: The same for files, by how their path begins.
_FILE_NEEDS = (
    (
        ("/etc/libvirt/qemu.conf", "/etc/systemd/system/libvirtd.service", "/etc/systemd/system/virtqemud.service"),
        DAEMON,
    ),
    (("/etc/default/grub", "/etc/selinux/config", "/etc/kernel/", "/boot/", "/efi/"), REBOOT),
)
_FILE_WHY = {DAEMON: "the daemon reads it when it starts", REBOOT: "it is read when the host boots"}


@dataclass(frozen=True)
class Run:
    """One run of a module, with what it wrote down; ``problem`` says why its file cannot be read."""

    path: str
    entries: tuple[Entry, ...]
    problem: str = ""

    @property
    def name(self) -> str:
        """Number and module."""
        return os.path.basename(self.path).partition(".")[0]


@dataclass(repr=False, eq=False)
class Outcome:
    """What became of each thing."""

    restored: list[tuple[Run, Entry]] = field(default_factory=list)
    #: What may not be put back now: (subject, why).
    refused: list[tuple[str, str]] = field(default_factory=list)
    #: What could not be.
    failed: list[tuple[str, str]] = field(default_factory=list)


def runs(count: int | None = None, folder: str = FOLDER) -> list[Run]:
    """The last runs that changed something, or all of them, the newest first."""
    paths = runs_in(folder)[::-1]
    return [_read(path) for path in (paths if count is None else paths[:count])]


def _label(entry: Entry) -> None:
    from .images import restore  # each here, not above: one that cannot be imported costs its own kind only

    restore(entry)


def _file_context(entry: Entry) -> None:
    from .file_contexts import restore

    restore(entry)


def _guest(entry: Entry) -> None:
    from .guest_definitions import restore

    restore(entry)


def _path(entry: Entry) -> None:
    from .guard import restore

    restore(entry)


#: Who puts back what, by the kind of an entry; what needs programs of the host comes with selinux_state's restorers.
RESTORERS: dict[str, Restore] = {
    file_write.KIND: file_write.restore,
    "label": _label,
    "fcontext": _file_context,
    **dict.fromkeys(("guest", "interface"), _guest),
    "path": _path,
}


def put_back(wanted: t.Iterable[Run], journal: Journal, by_kind: t.Mapping[str, Restore] = RESTORERS) -> Outcome:
    """Put the runs back, in their order. What fails is told and the rest goes on; its run stays in the journal."""
    outcome = Outcome()
    for run in wanted:
        if run.problem:
            outcome.failed.append((run.name, run.problem))
            continue
        done = [_put_back(run, entry, by_kind, outcome) for entry in reversed(run.entries)]
        if all(done):
            try:
                journal.retire(run.path)
            except JournalError as error:
                outcome.failed.append((run.name, str(error)))
    return outcome


def reload_units(outcome: Outcome, run_command: RunCommand) -> None:
    """Have systemd read its files again, where some of them were put back."""
    from .daemon_restart import systemctl

    if any(entry.kind == file_write.KIND and entry.subject.startswith(_UNITS) for _run, entry in outcome.restored):
        try:
            systemctl(run_command, 0.0, "daemon-reload")
        except HostWriteError as error:
            outcome.failed.append(("systemd", f"its files were put back, and it has not read them: {error}"))


def pending(entries: t.Iterable[Entry]) -> list[dict[str, str]]:
    """What it takes until these count again."""
    found = {}
    for entry in entries:
        needs = _needs(entry)
        if needs is not None:
            found[entry.subject] = {"subject": entry.subject, "needs": needs[0], "why": needs[1]}
    return list(found.values())


def plan(wanted: t.Iterable[Run]) -> list[dict[str, t.Any]]:
    """What is put back, in order."""
    return [
        {"action": "put_back", "subject": entry.subject, "from": entry.kind, "to": run.name}
        for run in wanted
        for entry in reversed(run.entries)
    ]


def document(wanted: t.Iterable[Run]) -> list[dict[str, t.Any]]:
    """The runs, as data."""
    return [
        {"run": run.name, "entries": len(run.entries), **({"problem": run.problem} if run.problem else {})}
        for run in wanted
    ]


def diffs(wanted: t.Sequence[Run]) -> list[dict[str, str]]:
    """Each thing as it is and as it was before the oldest of the runs; of other kinds than files only the latter."""
    oldest: dict[tuple[str, str], Entry] = {}
    for run in wanted:
        for entry in reversed(run.entries):
            oldest[entry.kind, entry.subject] = entry
    return [
        {
            "before_header": entry.subject,
            "after_header": f"{entry.subject} ({entry.kind})",
            "before": _now(entry),
            "after": _then(entry),
        }
        for entry in oldest.values()
    ]


def _read(path: str) -> Run:
    try:
        return Run(path, tuple(entries_of(path)))
    except JournalError as error:
        return Run(path, (), str(error))


def _put_back(run: Run, entry: Entry, by_kind: t.Mapping[str, Restore], outcome: Outcome) -> bool:
    try:
        restore = by_kind.get(entry.kind)
        if restore is None:
            raise JournalError(f"this version of svirt.fleet cannot put back what is of kind {entry.kind!r}")
        restore(entry)
    except PlanError as error:
        outcome.refused.append((entry.subject, str(error)))
        return False
    except (SvirtError, OSError, ImportError, ValueError, KeyError, TypeError) as error:
        # An entry that somebody wrote into, or a binding that is gone, must not keep the others from being put back.
        outcome.failed.append((entry.subject, f"{run.name}: {reason(error)}"))
        return False
    outcome.restored.append((run, entry))
    return True


def _needs(entry: Entry) -> tuple[str, str] | None:
    if entry.kind != file_write.KIND:
        return _NEEDS.get(entry.kind)
    needs = next((needs for starts, needs in _FILE_NEEDS if entry.subject.startswith(starts)), None)
    return (needs, _FILE_WHY[needs]) if needs else None


def _now(entry: Entry) -> str:
    if entry.kind != file_write.KIND:
        return ""
    try:
        return _text(file_write.state_of(entry.subject).content)
    except SvirtError as error:
        return f"{error}\n"


def _then(entry: Entry) -> str:
    if entry.kind != file_write.KIND:
        return json.dumps(entry.before, sort_keys=True, indent=2)[:_SHOWN] + "\n"
    try:
        return _text(file_write.FileState.of(entry.before).content)
    except (KeyError, ValueError, TypeError) as error:
        return f"the journal's entry cannot be read: {error}\n"


def _text(content: bytes | None) -> str:
    if content is None:
        return ""
    try:
        text = content.decode("utf-8") if len(content) <= _SHOWN else "\0"
    except UnicodeDecodeError:
        text = "\0"
    return f"{len(content)} bytes\n" if "\0" in text else text
