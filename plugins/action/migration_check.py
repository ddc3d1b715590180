# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether guests may migrate to a host, by the snapshots on the controller. The documentation is with the module."""

from __future__ import annotations

import time
import typing as t

from ansible.utils.display import Display

from ..module_utils._core.allocate import label_domains
from ..module_utils._core.audit.fleet import analysis as across
from ..module_utils._core.audit.text import escape
from ..module_utils._core.errors import PlanError
from ..module_utils._core.facts.storage import all_storage
from ..module_utils._core.facts.storage_statements import parse_storage
from ..module_utils._core.migrate import check
from ..module_utils._core.migrate.move import ALLOWED, REFUSED, UNKNOWN, MoveFleet
from ..plugin_utils import _snapshots
from ..plugin_utils._action import Arguments, ControllerAction, negative

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "snapshots": {"type": "path", "required": True},
    "hosts": {"type": "list", "elements": "str", "required": True},
    "guests": {"type": "list", "elements": "str", "required": True},
    "target": {"type": "str", "required": True},
    "domains": {"type": "list", "elements": "dict", "default": []},
    "storage": {"type": "list", "elements": "dict", "default": []},
    "max_age": {"type": "int", "default": 3600},
}
_WORDS = {ALLOWED: "yes", REFUSED: "no", UNKNOWN: "unknown"}


class ActionModule(ControllerAction):
    """Reads the snapshots of the folder, and answers for each guest."""

    ARGUMENTS = ARGUMENTS

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        if not arguments["guests"]:
            raise PlanError("guests is empty: give the names or uuids of the guests that are to migrate")
        answers = check.check(arguments["guests"], _fleet(arguments))
        counts = {verdict: sum(one.verdict == verdict for one in answers) for verdict in _WORDS}
        _show(answers)
        summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        result = {
            "changed": False,
            "answers": [one.document() for one in answers],
            "counts": counts,
            "msg": f"migration to {arguments['target']}: {summary}",
        }
        if counts[ALLOWED] < len(answers):
            raise negative(result)
        return result


def _fleet(arguments: t.Mapping[str, t.Any]) -> MoveFleet:
    """What the snapshots say. Whole ones are kept only of the target and of hosts that have one of the guests."""
    oldest = time.time() - arguments["max_age"]
    hosts = sorted({str(host) for host in arguments["hosts"]} | {arguments["target"]})
    named = label_domains.parse_domains(arguments["domains"])
    statements = parse_storage(arguments["storage"])
    compared_hosts, storage, kept, unread = [], [], {}, {}
    for host in hosts:
        reading = _snapshots.read(arguments["snapshots"], host, oldest)
        if isinstance(reading, _snapshots.Unread):
            unread[host] = reading.why
            continue
        compared_hosts.append(across.compared_host(host, reading))
        storage.append(all_storage(host, reading))
        if host == arguments["target"] or check.has_any(reading, arguments["guests"]):
            kept[host] = reading
    # Only named domains say where guests may not go.
    derived = label_domains.derive(
        [compared.storage for compared in compared_hosts], named, label_domains.NONE, statements
    )
    names = {one.name for one in named}
    domains = label_domains.by_host(domain for domain in derived if domain.name in names)
    return MoveFleet(arguments["target"], kept, compared_hosts, storage, unread, domains, statements)


def _show(answers: t.Iterable[check.MoveAnswer]) -> None:
    display = Display()
    for one in answers:
        where = f" from {one.source}" if one.source else ""
        display.display(f"{_WORDS[one.verdict]:<8} {escape(one.name or one.asked)}{where} to {one.target}")
        for objection in one.objections:
            display.display(f"         {_WORDS[objection.status]}: {escape(objection.reason.text)}")
