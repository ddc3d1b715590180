# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of the fleet: every rule of rules/fleet.py over the comparison of all hosts.

Orphans on shared storage (orphans.py) complete a rule about one host, IMG-005.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ...allocate.ledger import Row
from ...facts.storage_statements import NOTHING, StorageStatements
from ...result import Reason
from .. import finding as f
from ..rules.fleet import ENGINES, LOCAL, MEETING, RULES, SHARED
from ..rules.image import ORPHAN
from . import orphans
from .comparison import ComparedHost, Comparison, compare_hosts, compared_host
from .labelled import Party
from .policy_answers import Answers

__all__ = ["LOCAL", "RULES", "SHARED", "ComparedHost", "Fleet", "Party", "compared_host", "judge"]


@dataclass(frozen=True)
class Fleet:
    """Results of the rules of the fleet."""

    findings: tuple[f.Finding, ...] = ()
    #: Unknown outcomes by host.
    outcomes: t.Mapping[str, tuple[f.Outcome, ...]] = field(default_factory=dict)
    #: Guests compared, each counted once.
    guests: int = 0
    equal_by_chance: int = 0
    expected_by_chance: float = 0.0
    #: By host, what to ask its loaded policy, as isolation_info takes it.
    questions: t.Mapping[str, list[dict[str, t.Any]]] = field(default_factory=dict)


def judge(
    compared_hosts: t.Sequence[ComparedHost],
    unread: t.Sequence[str] = (),
    pools: t.Sequence[t.Sequence[str]] = (),
    ledger: t.Sequence[Row] = (),
    answers: Answers | None = None,
    storage: StorageStatements = NOTHING,
) -> Fleet:
    """Apply every rule to all hosts. ``unread`` are hosts of the fleet that could not be read.

    ``pools`` list hosts that guests migrate between, ``ledger`` holds the allocated labels, and ``answers`` are the
    hosts' answers to the questions of an earlier call. ``storage`` are the operator's statements about storage;
    raises StorageStatementError where a proof contradicts them.
    """
    fleet = compare_hosts(compared_hosts, unread, pools, ledger, answers, storage)
    settled = orphans.settle([compared.stock for compared in compared_hosts], fleet.sharing, unread, fleet.groups)
    hits = ((rule, hit) for rule in RULES for hit in rule.check(fleet))
    findings = [f.finding_of(rule, hit.host, hit, hit.reach) for rule, hit in hits]
    findings += settled.findings
    return Fleet(
        tuple(sorted(findings, key=f.order)),
        _outcomes(compared_hosts, fleet, settled),
        len(fleet.guests),
        fleet.by_chance.equal,
        fleet.by_chance.expected,
        {
            host: [question.check() for question in questions]
            for host, questions in sorted(fleet.confirmation.questions.items())
        },
    )


def _outcomes(
    compared_hosts: t.Iterable[ComparedHost], fleet: Comparison, settled: orphans.Settled
) -> dict[str, tuple[f.Outcome, ...]]:
    """Unknown outcomes by host."""
    reach = fleet.open
    open_rules = [
        (rule, hosts, reach.doubt(hosts)) for rule, hosts in ((SHARED, reach.now), (MEETING, reach.once_moved)) if hosts
    ]
    outcomes: dict[str, tuple[f.Outcome, ...]] = {}
    for compared in compared_hosts:
        rules = (SHARED, LOCAL, MEETING, *([ENGINES] if compared.containers else []))
        doubts: dict[str, list[Reason]] = {rule.id: list(fleet.doubts.get(compared.host, ())) for rule in rules}
        for rule, hosts, doubt in open_rules:
            if compared.host in hosts:
                doubts[rule.id].append(doubt)
        doubts[ORPHAN.id] = list(settled.doubts_of(compared.host))
        unknown = tuple(f.unknown(rule_id, reasons) for rule_id, reasons in doubts.items() if reasons)
        if unknown:
            outcomes[compared.host] = unknown
    return outcomes
