# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Result of a module that changes a host: steps, what waits, what was refused, each with a reason that has a code.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

#: Code of a reason that is an error which nobody foresaw.
UNEXPECTED = "unexpected_error"


@dataclass(frozen=True)
class Reason:
    """Why something is refused, waits or is unknown.

    ``code`` is for programs and tests: lower-case words joined by underscores, stable between releases. ``text`` is
    for the operator; its wording may change.
    """

    code: str
    text: str

    def __str__(self) -> str:
        return self.text

    def about(self, subject: str) -> Reason:
        """The same reason, with its subject before its text."""
        return Reason(self.code, f"{subject}: {self.text}")


@dataclass(frozen=True)
class Refusal:
    """An object that is left as it is."""

    subject: str
    reason: Reason

    def as_dict(self) -> dict[str, str]:
        """Entry of the return value ``refused`` or ``not_made``."""
        return {"subject": self.subject, "why": self.reason.text, "code": self.reason.code}


@dataclass(frozen=True)
class Pending:
    """An object that reaches its state only after something else: a reboot, a restart, a power cycle."""

    subject: str
    #: ``reboot``, ``daemon_restart``, ``power_cycle``, ...
    needs: str
    reason: Reason

    def as_dict(self) -> dict[str, str]:
        """Entry of the return value ``pending``."""
        return {"subject": self.subject, "needs": self.needs, "why": self.reason.text, "code": self.reason.code}


@dataclass(frozen=True)
class Step:
    """One change, as the plan shows it. ``before`` and ``after`` are plain data; None: absent."""

    action: str
    subject: str
    before: t.Any
    after: t.Any
    #: Further keys of the entry, such as ``where``.
    extra: dict[str, t.Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, t.Any]:
        """Entry of the return value ``plan``."""
        return {"action": self.action, "subject": self.subject, "from": self.before, "to": self.after, **self.extra}


@dataclass
class Result:
    """What a module did, or in check mode would do."""

    before: t.Any
    after: t.Any
    plan: list[Step] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    #: Steps of the plan that failed; the rest was done.
    not_made: list[Refusal] = field(default_factory=list)
    #: Further return values of the module.
    extra: dict[str, t.Any] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether at least one step was done, or would be."""
        return len(self.plan) > len(self.not_made)

    def as_dict(self) -> dict[str, t.Any]:
        """The return values."""
        values: dict[str, t.Any] = {
            "changed": self.changed,
            "before": self.before,
            "after": self.after,
            "plan": [step.as_dict() for step in self.plan],
            "pending": [entry.as_dict() for entry in self.pending],
            "refused": [entry.as_dict() for entry in self.refused],
        }
        if self.not_made:
            values["not_made"] = [entry.as_dict() for entry in self.not_made]
        return {**values, **self.extra}
