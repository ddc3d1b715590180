# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the loaded policy, and what its answers mean: who may do what to which object.

Sources: the kernel's answer on /sys/fs/selinux/access, "allowed decided auditallow auditdeny seqno flags", of which
the first four are bit masks in hexadecimal; bit 0 of the flags says that the source's domain is permissive.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ..errors import LabelError, PlanError
from .context import parse_context

#: More than any host needs at once; each check costs the host one question.
MAX_CHECKS = 10_000
#: A class has at most this many permissions: they are bits of one 32-bit word.
MAX_PERMISSIONS = 32

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_PERMISSIVE = 1


@dataclass(frozen=True)
class Check:
    """May a process with this label do this to an object with that label?"""

    source: str
    target: str
    tclass: str = "file"
    permissions: tuple[str, ...] = ("read", "write")
    #: What the operator takes for granted: allowed, denied, or nothing.
    expect: str | None = None


@dataclass(frozen=True)
class Answer:
    """What the kernel said on one source, target and class; or why nothing is known."""

    allowed: int = 0
    permissive: bool = False
    problem: str = ""


@dataclass(frozen=True)
class ClassFacts:
    """A class of the loaded policy: its number, and the bit of each permission; or why they are not known."""

    index: int = 0
    bits: t.Mapping[str, int] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer to a check."""

    check: Check
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    #: The policy lets this domain do what it denies, and only writes it down. None when that is not known.
    permissive: bool | None = None
    #: Why nothing is known; empty when all is.
    problem: str = ""

    @property
    def status(self) -> str:
        """One word: ``allowed`` (all of it), ``denied`` (all of it), ``partly`` or ``unknown``."""
        if self.problem:
            return "unknown"
        if self.allowed and self.denied:
            return "partly"
        return "denied" if self.denied else "allowed"

    def broken(self, enforcing: bool) -> str:
        """Why the expectation is not met; empty when it is, when there is none, and when nothing is known."""
        if self.problem or self.check.expect is None:
            return ""
        if self.check.expect == "allowed":
            return f"denied: {', '.join(self.denied)}" if self.denied else ""
        if self.allowed:
            return f"allowed: {', '.join(self.allowed)}"
        if self.permissive:
            return "denied by the policy, but the domain is permissive: the denial is only logged"
        return "" if enforcing else "denied by the policy, but SELinux is permissive: the denial is only logged"


def parse_checks(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[Check]:
    """The checks as an operator gave them, with canonical labels. Raises PlanError that says which one is wrong."""
    if len(items) > MAX_CHECKS:
        raise PlanError(f"{len(items)} checks were given; at most {MAX_CHECKS} are taken in one call")
    return [_check(number, item) for number, item in enumerate(items)]


def parse_answer(text: str) -> Answer:
    """The kernel's answer; one of an unknown form is a problem, not a denial."""
    fields = text.split()
    try:
        return Answer(int(fields[0], 16), bool(int(fields[5], 16) & _PERMISSIVE))
    except (IndexError, ValueError):
        return Answer(problem=f"the kernel's answer {text[:80]!r} has an unknown form")


def verdict(check: Check, facts: ClassFacts, answer: Answer) -> Verdict:
    """What the answer says on the permissions of the check."""
    missing = [name for name in check.permissions if name not in facts.bits]
    problem = facts.problem or answer.problem
    if not problem and missing:
        problem = f"the loaded policy's class {check.tclass} has no permission {', '.join(missing)}"
    if problem:
        return Verdict(check, problem=problem)
    allowed = tuple(name for name in check.permissions if answer.allowed & facts.bits[name])
    denied = tuple(name for name in check.permissions if name not in allowed)
    return Verdict(check, allowed, denied, answer.permissive)


def report(verdicts: t.Sequence[Verdict], enforcing: bool) -> dict[str, t.Any]:
    """All verdicts as plain data: results, those that break their expectation, those unknown, and numbers."""
    results = [_document(index, item) for index, item in enumerate(verdicts)]
    broken = [(index, why) for index, item in enumerate(verdicts) if (why := item.broken(enforcing))]
    statuses = [item.status for item in verdicts]
    unknown = [{**_short(index, item), "why": item.problem} for index, item in enumerate(verdicts) if item.problem]
    return {
        "results": results,
        "violations": [{**_short(index, verdicts[index]), "why": why} for index, why in broken],
        "unknown": unknown,
        "summary": {
            "checks": len(verdicts),
            **{word: statuses.count(word) for word in ("allowed", "denied", "partly", "unknown")},
            "violations": len(broken),
            "unanswered": sum(1 for item in verdicts if item.problem and item.check.expect),
        },
    }


def _document(index: int, item: Verdict) -> dict[str, t.Any]:
    return {
        **_short(index, item),
        "permissions": list(item.check.permissions),
        "status": item.status,
        "allowed": list(item.allowed),
        "denied": list(item.denied),
        "permissive": item.permissive,
        "why": item.problem,
    }


def _short(index: int, item: Verdict) -> dict[str, t.Any]:
    check = item.check
    return {
        "index": index,
        "source": check.source,
        "target": check.target,
        "class": check.tclass,
        "expect": check.expect,
    }


def _check(number: int, item: t.Mapping[str, t.Any]) -> Check:
    where = f"check {number}"
    tclass = _name(item.get("class") or "file", f"{where}: class")
    permissions = tuple(dict.fromkeys(_name(name, f"{where}: permission") for name in item.get("permissions") or ()))
    if not 0 < len(permissions) <= MAX_PERMISSIONS:
        raise PlanError(f"{where} names {len(permissions)} permissions; give 1 to {MAX_PERMISSIONS}, such as read")
    source, target = (_label(item[side], f"{where}: {side}") for side in ("source", "target"))
    return Check(source, target, tclass, permissions, item.get("expect"))


def _name(text: str, what: str) -> str:
    if not _NAME.match(text):
        raise PlanError(f"{what} {text[:80]!r} is no name of a policy; expected small letters, digits and underscores")
    return text


def _label(text: str, what: str) -> str:
    try:
        return str(parse_context(text))
    except LabelError as error:
        raise PlanError(f"{what}: {error}") from error
