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
from .labelled import Placed
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
        """The question as isolation_check takes it."""
        return {"source": self.source, "target": self.target, "class": "file", "permissions": ["read", "write"]}


@dataclass(frozen=True)
class Answers:
    """What hosts said: the status of each question, and why a host could not be asked."""

    given: t.Mapping[Question, tuple[str, str]] = field(default_factory=dict)
    failed: t.Mapping[str, str] = field(default_factory=dict)
    #: Why nobody was asked at all; empty when hosts were.
    why: str = _NOT_ASKED


def read(answers: t.Mapping[str, t.Any]) -> Answers:
    """By host, what a task with isolation_check returned. It is the hosts' word: nothing in it is taken for granted."""
    given: dict[Question, tuple[str, str]] = {}
    failed: dict[str, str] = {}
    for host, answer in answers.items():
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list):
            told = str(answer.get("msg") or "") if isinstance(answer, dict) else ""
            failed[host] = f"{host} could not be asked: {told[:300] or 'it gave no answer'}"
            continue
        for result in results[: 2 * MAX_PER_HOST]:
            one = _result(host, result)
            given.update([one] if one else [])
    return Answers(given, failed, "")


def _result(host: str, result: t.Any) -> tuple[Question, tuple[str, str]] | None:
    if not isinstance(result, dict):
        return None
    source, target, status = (result.get(name) for name in ("source", "target", "status"))
    if not (isinstance(source, str) and isinstance(target, str) and isinstance(status, str)):
        return None
    if max(len(source), len(target)) > MAX_TEXT:
        return None
    if status == "denied" and result.get("permissive"):
        status = "partly"  # such a denial is only written down
    return Question(host, source, target), (status, str(result.get("why") or "")[:300])


class Confirmation:
    """The groups' questions, within bounds, and what the answers make of each group."""

    def __init__(self, groups: t.Iterable[Group], answers: Answers | None = None) -> None:
        self._answers = answers or Answers()
        self._asked: dict[int, list[Question]] = {}
        self._full: set[int] = set()
        self.questions: dict[str, list[Question]] = defaultdict(list)
        on: dict[str, set[Question]] = defaultdict(set)
        for group in sorted(groups, key=_precedence):
            wanted = _pairs(group)
            fitting = [one for one in wanted if one in on[one.host] or len(on[one.host]) < MAX_PER_HOST]
            if wanted and not fitting:
                self._full.add(id(group))
            for one in fitting:
                if one not in on[one.host]:
                    on[one.host].add(one)
                    self.questions[one.host].append(one)
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
        asked = self._asked[id(group)]
        if self._answers.why:
            return ALGEBRA, self._answers.why
        if not asked:
            return ALGEBRA, _TOO_MANY if id(group) in self._full else _NOBODY
        heard = [self._answers.given[one] for one in asked if one in self._answers.given]
        if any(status in ("allowed", "partly") for status, _why in heard):
            return CONFIRMED, ""
        if len(heard) == len(asked) and all(status == "denied" for status, _why in heard):
            return DENIED, ""
        reasons = [f"the policy could not answer: {why}" for status, why in heard if status != "denied" and why]
        reasons += [self._answers.failed[one.host] for one in asked if one.host in self._answers.failed]
        return ALGEBRA, next(iter(reasons), "the host did not answer all that was asked")


def _precedence(group: Group) -> tuple[bool, bool, str, str]:
    """Sort key for a host's limited questions: shared storage, then one host, then containers."""
    return group.containers, group.reach != "E2", group.host, group.key


def _pairs(group: Group) -> list[Question]:
    """A few pairs of the group, with different labels and hosts as far as there are any."""
    found: dict[Question, None] = {}
    victims = [one for one in group.reached if one.file_label][: 4 * MAX_PER_GROUP]
    attackers = [one for one in group.reaching if one.context][: 4 * MAX_PER_GROUP]
    for one in attackers:
        for other in victims:
            if _reaches(group, one, other):
                found[Question(one.host, one.context, other.file_label)] = None
            if len(found) >= MAX_PER_GROUP:
                return list(found)
    return list(found)


def _reaches(group: Group, one: Placed, other: Placed) -> bool:
    """One edge of the graph: another guest, on the host or hosts that the class is about, at a level that is below."""
    if one.who == other.who or (one.host == other.host) != (group.reach == "E1"):
        return False
    if group.containers and one.kind == other.kind:
        return False
    return one.level.dominates(other.level)
