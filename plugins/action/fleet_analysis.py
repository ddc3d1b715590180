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
from ..module_utils._core.audit.rules.catalogue import judge
from ..module_utils._core.errors import ReportError, SchemaError
from ..module_utils._core.facts.storage_statements import parse_storage
from ..module_utils._core.harden import shared_use
from ..module_utils._core.snapshot.model import Snapshot
from ..plugin_utils import _snapshots
from ..plugin_utils import _tenants as tenants
from ..plugin_utils._action import Arguments, ControllerAction, negative, write
from ..plugin_utils._formats import writing
from ..plugin_utils._fresh_labels import FreshLabels

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "snapshots": {"type": "path", "required": True},
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
        now = datetime.datetime.now(datetime.UTC)
        accepted = waivers.parse(arguments["waivers"])
        formats = writing.chosen(arguments["formats"])
        ledger, pools = _ledger(arguments), _pools(arguments)
        fresh = FreshLabels(arguments, now.timestamp(), bool(self._task.check_mode))
        documents = _analyse(arguments, accepted, now, ledger, pools, _answers(arguments, self.variables), fresh)
        document, path = documents["report"], Path(arguments["report"]).absolute()
        asked = len(documents["questions"]) if arguments["questions"] else 0
        passed = writing.last_passed(path, document, final=not asked)
        document.update({"last_passed_at": passed} if passed else {})
        problems = [
            write(option, Path(arguments[option]).absolute(), content, indent=1)
            for option, content in documents.items()
            if arguments[option]
        ]
        problem = next(filter(None, problems), "")
        result: dict[str, t.Any] = {"changed": False, "report": str(path), "asked": asked, **_returned(document)}
        if not asked and not problem:
            result["files"], problem = _other_formats(document, path, formats)
        result.update(fresh.returned())
        if not asked:
            _show(document, path, result.get("files", {}))  # else the verdict is not final
        if problem:
            return {**result, "failed": True, "msg": problem}
        if arguments["enforce"] and not asked and document["verdict"] != PASS:
            raise negative(result)
        return result


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
    arguments: t.Mapping[str, t.Any],
    accepted: t.Sequence[waivers.Waiver],
    now: datetime.datetime,
    ledger: t.Sequence[Row],
    pools: t.Sequence[t.Sequence[str]],
    answers: policy_answers.Answers | None,
    fresh: FreshLabels,
) -> dict[str, dict[str, t.Any]]:
    """Content of the file that each option names: the report, and facts about other hosts that hardening needs.

    Snapshots are read one by one: only data for the comparison of hosts is kept.
    """
    statements = parse_storage(arguments["storage"])
    settings = Settings(arguments["profile"], tuple(arguments["permissive_allowed"]))
    oldest = now.timestamp() - arguments["max_age"]
    results: list[report.HostResult] = []
    views: list[across.View] = []
    usages: list[shared_use.HostUsage] = []
    for name in sorted({str(host) for host in arguments["hosts"]}):
        reading = _snapshots.read(arguments["snapshots"], name, oldest)
        result, view = _host(name, reading, settings)
        results.append(result)
        views += [view] if view else []
        if arguments["shared_use"] and view and isinstance(reading, Snapshot):
            usages.append(shared_use.usage(name, reading))
        if arguments["fresh_labels"] and view and isinstance(reading, Snapshot):
            fresh.read(name, reading)
    read = {view.host for view in views}
    left_out = sorted(set(arguments["left_out"]) - {result.name for result in results})
    unread = [*(result.name for result in results if result.name not in read), *left_out]
    with _uncollected():
        fleet = across.judge(views, unread, pools, ledger, answers, statements)
    document = report.build(results, fleet, accepted, arguments["fail_on"], now)
    document["fleet"]["left_out"] = left_out
    ranges = ((view.range.drawn.low, view.range.drawn.high) for view in views if view.range)
    document["categories"] = category_map((guest for view in views for guest in view.guests), ranges)
    return {
        "report": document,
        "shared_use": shared_use.documents(usages, unread, statements),
        "questions": dict(fleet.questions),
        "fresh_labels": fresh.orders(fleet.findings, unread, ledger) if arguments["fresh_labels"] else {},
    }


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
) -> tuple[report.HostResult, across.View | None]:
    if isinstance(reading, _snapshots.Unread):
        return report.unread(name, reading.why), None
    try:
        view = across.view(name, reading)
        return report.judged(judge(name, reading, settings), reading.coverage), view
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
