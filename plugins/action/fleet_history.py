# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which two guests ever shared a label, by records on the controller. The module has the documentation."""

from __future__ import annotations

import datetime
import time
import typing as t
from dataclasses import replace
from pathlib import Path

from ansible.utils.display import Display

from ..module_utils._core.audit.finding import PASS
from ..module_utils._core.audit.history import overlaps, report, transfer
from ..module_utils._core.audit.history.assignments import assignments, completed
from ..module_utils._core.audit.history.intervals import HostHistory, history
from ..module_utils._core.errors import PlanError
from ..module_utils._core.facts.sharing import Sharing
from ..module_utils._core.facts.storage import HostStorage, host_storage
from ..module_utils._core.facts.storage_statements import parse_storage
from ..plugin_utils import _records, _snapshots
from ..plugin_utils._action import Arguments, ControllerAction, negative, write
from ..plugin_utils._snapshots import Unread


class ActionModule(ControllerAction):
    """Reads the records of all hosts, compares them, and writes the history."""

    ARGUMENTS: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "records": {"type": "path", "required": True},
        "snapshots": {"type": "path", "required": True},
        "hosts": {"type": "list", "elements": "str", "required": True},
        "history": {"type": "path", "required": True},
        "storage": {"type": "list", "elements": "dict", "default": []},
        "ledger": {"type": "str"},
        "since": {"type": "str"},
        "max_age": {"type": "int", "default": 3600},
        "enforce": {"type": "bool", "default": True},
    }

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        now = time.time()
        since = moment(arguments["since"]) if arguments["since"] else None
        statements = parse_storage(arguments["storage"])
        events = _records.label_events(arguments["ledger"]) if arguments["ledger"] else []
        histories, storage, unread = _read(arguments, now)
        labels = assignments(events)
        for one in histories:
            one.intervals = [completed(item, labels) for item in one.intervals]
        past = overlaps.meetings(histories, Sharing(storage, statements))
        whole = report.document(histories, past, report.PastScope(since, now, tuple(unread)))
        path = Path(arguments["history"]).absolute()
        problem = write("history", path, whole)
        _show(whole)
        return _finished(whole, path, problem, arguments["enforce"])


def moment(text: str) -> float:
    """Seconds since the epoch of a date or time, UTC where it names no zone. Raises PlanError."""
    try:
        given = datetime.datetime.fromisoformat(text)
        zoned = given if given.tzinfo else given.replace(tzinfo=datetime.UTC)
        return zoned.timestamp()
    except (ValueError, OverflowError):
        why = f"since is {text[:80]!r}; give a date such as 2026-11-01, or a time such as 2026-11-01T12:00:00Z"
        raise PlanError(why, "bad_since") from None


def _read(arguments: Arguments, now: float) -> tuple[list[HostHistory], list[HostStorage], list[report.UnreadHost]]:
    """Histories and storage of the hosts, one after the other, and hosts without a history."""
    oldest = now - arguments["max_age"]
    histories: list[HostHistory] = []
    storage: list[HostStorage] = []
    unread: list[report.UnreadHost] = []
    for host in sorted({str(name) for name in arguments["hosts"]}):
        snapshot = _snapshots.read(arguments["snapshots"], host, oldest)
        running = None
        if not isinstance(snapshot, Unread):
            storage.append(host_storage(host, snapshot))
            running = transfer.running(snapshot)
        log = _records.read(arguments["records"], host, oldest)
        if isinstance(log, Unread):
            unread.append(report.UnreadHost(host, log.why))
        else:
            histories.append(history(replace(log, running=running)))
    return histories, storage, unread


def _show(whole: dict[str, t.Any]) -> None:
    display = Display()
    for line in report.lines(whole):
        display.display(line)


def _finished(whole: dict[str, t.Any], path: Path, problem: str, enforce: bool) -> dict[str, t.Any]:
    sure = sum(pair["status"] == "sure" for pair in whole["collisions"])
    counts = {
        "guests": len({item["uuid"] for item in whole["guests"]}),
        "collisions": sure,
        "possible": len(whole["collisions"]) - sure,
        "doubts": len(whole["doubts"]),
        "unread": sum("since" not in host for host in whole["hosts"]),
    }
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    since = whole["covered_since"] or "never"
    result = {
        "changed": False,
        "history": str(path),
        "verdict": whole["verdict"],
        "counts": counts,
        "msg": f"verdict {whole['verdict']} for the time since {since}: {told}",
    }
    if problem:
        return {**result, "failed": True, "msg": problem}
    if enforce and whole["verdict"] != PASS:
        raise negative(result)
    return result
