# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the loaded policy through selinuxfs, with no library and no side effect.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import errno
import typing as t

from ..._core.selinux.policy_access import Answer, Check, ClassFacts, Verdict, parse_answer, verdict
from ..base.root import Root, label_of, reason, text_of

FS = "/sys/fs/selinux"
#: What a host without SELinux can say on any check.
OFF = "SELinux is off: no policy is loaded, so nothing is denied and nothing can be asked"


class LoadedPolicy:
    """The policy that the kernel has now."""

    def __init__(self, root: Root) -> None:
        self._root = root
        enforce = root.line(f"{FS}/enforce")
        # Without a policy the file system may be mounted, but nothing is decided.
        self.loaded = enforce is not None and root.line(f"{FS}/class/file/index") is not None
        self.enforcing = self.loaded and enforce == "1"
        self._classes: dict[str, ClassFacts] = {}
        self._answers: dict[tuple[str, str, str], Answer] = {}

    def verdicts(self, checks: t.Iterable[Check]) -> list[Verdict]:
        """The policy's word on each check; one that it cannot answer is unknown, with the reason."""
        return [self.verdict(check) for check in checks]

    def verdict(self, check: Check) -> Verdict:
        """The policy's word on one check."""
        if not self.loaded:
            return Verdict(check, problem=OFF)
        facts = self._class(check.tclass)
        answer = Answer() if facts.problem else self._ask(check.source, check.target, check.tclass, facts.index)
        return verdict(check, self._with_bits(facts, check), answer)

    def created(self, source: str, target: str, tclass: str) -> str | None:
        """The label that an object of this class gets when ``source`` makes it of ``target``; None: not known."""
        facts = self._class(tclass)
        try:
            answer = self._root.transact(f"{FS}/create", f"{source} {target} {facts.index}".encode())
        except OSError:
            return None
        return None if facts.problem else label_of(answer)

    def _class(self, name: str) -> ClassFacts:
        if name not in self._classes:
            try:
                index = int(self._root.peek(f"{FS}/class/{name}/index"))
                self._classes[name] = ClassFacts(index, {})
            except FileNotFoundError:
                self._classes[name] = ClassFacts(problem=f"the loaded policy has no class {name}")
            except (OSError, ValueError) as error:
                self._classes[name] = ClassFacts(problem=f"class {name} cannot be read: {reason(error)}")
        return self._classes[name]

    def _with_bits(self, facts: ClassFacts, check: Check) -> ClassFacts:
        """The class with the bits of what the check names; one that the policy lacks stays away."""
        fresh = {}
        for name in check.permissions:
            if facts.problem or name in facts.bits:
                continue
            try:
                fresh[name] = 1 << (int(self._root.peek(f"{FS}/class/{check.tclass}/perms/{name}")) - 1)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                return ClassFacts(problem=f"permission {name} of class {check.tclass} cannot be read: {reason(error)}")
        if fresh:
            facts = self._classes[check.tclass] = ClassFacts(facts.index, {**facts.bits, **fresh})
        return facts

    def _ask(self, source: str, target: str, tclass: str, index: int) -> Answer:
        key = (source, target, tclass)
        if key not in self._answers:
            self._answers[key] = self._question(source, target, index)
        return self._answers[key]

    def _question(self, source: str, target: str, index: int) -> Answer:
        try:
            return parse_answer(text_of(self._root.transact(f"{FS}/access", f"{source} {target} {index}".encode())))
        except OSError as error:
            return Answer(problem=_why(error, source, target))


def _why(error: OSError, source: str, target: str) -> str:
    if error.errno == errno.EINVAL:
        return f"the loaded policy knows no label {source} or no label {target}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "this process may not ask the loaded policy; run as root, in a domain that may compute access decisions"
    return f"the loaded policy did not answer: {reason(error)}"
