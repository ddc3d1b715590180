# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Body of svirt_rollback: restores the runs of the journal.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from .._core.errors import FailedError, PlanError
from .._core.harden import rollback as core
from .._core.result import Refusal, Result
from .._host.base.journal import Journals
from .._host.base.tools import HostTools
from .._host.change import rollback
from .._host.change.own_programs import watch
from .._host.change.selinux import restorers
from .._module import Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {"runs": {"type": "int"}, "strict": {"type": "bool", "default": True}}


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Restore the runs unless in check mode, and name what was not restored.

    Raises SvirtError, with option strict also for what was not restored.
    """
    count = call.params["runs"]
    if count is not None and count < 1:
        raise PlanError(f"runs is {count}; give at least 1, or leave it out for all", "bad_count")
    result = _run(call, count, journals)
    wrong = [*result["refused"], *result["failed_entries"]]
    if wrong and call.params["strict"]:
        listed = "; ".join(f"{item['subject']}: {item['why']}" for item in wrong)
        raise FailedError(f"not everything was put back, and its runs stay in the journal: {listed}", result)
    return result


def _run(call: Call, count: int | None, journals: Journals) -> dict[str, t.Any]:
    folder = journals.folder
    before = rollback.runs(folder=folder)
    tools = HostTools(run_command=call.run_command, find=call.find)
    by_kind = {**rollback.RESTORERS, **restorers(tools), **watch.restorers(tools)}
    if call.check_mode or not before:
        wanted = before[:count]
        looks = rollback.inspectors(wanted)
        outcome = rollback.foresee(wanted, by_kind, looks)
        diff = rollback.diffs(wanted, looks) if call.diff else None
        return _document(before, wanted, _left(before, wanted, outcome), outcome, diff)
    with journals.open("svirt_rollback") as journal:
        before = rollback.runs(folder=folder)  # again: a run may have ended while this one waited for the lock
        wanted = before[:count]
        diff = rollback.diffs(wanted) if call.diff else None  # made before anything is restored
        outcome = rollback.put_back(wanted, journal, by_kind)
        rollback.reload_units(outcome, call.run_command)
        return _document(before, wanted, rollback.runs(folder=folder), outcome, diff)


def _left(before: list[rollback.Run], wanted: list[rollback.Run], outcome: rollback.Outcome) -> list[rollback.Run]:
    """The runs that stay in the journal."""
    done = {id(entry) for _run, entry in outcome.restored}
    gone = [run for run in wanted if not run.problem and all(id(entry) in done for entry in run.entries)]
    return [run for run in before if run not in gone]


def _document(
    before: list[rollback.Run],
    wanted: list[rollback.Run],
    after: list[rollback.Run],
    outcome: rollback.Outcome,
    diff: list[dict[str, str]] | None = None,
) -> dict[str, t.Any]:
    result = Result(
        core.document(before),
        core.document(after),
        plan=core.plan(wanted),
        pending=core.pending(entry for _run, entry in outcome.restored),
        refused=outcome.refused,
        extra={"failed_entries": [_named(item) for item in outcome.failed]},
    )
    if diff is not None:
        result.extra["diff"] = diff
    changed = bool(outcome.restored) or result.before != result.after
    return {**result.as_dict(), "changed": changed}


def _named(item: Refusal) -> dict[str, str]:
    return item.as_dict()
