# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores the changes of earlier runs on this host from the journal, newest first.

An object that is not as this collection left it is refused and named; in check mode the same is foretold.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..._core.errors import HostWriteError, JournalError, PlanError, SvirtError
from ..._core.harden import rollback as core
from ..._core.harden.rollback import RollbackOutcome, RollbackRun
from ..._core.result import Reason, Refusal
from ..base import file_write
from ..base.journal import FOLDER, Entry, Journal, entries_of, runs_in
from ..base.root import reason
from . import folders_and_links

Restore = t.Callable[[Entry], None]
RunCommand = t.Callable[..., tuple[int, str, str]]
Run = RollbackRun[Entry]
Outcome = RollbackOutcome[Entry]

#: Kinds whose present state a diff shows.
_SHOWN = (file_write.KIND, core.GUEST, core.INTERFACE)
#: A failure of one entry, which must not keep the others from being restored: an entry that somebody edited, or a
#: binding that is missing.
_FAILURES = (SvirtError, OSError, ImportError, ValueError, KeyError, TypeError, AttributeError)


def runs(count: int | None = None, folder: str = FOLDER) -> list[Run]:
    """The last runs that changed something, or all of them, newest first."""
    paths = runs_in(folder)[::-1]
    return [_read(path) for path in (paths if count is None else paths[:count])]


def _label(entry: Entry) -> None:
    from .images import restore  # here, not above: a missing import then costs its own kind only

    restore(entry)


def _file_context(entry: Entry) -> None:
    from .file_contexts import restore

    restore(entry)


def _guest(entry: Entry) -> None:
    from .guest_definitions import restore

    restore(entry)


#: Restorers by the kind of an entry; those of selinux_state depend on programs of the host.
RESTORERS: dict[str, Restore] = {
    file_write.KIND: file_write.restore,
    "label": _label,
    "fcontext": _file_context,
    **dict.fromkeys(("guest", "interface"), _guest),
    folders_and_links.KIND: folders_and_links.restore,
}


@dataclass(frozen=True)
class Inspector:
    """How the present state of one kind of objects is read and judged, without a change."""

    look: t.Callable[[Entry], t.Any]
    judged: t.Callable[[Entry, t.Any], Reason | bool]
    #: The state that an entry restores, as ``look`` would give it.
    former: t.Callable[[Entry], t.Any]
    #: The state as a diff shows it.
    shown: t.Callable[[t.Any], str]


def _shown_file(now: file_write.FileState | Reason) -> str:
    return f"{now}\n" if isinstance(now, Reason) else core.shown_file(now.content)


class _Guests:
    """The present states of all guests and interfaces of some runs, read at once when the first one is asked for."""

    def __init__(self, wanted: t.Iterable[Run]) -> None:
        entries = [entry for run in wanted for entry in run.entries if entry.kind in (core.GUEST, core.INTERFACE)]
        self._entries = {(entry.kind, entry.subject): entry for entry in entries}
        self._states: dict[tuple[str, str], t.Any] = {}

    def look(self, entry: Entry) -> t.Any:
        """The state of one. Raises HostReadError and HostWriteError."""
        from .guest_definitions import look

        if not self._states:
            try:
                self._states = dict(zip(self._entries, look(list(self._entries.values()))))
            except SvirtError as error:
                self._states = dict.fromkeys(self._entries, error)  # libvirt is not asked again for each of them
        state = self._states[entry.kind, entry.subject]
        if isinstance(state, Exception):
            raise state
        return state


def _inspect_label(entry: Entry) -> Reason | None:
    from .images import restore

    return _dry(restore, entry)


def _inspect_file_context(entry: Entry) -> Reason | None:
    from .file_contexts import restore

    return _dry(restore, entry)


def _dry(restore: t.Callable[..., None], entry: Entry) -> Reason | None:
    """Why the newest entry about an object must not be restored."""
    try:
        restore(entry, dry=True)
    except PlanError as error:
        return Reason(error.code, str(error))
    return None


def _dry_inspector(look: t.Callable[[Entry], Reason | None]) -> Inspector:
    return Inspector(
        look,
        lambda _entry, reason: reason if reason is not None else True,
        lambda _entry: None,  # older entries follow from it
        lambda _reason: "",
    )


def inspectors(wanted: t.Iterable[Run]) -> dict[str, Inspector]:
    """How the objects of these runs are read and judged, by kind."""
    guests = _Guests(wanted)
    return {
        "label": _dry_inspector(_inspect_label),
        "fcontext": _dry_inspector(_inspect_file_context),
        file_write.KIND: Inspector(
            file_write.look, file_write.judged, lambda entry: file_write.FileState.of(entry.before), _shown_file
        ),
        core.PATH: Inspector(
            folders_and_links.look_at_path,
            core.judged_path,
            lambda entry: {"link": entry.before["link"], "folder": False, "other": False},
            lambda _now: "",
        ),
        core.INTERFACE: Inspector(
            guests.look,
            core.judged_interface,
            lambda entry: {"now": entry.before["filterref"], "defined": entry.before["filterref"]},
            lambda now: core.shown_filter(core.filter_of(now["now"])) if now else "",
        ),
        core.GUEST: Inspector(guests.look, core.judged_guest, lambda entry: entry.before["xml"], core.shown_guest),
    }


def put_back(wanted: t.Iterable[Run], journal: Journal, by_kind: t.Mapping[str, Restore] = RESTORERS) -> Outcome:
    """Restore the runs, in their order. A failure does not stop the rest; its run stays in the journal."""
    outcome = Outcome()
    chain = _Chain()
    for run in wanted:
        if run.problem:
            outcome.failed.append(Refusal(run.name, Reason("journal_unreadable", run.problem)))
            continue
        done = [_put_back(run, entry, by_kind, outcome, chain) for entry in reversed(run.entries)]
        if all(done):
            try:
                journal.retire(run.path)
            except JournalError as error:
                outcome.failed.append(Refusal(run.name, Reason("journal_not_retired", str(error))))
    return outcome


def foresee(
    wanted: t.Sequence[Run], kinds: t.Iterable[str] = RESTORERS, by_kind: t.Mapping[str, Inspector] | None = None
) -> Outcome:
    """Predict the outcome of ``put_back``, as far as objects can be inspected without a change.

    ``kinds``: those that can be restored.
    """
    by_kind = inspectors(wanted) if by_kind is None else by_kind
    outcome = Outcome()
    chain = _Chain()
    states: dict[tuple[str, str], t.Any] = {}

    def inspect(entry: Entry) -> None:
        inspector = by_kind.get(entry.kind)
        if inspector is None:
            return
        key = (entry.kind, entry.subject)
        if key not in states:
            states[key] = inspector.look(entry)
        former = inspector.former(entry)
        verdict = inspector.judged(entry, states[key])
        if isinstance(verdict, Reason):
            raise PlanError(verdict.text, verdict.code)
        states[key] = former

    restorers = dict.fromkeys(kinds, inspect)
    for run in wanted:
        if run.problem:
            outcome.failed.append(Refusal(run.name, Reason("journal_unreadable", run.problem)))
            continue
        for entry in reversed(run.entries):
            _put_back(run, entry, restorers, outcome, chain)
    return outcome


@dataclass(repr=False)
class _Chain:
    """Several entries about one object: what the newer one restored is what the older one had set."""

    before: dict[tuple[str, str], dict[str, t.Any]] = field(default_factory=dict)
    #: Objects of which a newer entry was not restored.
    stuck: set[tuple[str, str]] = field(default_factory=set)

    def completed(self, entry: Entry) -> Entry:
        """The entry with the value that it set, from a newer entry where its own journal lacks it."""
        newer = self.before.get((entry.kind, entry.subject))
        if entry.after is not None or newer is None:
            return entry
        if entry.kind == file_write.KIND:
            return replace(entry, after=file_write.FileState.of(newer).mark())
        return replace(entry, after=newer) if entry.kind in (core.GUEST, core.INTERFACE) else entry


def reload_units(outcome: Outcome, run_command: RunCommand) -> None:
    """Have systemd read its files again, where some of them were restored."""
    from .daemon_restart import systemctl

    if core.units_changed(entry for _run, entry in outcome.restored):
        try:
            systemctl(run_command, 0.0, "daemon-reload")
        except HostWriteError as error:
            text = f"its files were put back, and it has not read them: {error}"
            outcome.failed.append(Refusal("systemd", Reason("units_not_reloaded", text)))


def diffs(wanted: t.Sequence[Run], by_kind: t.Mapping[str, Inspector] | None = None) -> list[dict[str, str]]:
    """Each object as it is and as it was before the oldest of the runs, without secrets."""
    by_kind = inspectors(wanted) if by_kind is None else by_kind
    oldest: dict[tuple[str, str], Entry] = {}
    for run in wanted:
        for entry in reversed(run.entries):
            oldest[entry.kind, entry.subject] = entry
    return [
        {
            "before_header": entry.subject,
            "after_header": f"{entry.subject} ({entry.kind})",
            "before": _now(entry, by_kind),
            "after": core.shown_entry(entry),
        }
        for entry in oldest.values()
    ]


def _read(path: str) -> Run:
    try:
        return Run(path, tuple(entries_of(path)))
    except JournalError as error:
        return Run(path, (), str(error))


def _put_back(run: Run, entry: Entry, by_kind: t.Mapping[str, Restore], outcome: Outcome, chain: _Chain) -> bool:
    key = (entry.kind, entry.subject)
    try:
        restore = by_kind.get(entry.kind)
        if restore is None:
            text = f"this version of svirt.fleet cannot put back what is of kind {entry.kind!r}"
            raise JournalError(text, "unknown_kind")
        if key in chain.stuck:
            raise PlanError("a later change of it was not put back; it was left alone", "later_change_stays")
        restore(chain.completed(entry))
    except PlanError as error:
        chain.stuck.add(key)
        outcome.refused.append(Refusal(entry.subject, Reason(error.code, str(error))))
        return False
    except _FAILURES as error:
        chain.stuck.add(key)
        code = error.code if isinstance(error, SvirtError) else "failed"
        outcome.failed.append(Refusal(entry.subject, Reason(code, f"{run.name}: {reason(error)}")))
        return False
    chain.before[key] = entry.before
    outcome.restored.append((run, entry))
    return True


def _now(entry: Entry, by_kind: t.Mapping[str, Inspector]) -> str:
    inspector = by_kind.get(entry.kind)
    if inspector is None or entry.kind not in _SHOWN:
        return ""
    try:
        return inspector.shown(inspector.look(entry))
    except _FAILURES as error:
        return f"{reason(error)}\n"
