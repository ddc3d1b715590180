# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the journal put back.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from .._core.errors import FailedError, PlanError
from .._host.base.journal import FOLDER, Journal
from .._host.base.tools import HostTools
from .._host.change import rollback
from .._host.change.selinux import restorers
from .._module import Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {"runs": {"type": "int"}}


def run(call: Call) -> dict[str, t.Any]:
    """Put the runs back unless in check mode, and tell of each thing. Raises SvirtError."""
    count = call.params["runs"]
    if count is not None and count < 1:
        raise PlanError(f"runs is {count}; give at least 1, or leave it out for all")
    result = _run(call, count)
    wrong = [*result["refused"], *result["failed_entries"]]
    if wrong:
        told = "; ".join(f"{item['subject']}: {item['why']}" for item in wrong)
        raise FailedError(f"not everything was put back, and its runs stay in the journal: {told}", result)
    return result


def _run(call: Call, count: int | None) -> dict[str, t.Any]:
    before = rollback.runs(folder=FOLDER)
    if call.check_mode or not before:
        return _result(call, before, before[:count], before[count or len(before) :])
    with Journal("svirt_rollback", FOLDER) as journal:
        before = rollback.runs(folder=FOLDER)  # again: a run may have ended while the lock was waited for
        wanted = before[:count]
        # The diff is made before anything is put back.
        result = _result(call, before, wanted, [])
        tools = HostTools(run_command=call.run_command, find=call.find)
        outcome = rollback.put_back(wanted, journal, {**rollback.RESTORERS, **restorers(tools)})
        rollback.reload_units(outcome, call.run_command)
    result["refused"] = _named(outcome.refused)
    result["failed_entries"] = _named(outcome.failed)
    result["pending"] = rollback.pending(entry for _run, entry in outcome.restored)
    result["after"] = rollback.document(rollback.runs(folder=FOLDER))
    result["changed"] = bool(outcome.restored) or result["before"] != result["after"]
    return result


def _result(
    call: Call,
    before: list[rollback.Run],
    wanted: list[rollback.Run],
    after: list[rollback.Run],
) -> dict[str, t.Any]:
    """What would be put back when nothing fails."""
    result = {
        "changed": bool(wanted),
        "before": rollback.document(before),
        "after": rollback.document(after),
        "plan": rollback.plan(wanted),
        "pending": rollback.pending(entry for run in wanted for entry in run.entries),
        "refused": [],
        "failed_entries": _named((run.name, run.problem) for run in wanted if run.problem),
    }
    if call.diff:
        result["diff"] = rollback.diffs(wanted)
    return result


def _named(items: t.Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"subject": subject, "why": why} for subject, why in items]
