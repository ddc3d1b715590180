# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access queries to the loaded policy, and the meaning of its answers.

Sources: the kernel's answer on /sys/fs/selinux/access, "allowed decided auditallow auditdeny seqno flags", of which
the first four are bit masks in hexadecimal; bit 0 of the flags says that the source's domain is permissive.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ..errors import LabelError, PlanError
from ..result import Reason
from .context import parse_context

#: More than any host needs at once; each check costs the host one question.
MAX_CHECKS = 10_000
#: A class has at most this many permissions: they are bits of one 32-bit word.
MAX_PERMISSIONS = 32

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_PERMISSIVE = 1


@dataclass(frozen=True)
class Check:
    """Query: may a process with the label ``source`` do this to an object with the label ``target``?"""

    source: str
    target: str
    tclass: str = "file"
    permissions: tuple[str, ...] = ("read", "write")
    #: What the operator expects: allowed, denied, or nothing.
    expect: str | None = None


@dataclass(frozen=True)
class AccessVector:
    """The kernel's answer for one source, target and class; or why there is none."""

    allowed: int = 0
    permissive: bool = False
    problem: Reason | None = None


@dataclass(frozen=True)
class PolicyClass:
    """A class of the loaded policy: its number, and the bit of each permission; or why they are not known."""

    index: int = 0
    bits: t.Mapping[str, int] = field(default_factory=dict)
    problem: Reason | None = None


@dataclass(frozen=True)
class AccessVerdict:
    """The answer to a check."""

    check: Check
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    #: The domain is permissive: what is denied is only logged. None: unknown.
    permissive: bool | None = None
    #: Why the answer is unknown; None where it is known.
    problem: Reason | None = None

    @property
    def status(self) -> str:
        """One word: ``allowed`` (all of it), ``denied`` (all of it), ``partly`` or ``unknown``."""
        if self.problem:
            return "unknown"
        if self.allowed and self.denied:
            return "partly"
        return "denied" if self.denied else "allowed"

    def violation(self, enforcing: bool) -> Reason | None:
        """Why the expectation is not met; None when it is met, when there is none, and when the answer is unknown."""
        if self.problem or self.check.expect is None:
            return None
        if self.check.expect == "allowed":
            return Reason("denied", f"denied: {', '.join(self.denied)}") if self.denied else None
        if self.allowed:
            return Reason("allowed", f"allowed: {', '.join(self.allowed)}")
        if self.permissive:
            why = "denied by the policy, but the domain is permissive: the denial is only logged"
            return Reason("domain_permissive", why)
        if enforcing:
            return None
        return Reason("host_permissive", "denied by the policy, but SELinux is permissive: the denial is only logged")


def parse_checks(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[Check]:
    """The operator's checks, with canonical labels. Raises PlanError that names the wrong one."""
    if len(items) > MAX_CHECKS:
        raise PlanError(f"{len(items)} checks were given; the limit is {MAX_CHECKS} in one call", "too_many_checks")
    return [_check(number, item) for number, item in enumerate(items)]


def parse_answer(text: str) -> AccessVector:
    """The kernel's answer; an unknown form is a problem, not a denial."""
    fields = text.split()
    try:
        return AccessVector(int(fields[0], 16), bool(int(fields[5], 16) & _PERMISSIVE))
    except (IndexError, ValueError):
        why = f"the kernel's answer {text[:80]!r} has an unknown form"
        return AccessVector(problem=Reason("answer_malformed", why))


def verdict(check: Check, facts: PolicyClass, answer: AccessVector) -> AccessVerdict:
    """The answer for the permissions of the check."""
    missing = [name for name in check.permissions if name not in facts.bits]
    problem = facts.problem or answer.problem
    if not problem and missing:
        why = f"the loaded policy's class {check.tclass} has no permission {', '.join(missing)}"
        problem = Reason("permission_unknown", why)
    if problem:
        return AccessVerdict(check, problem=problem)
    allowed = tuple(name for name in check.permissions if answer.allowed & facts.bits[name])
    denied = tuple(name for name in check.permissions if name not in allowed)
    return AccessVerdict(check, allowed, denied, answer.permissive)


def report(verdicts: t.Sequence[AccessVerdict], enforcing: bool) -> dict[str, t.Any]:
    """Return values: all results, the violated expectations, the unknown answers, and counts."""
    broken = [(index, why) for index, item in enumerate(verdicts) if (why := item.violation(enforcing))]
    statuses = [item.status for item in verdicts]
    return {
        "results": [_document(index, item) for index, item in enumerate(verdicts)],
        "violations": [_with_reason(index, verdicts[index], why) for index, why in broken],
        "unknown": [_with_reason(index, item, item.problem) for index, item in enumerate(verdicts) if item.problem],
        "summary": {
            "checks": len(verdicts),
            **{word: statuses.count(word) for word in ("allowed", "denied", "partly", "unknown")},
            "violations": len(broken),
            "unanswered": sum(1 for item in verdicts if item.problem and item.check.expect),
        },
    }


def _document(index: int, item: AccessVerdict) -> dict[str, t.Any]:
    return {
        **_short(index, item),
        "permissions": list(item.check.permissions),
        "status": item.status,
        "allowed": list(item.allowed),
        "denied": list(item.denied),
        "permissive": item.permissive,
        "why": str(item.problem or ""),
        "code": item.problem.code if item.problem else "",
    }


def _with_reason(index: int, item: AccessVerdict, why: Reason) -> dict[str, t.Any]:
    return {**_short(index, item), "why": why.text, "code": why.code}


def _short(index: int, item: AccessVerdict) -> dict[str, t.Any]:
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
        why = f"{where} names {len(permissions)} permissions; give 1 to {MAX_PERMISSIONS}, such as read"
        raise PlanError(why, "permission_count")
    source, target = (_label(item[side], f"{where}: {side}") for side in ("source", "target"))
    return Check(source, target, tclass, permissions, item.get("expect"))


def _name(text: str, what: str) -> str:
    if not _NAME.match(text):
        why = f"{what} {text[:80]!r} is not a name in a policy; expected lower-case letters, digits and underscores"
        raise PlanError(why, "name_malformed")
    return text


def _label(text: str, what: str) -> str:
    try:
        return str(parse_context(text))
    except LabelError as error:
        raise PlanError(f"{what}: {error}", error.code) from error
