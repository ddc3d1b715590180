# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access queries to the loaded policy through selinuxfs, without libselinux and without side effects.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import errno
import typing as t

from ..._core.result import Reason
from ..._core.selinux.policy_access import AccessVector, AccessVerdict, Check, PolicyClass, parse_answer, verdict
from .root import Root, label_of, reason, text_of

FS = "/sys/fs/selinux"
#: The answer to every check on a host without SELinux.
OFF = Reason("selinux_off", "SELinux is off: no policy is loaded, so nothing is denied and nothing can be asked")
#: Problems of one query; any other would meet every query.
_OF_ONE_QUERY = frozenset(("label_unknown", "class_unknown", "permission_unknown"))


class LoadedPolicy:
    """The policy that the kernel enforces now. Each query is sent once."""

    def __init__(self, root: Root) -> None:
        self._root = root
        enforce = root.line(f"{FS}/enforce")
        # Without a policy the file system may be mounted, but nothing is decided.
        self.loaded = enforce is not None and root.line(f"{FS}/class/file/index") is not None
        self.enforcing = self.loaded and enforce == "1"
        #: Whether the policy has levels; None: unknown.
        self.mls = {"0": False, "1": True}.get(root.line(f"{FS}/mls") or "") if self.loaded else None
        #: Why the policy could not be asked, other than that it lacks a label, class or permission.
        self.problem: Reason | None = None if self.loaded else OFF
        self._classes: dict[str, PolicyClass] = {}
        self._answers: dict[tuple[str, str, str], AccessVector] = {}

    def verdicts(self, checks: t.Iterable[Check]) -> list[AccessVerdict]:
        """The policy's answer to each check; unknown, with the reason, where it has none."""
        return [self.verdict(check) for check in checks]

    def verdict(self, check: Check) -> AccessVerdict:
        """The policy's answer to one check."""
        if not self.loaded:
            return AccessVerdict(check, problem=OFF)
        facts = self._class(check.tclass)
        answer = AccessVector() if facts.problem else self._ask(check.source, check.target, check.tclass, facts.index)
        result = verdict(check, self._with_bits(facts, check), answer)
        self._note(result.problem)
        return result

    def may(self, source: str, target: str, permission: str) -> bool | None:
        """Whether a process may do this to a file; None: unknown."""
        result = self.verdict(Check(source, target, "file", (permission,)))
        return None if result.problem else bool(result.allowed)

    def permissive(self, source: str) -> AccessVerdict:
        """Whether a domain is permissive; unknown where the policy does not know the label."""
        return self.verdict(Check(source, source, "file", ("read",)))

    def lacks(self, label: str) -> bool:
        """Whether the policy does not know the label; False as well where it could not be asked."""
        problem = self.permissive(label).problem
        return problem is not None and problem.code == "label_unknown"

    def label(self, type_: str, level: str, role: str = "system_r") -> str:
        """A label of a type; without the level where the policy has none."""
        return f"system_u:{role}:{type_}" if self.mls is False else f"system_u:{role}:{type_}:{level}"

    def created(self, source: str, target: str, tclass: str) -> str | None:
        """The label of an object of this class that ``source`` creates from ``target``; None: unknown."""
        facts = self._class(tclass)
        try:
            answer = self._root.transact(f"{FS}/create", f"{source} {target} {facts.index}".encode())
        except OSError:
            return None
        return None if facts.problem else label_of(answer)

    def _note(self, problem: Reason | None) -> None:
        if problem is not None and problem.code not in _OF_ONE_QUERY and self.problem is None:
            self.problem = problem

    def _class(self, name: str) -> PolicyClass:
        if name not in self._classes:
            self._classes[name] = self._read_class(name)
        return self._classes[name]

    def _read_class(self, name: str) -> PolicyClass:
        try:
            return PolicyClass(int(self._root.peek(f"{FS}/class/{name}/index")), {})
        except FileNotFoundError:
            return PolicyClass(problem=Reason("class_unknown", f"the loaded policy has no class {name}"))
        except (OSError, ValueError) as error:
            return PolicyClass(problem=Reason("class_unreadable", f"class {name} cannot be read: {reason(error)}"))

    def _with_bits(self, facts: PolicyClass, check: Check) -> PolicyClass:
        """The class with the bits of the check's permissions; those that the policy lacks are left out."""
        fresh = {}
        for name in check.permissions:
            if facts.problem or name in facts.bits:
                continue
            try:
                fresh[name] = 1 << (int(self._root.peek(f"{FS}/class/{check.tclass}/perms/{name}")) - 1)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                why = f"permission {name} of class {check.tclass} cannot be read: {reason(error)}"
                return PolicyClass(problem=Reason("class_unreadable", why))
        if fresh:
            facts = self._classes[check.tclass] = PolicyClass(facts.index, {**facts.bits, **fresh})
        return facts

    def _ask(self, source: str, target: str, tclass: str, index: int) -> AccessVector:
        key = (source, target, tclass)
        if key not in self._answers:
            self._answers[key] = self._query(source, target, index)
        return self._answers[key]

    def _query(self, source: str, target: str, index: int) -> AccessVector:
        request = f"{source} {target} {index}".encode("utf-8", "surrogateescape")
        try:
            return parse_answer(text_of(self._root.transact(f"{FS}/access", request)))
        except OSError as error:
            return AccessVector(problem=_why(error, source, target))


def _why(error: OSError, source: str, target: str) -> Reason:
    if error.errno == errno.EINVAL:
        return Reason("label_unknown", f"the loaded policy knows no label {source} or no label {target}")
    if error.errno in (errno.EACCES, errno.EPERM):
        why = "this process may not ask the loaded policy; run as root, in a domain that may compute access decisions"
        return Reason("asking_denied", why)
    return Reason("no_answer", f"the loaded policy did not answer: {reason(error)}")
