# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies all rules to all snapshots, on the controller. The module of the same name has the documentation."""

from __future__ import annotations

import contextlib
import datetime
import gc
import importlib
import json
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible.utils import color
from ansible.utils.display import Display

from ..module_utils._core import words
from ..module_utils._core.allocate.label_domains import STATIC, STRATEGIES, parse_domains
from ..module_utils._core.allocate.ledger import Row
from ..module_utils._core.audit import report, text, waivers
from ..module_utils._core.audit import terminal as summary
from ..module_utils._core.audit.category_map import category_map
from ..module_utils._core.audit.finding import PASS, PROFILES, Settings
from ..module_utils._core.audit.fleet import analysis as across
from ..module_utils._core.audit.fleet import policy_answers
from ..module_utils._core.audit.report_model import read_report
from ..module_utils._core.audit.report_text import report_text
from ..module_utils._core.audit.rules.catalogue import judge
from ..module_utils._core.audit.run import AUDIT, FRESH_LABELS, SHARED_USE
from ..module_utils._core.errors import ReportError, SchemaError
from ..module_utils._core.facts.storage_statements import parse_storage
from ..module_utils._core.harden import shared_use
from ..module_utils._core.snapshot.model import Snapshot
from ..plugin_utils import _run_identity, _run_keeper, _snapshots
from ..plugin_utils import _tenants as tenants
from ..plugin_utils._action import Arguments, ControllerAction, negative, write
from ..plugin_utils._formats import writing
from ..plugin_utils._fresh_labels import FreshLabels

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "snapshots": {"type": "path"},
    **_run_identity.ARGUMENTS,
    **_run_keeper.ARGUMENTS,
    "orders": {"type": "list", "elements": "str", "choices": [SHARED_USE, FRESH_LABELS], "default": []},
    "hosts": {"type": "list", "elements": "str", "required": True},
    "left_out": {"type": "list", "elements": "str", "default": []},
    "report": {"type": "path", "required": True},
    "formats": {"type": "list", "elements": "str", "default": []},
    "shared_use": {"type": "path"},
    "fresh_labels": {"type": "path"},
    "questions": {"type": "path"},
    "answers": {"type": "str"},
    "domains": {"type": "list", "elements": "dict", "default": []},
    "storage": {"type": "list", "elements": "dict", "default": []},
    "ledger": {"type": "str"},
    "power_cycle": {"type": "list", "elements": "str", "default": []},
    "store": {"type": "str"},
    "strategy": {"type": "str", "choices": list(STRATEGIES), "default": STATIC},
    **tenants.ARGUMENTS,
    "fail_on": {"type": "str", "choices": list(report.THRESHOLDS), "default": "high"},
    "enforce": {"type": "bool", "default": True},
    "profile": {"type": "str", "choices": list(PROFILES), "default": "local"},
    "permissive_allowed": {"type": "list", "elements": "str", "default": []},
    "waivers": {"type": "list", "elements": "dict", "default": []},
    "max_age": {"type": "int", "default": 3600},
}
#: Longest line of the summary, on any terminal.
_MAX_WIDTH = 140


class ActionModule(ControllerAction):
    """Reads the snapshots of the folder, applies the rules, and writes the report."""

    ARGUMENTS = ARGUMENTS

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        now, check = datetime.datetime.now(datetime.UTC), bool(self._task.check_mode)
        task = _Task.of(arguments, self.variables, now, check)
        formats = writing.chosen(arguments["formats"])
        documents = _analyse(task, _ledger(arguments), _pools(arguments), _answers(arguments, self.variables))
        document, path = documents["report"], Path(arguments["report"]).absolute()
        asked = len(documents["questions"]) if arguments["questions"] else 0
        passed = writing.last_passed(path, document, final=not asked)
        document.update({"last_passed_at": passed} if passed else {})
        if asked:
            task.keeper.flush()
        else:
            task.keeper.compared(document)
        problems = [
            write(
                option,
                Path(arguments[option]).absolute(),
                content,
                report_text(content) if option == "report" else None,
            )
            for option, content in documents.items()
            if arguments[option]
        ]
        problem = next(filter(None, problems), "")
        result: dict[str, t.Any] = {"changed": False, "report": str(path), "asked": asked, **_returned(document)}
        if not asked and not problem:
            result["files"], problem = _other_formats(document, path, formats)
        orders = {name: documents[name] for name in arguments["orders"]}
        result.update(task.fresh.returned(), orders=orders)
        if not asked:
            task.keeper.keep(document, orders)
            _show(document, path, result.get("files", {}))  # else the verdict is not final
        task.keeper.finish(result)
        problem = problem or ("" if asked else task.keeper.failure)  # with the answers it is tried again
        if problem:
            return {**result, "failed": True, "msg": problem}
        if arguments["enforce"] and not asked and document["verdict"] != PASS:
            raise negative(result)
        return result


@dataclass(frozen=True)
class _Task:
    """What one task works with."""

    arguments: Arguments
    accepted: tuple[waivers.Waiver, ...]
    now: datetime.datetime
    fresh: FreshLabels
    keeper: _run_keeper.RunKeeper
    #: Readings of these hosts, one after the other.
    readings: t.Callable[[t.Sequence[str]], t.Iterable[tuple[str, Snapshot | _snapshots.Unread]]]

    @classmethod
    def of(cls, arguments: Arguments, variables: t.Mapping[str, t.Any], now: datetime.datetime, check: bool) -> _Task:
        """Checks the arguments first. Raises SvirtError."""
        accepted = waivers.parse(arguments["waivers"])
        fresh = FreshLabels(arguments, now.timestamp(), check)
        inventory = _run_identity.inventory_of(arguments, variables)
        oldest = now.timestamp() - arguments["max_age"]
        if arguments["snapshots"]:
            collected = arguments["run"] if arguments["answers"] else ""
            keeper = _run_keeper.RunKeeper(arguments, inventory, now.timestamp(), collected, check)
            return cls(arguments, accepted, now, fresh, keeper, lambda hosts: _of_folder(arguments, hosts, oldest))
        # SQLAlchemy is not needed for an audit without a store.
        stored = importlib.import_module("ansible_collections.svirt.fleet.plugins.plugin_utils._run_readings")
        store = stored.store_of(arguments["store"])
        kind = arguments["run_kind"] or AUDIT
        run = stored.to_judge(store, arguments["run"], kind, inventory, oldest).id
        keeper = _run_keeper.RunKeeper(arguments, inventory, now.timestamp(), run, check, store)
        return cls(arguments, accepted, now, fresh, keeper, lambda hosts: stored.readings(store, run, hosts, oldest))


def _of_folder(
    arguments: Arguments, hosts: t.Sequence[str], oldest: float
) -> t.Iterator[tuple[str, Snapshot | _snapshots.Unread]]:
    for host in hosts:
        yield host, _snapshots.read(arguments["snapshots"], host, oldest)


def _answers(arguments: t.Mapping[str, t.Any], variables: t.Mapping[str, t.Any]) -> policy_answers.Answers | None:
    """Answers of the hosts' loaded policies; None: they were not asked."""
    name, hosts = arguments["answers"], variables.get("hostvars") or {}
    if not name:
        return None
    registered = {host: hosts[host].get(name) for host in sorted(set(arguments["hosts"])) if host in hosts}
    return policy_answers.read({host: answer for host, answer in registered.items() if answer is not None})


def _pools(arguments: t.Mapping[str, t.Any]) -> list[list[str]]:
    """Hosts between which guests migrate. Raises LabelDomainError."""
    return [list(domain.hosts) for domain in parse_domains(arguments["domains"]) if domain.migration]


def _ledger(arguments: t.Mapping[str, t.Any]) -> list[Row]:
    """Assigned labels; empty without a ledger."""
    if not arguments["ledger"]:
        return []
    # SQLAlchemy is not needed for an audit without a ledger.
    store = importlib.import_module("ansible_collections.svirt.fleet.plugins.plugin_utils._ledger")
    return list(store.ledger_rows(arguments["ledger"]))


def _analyse(
    task: _Task,
    ledger: t.Sequence[Row],
    pools: t.Sequence[t.Sequence[str]],
    answers: policy_answers.Answers | None,
) -> dict[str, dict[str, t.Any]]:
    """Content of the file that each option names: the report, and facts about other hosts that hardening needs.

    Snapshots are read one by one: only data for the comparison of hosts is kept.
    """
    arguments, now = task.arguments, task.now
    statements = parse_storage(arguments["storage"])
    settings = Settings(arguments["profile"], tuple(arguments["permissive_allowed"]))
    wanted = {name for name in (SHARED_USE, FRESH_LABELS) if arguments[name] or name in arguments["orders"]}
    results: list[report.HostResult] = []
    compared_hosts: list[across.ComparedHost] = []
    usages: list[shared_use.HostUsage] = []
    for name, reading in task.readings(sorted({str(host) for host in arguments["hosts"]})):
        task.keeper.read(reading, name, _received(arguments, name, now))
        result, compared = _host(name, reading, settings)
        results.append(result)
        compared_hosts += [compared] if compared else []
        if SHARED_USE in wanted and compared and isinstance(reading, Snapshot):
            usages.append(shared_use.usage(name, reading))
        if FRESH_LABELS in wanted and compared and isinstance(reading, Snapshot):
            task.fresh.read(name, reading)
    read = {compared.host for compared in compared_hosts}
    left_out = sorted(set(arguments["left_out"]) - {result.name for result in results})
    unread = [*(result.name for result in results if result.name not in read), *left_out]
    with _uncollected():
        fleet = across.judge(compared_hosts, unread, pools, ledger, answers, statements)
    document = report.build(results, fleet, task.accepted, arguments["fail_on"], now)
    document["fleet"]["left_out"] = left_out
    ranges = ((compared.range.drawn.low, compared.range.drawn.high) for compared in compared_hosts if compared.range)
    document["categories"] = category_map((guest for compared in compared_hosts for guest in compared.guests), ranges)
    return {
        "report": document,
        "shared_use": shared_use.documents(usages, unread, statements),
        "questions": dict(fleet.questions),
        "fresh_labels": task.fresh.orders(fleet.findings, unread, ledger) if FRESH_LABELS in wanted else {},
    }


def _received(arguments: Arguments, host: str, now: datetime.datetime) -> float:
    """When the controller received the snapshot of a host, by its file; else now."""
    try:
        return _snapshots.path_of(arguments["snapshots"], host).stat().st_mtime if arguments["snapshots"] else 0.0
    except OSError:
        return now.timestamp()


@contextlib.contextmanager
def _uncollected() -> t.Iterator[None]:
    """Disable garbage collection: all objects live to the end, and scanning them repeatedly is slow."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _host(
    name: str, reading: Snapshot | _snapshots.Unread, settings: Settings
) -> tuple[report.HostResult, across.ComparedHost | None]:
    if isinstance(reading, _snapshots.Unread):
        return report.unread(name, reading.why), None
    try:
        compared = across.compared_host(name, reading)
        return report.judged(judge(name, reading, settings), reading.coverage), compared
    except Exception as error:  # an error on one host's snapshot must not hide the other hosts
        why = f"the rules failed on its snapshot, which is a fault of this collection: {error!r}"
        Display().vvv(f"{name}: {why}")
        return report.unread(name, why[:500]), None


def _other_formats(document: dict[str, t.Any], path: Path, formats: t.Sequence[str]) -> tuple[dict[str, str], str]:
    """Write the report in the formats asked for. Returns their files, and the problem or an empty string."""
    if not formats:
        return {}, ""
    try:
        # Through JSON: what is shown is what a reader of the file gets.
        report_read = read_report(json.loads(json.dumps(document)))
        return writing.write_formats(report_read, path, path.parent, formats), ""
    except (ReportError, SchemaError) as error:
        return {}, str(error)


def _show(document: dict[str, t.Any], path: Path, files: t.Mapping[str, str]) -> None:
    display = Display()
    terminal = summary.Terminal(width=min(t.cast(int, display.columns), _MAX_WIDTH), colour=bool(color.ANSIBLE_COLOR))
    display.display("\n" + summary.render(document, str(path), terminal))
    if files:
        listed = ", ".join(text.escape(file) for file in files.values())
        display.display(f"In other formats: {listed}\n")
    left_out = document["fleet"]["left_out"]
    if left_out:
        names = words.some([text.escape(name) for name in left_out])
        display.display(f"Outside --limit, neither read nor compared: {names}.\n")


def _returned(document: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return values about the report; their size does not depend on the fleet."""
    hosts, findings = document["fleet"]["hosts"], document["fleet"]["findings"]
    listed = ", ".join(f"{count} {severity}" for severity, count in findings.items() if count) or "none"
    return {
        "verdict": document["verdict"],
        "counts": findings,
        "hosts": hosts,
        "msg": (
            f"verdict {document['verdict']}: {hosts['fail']} of {hosts['total']} hosts fail (fail_on is "
            f"{document['fail_on']}), {hosts['unknown']} unknown, {hosts['not_applicable']} not applicable; "
            f"findings: {listed}"
        ),
    }
