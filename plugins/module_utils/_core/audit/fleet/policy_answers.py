# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the loaded policy says of groups that reach one another: which questions to ask on which host, and what the
answers make of a finding.

The algebra compares categories; the policy also knows types, booleans and what is permissive. It is the attacker's host
that decides. Of each group a few pairs are asked about, and the worst answer counts: read or write allowed once is
reach. What was not answered leaves the finding as the algebra has it, with the reason.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass, field

from ...selinux.context import MAX_TEXT
from ..finding import FleetHit
from .labelled import Party
from .reach_now import Group

ALGEBRA = "algebra"
CONFIRMED = "confirmed by policy"
DENIED = "denied by policy"

#: Questions on one group, and on one host for all groups.
MAX_PER_GROUP = 4
MAX_PER_HOST = 200

_NOT_ASKED = "the loaded policy was not asked"
_TOO_MANY = f"its hosts have {MAX_PER_HOST} questions on other groups already"
_NOBODY = "the label of no process or of no file is known"


@dataclass(frozen=True)
class Question:
    """May a process with this label read or write a file with that label, on this host?"""

    host: str
    source: str
    target: str

    def check(self) -> dict[str, t.Any]:
        """The question as isolation_info takes it."""
        return {"source": self.source, "target": self.target, "class": "file", "permissions": ["read", "write"]}


@dataclass(frozen=True)
class Answers:
    """Answers of hosts: the status of each question, and why a host could not be asked."""

    statuses: t.Mapping[Question, tuple[str, str]] = field(default_factory=dict)
    failed: t.Mapping[str, str] = field(default_factory=dict)
    #: Why no host was asked; empty when hosts were.
    why: str = _NOT_ASKED


def read(answers: t.Mapping[str, t.Any]) -> Answers:
    """Read what isolation_info returned, by host. Hosts are not trusted: everything is checked."""
    statuses: dict[Question, tuple[str, str]] = {}
    failed: dict[str, str] = {}
    for host, answer in answers.items():
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list):
            message = str(answer.get("msg") or "") if isinstance(answer, dict) else ""
            failed[host] = f"{host} could not be asked: {message[:300] or 'it gave no answer'}"
            continue
        for result in results[: 2 * MAX_PER_HOST]:
            pair = _result(host, result)
            statuses.update([pair] if pair else [])
    return Answers(statuses, failed, "")


def _result(host: str, result: t.Any) -> tuple[Question, tuple[str, str]] | None:
    if not isinstance(result, dict):
        return None
    source, target, status = (result.get(name) for name in ("source", "target", "status"))
    if not (isinstance(source, str) and isinstance(target, str) and isinstance(status, str)):
        return None
    if max(len(source), len(target)) > MAX_TEXT:
        return None
    if status == "denied" and result.get("permissive"):
        status = "partly"  # such a denial is only logged
    return Question(host, source, target), (status, str(result.get("why") or "")[:300])


class Confirmation:
    """Questions about the groups, within bounds, and the decision on each group by the answers."""

    def __init__(self, groups: t.Iterable[Group], answers: Answers | None = None) -> None:
        self._answers = answers or Answers()
        self._asked: dict[int, list[Question]] = {}
        self._full: set[int] = set()
        self.questions: dict[str, list[Question]] = defaultdict(list)
        by_host: dict[str, set[Question]] = defaultdict(set)
        for group in sorted(groups, key=_precedence):
            questions = _pairs(group)
            fitting = [
                question
                for question in questions
                if question in by_host[question.host] or len(by_host[question.host]) < MAX_PER_HOST
            ]
            if questions and not fitting:
                self._full.add(id(group))
            for question in fitting:
                if question not in by_host[question.host]:
                    by_host[question.host].add(question)
                    self.questions[question.host].append(question)
            self._asked[id(group)] = fitting

    def hit(self, group: Group, **more: t.Any) -> FleetHit:
        """The group as a hit whose evidence says who decided."""
        decided, why = self._decide(group)
        evidence: dict[str, t.Any] = {"decided_by": decided, **({"unconfirmed_because": why} if why else {}), **more}
        if group.containers:
            severity = {CONFIRMED: "critical", DENIED: "info"}.get(decided)
        else:
            severity = "high" if decided == DENIED else None
        return group.hit(severity=severity, **evidence)

    def _decide(self, group: Group) -> tuple[str, str]:
        questions = self._asked[id(group)]
        if self._answers.why:
            return ALGEBRA, self._answers.why
        if not questions:
            return ALGEBRA, _TOO_MANY if id(group) in self._full else _NOBODY
        answers = [self._answers.statuses[question] for question in questions if question in self._answers.statuses]
        if any(status in ("allowed", "partly") for status, _why in answers):
            return CONFIRMED, ""
        if len(answers) == len(questions) and all(status == "denied" for status, _why in answers):
            return DENIED, ""
        reasons = [f"the policy could not answer: {why}" for status, why in answers if status != "denied" and why]
        reasons += [
            self._answers.failed[question.host] for question in questions if question.host in self._answers.failed
        ]
        return ALGEBRA, next(iter(reasons), "the host did not answer all that was asked")


def _precedence(group: Group) -> tuple[bool, bool, str, str]:
    """Sort key for a host's limited questions: shared storage, then one host, then containers."""
    return group.containers, group.reach != "E2", group.host, group.key


def _pairs(group: Group) -> list[Question]:
    """Questions on a few pairs of the group, with different labels and hosts where possible."""
    questions: dict[Question, None] = {}
    victims = [party for party in group.reached if party.file_label][: 4 * MAX_PER_GROUP]
    attackers = [party for party in group.reaching if party.context][: 4 * MAX_PER_GROUP]
    for attacker in attackers:
        for victim in victims:
            if _reaches(group, attacker, victim):
                questions[Question(attacker.host, attacker.context, victim.file_label)] = None
            if len(questions) >= MAX_PER_GROUP:
                return list(questions)
    return list(questions)


def _reaches(group: Group, attacker: Party, victim: Party) -> bool:
    """Whether the graph has this edge: another guest, on the hosts of the class, at a dominated level."""
    if attacker.identity == victim.identity or (attacker.host == victim.host) != (group.reach == "E1"):
        return False
    if group.containers and attacker.kind == victim.kind:
        return False
    return attacker.level.dominates(victim.level)
