# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules as data, and their findings.

A rule is one pure function over a snapshot plus its texts. It yields a ``Hit`` for each subject with the fault and an
``Unsure`` for each that could not be judged. An unread subject never passes.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, field

from ..result import Reason
from ..snapshot.model import Snapshot, doc

T = t.TypeVar("T")

#: From worst to least.
SEVERITIES = ("critical", "high", "medium", "low", "info")
SCOPES = ("host", "guest", "image", "fleet", "network")
#: What a repair interrupts.
COSTS = {
    "none": "nothing is interrupted",
    "daemon_restart": "restart of the libvirt daemon; guests keep running",
    "guest_power_cycle": "power cycle of the guest",
    "reboot": "reboot of the host",
    "operator": "a decision by people",
}
PROFILES = ("local", "nfs", "ovirt")

#: Doubts of a rule in the text of its outcome.
MAX_DOUBTS = 5
#: Codes that are taken from one area of a snapshot.
MAX_CODES = 20

PASS = "pass"
FAIL = "fail"
UNKNOWN = "unknown"
NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True)
class Settings:
    """The operator's settings for the rules."""

    profile: str = "local"
    #: Process types that may stay permissive, beside those that the distributions ship so.
    permissive_allowed: tuple[str, ...] = ()
    #: What several rules need of the host that is judged, by name; each host begins with none.
    shared: dict[str, t.Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, name: str, compute: t.Callable[[], T]) -> T:
        """A value that several rules need of one host, computed by the first of them."""
        if name not in self.shared:
            self.shared[name] = compute()
        return t.cast("T", self.shared[name])


@dataclass(frozen=True)
class Hit:
    """A fault in one subject. ``key`` identifies the subject from run to run (a uuid, a path), for the fingerprint."""

    subject: str
    key: str
    evidence: dict[str, t.Any]
    cost: str | None = None
    fix: str | None = None
    severity: str | None = None
    #: What the repair must take account of in this situation; it goes before the repair.
    note: str = ""


@dataclass(frozen=True)
class FleetHit(Hit):
    """A fault that shows only when hosts are compared."""

    #: Empty for a fault that is not of one host.
    host: str = ""
    #: Class of reach, E1 to E4.
    reach: str | None = None


@dataclass(frozen=True)
class Unsure:
    """A subject that could not be judged, and why."""

    subject: str
    reason: Reason


@dataclass(frozen=True)
class RuleBase:
    """Texts and data of a rule, for reports and docs."""

    id: str
    title: str
    severity: str
    scope: str
    why: str
    fix: str
    cost: str
    #: Areas of the snapshot that the rule needs.
    needs: tuple[str, ...]
    check: t.Callable[..., t.Iterable[Hit | Unsure]]
    references: tuple[str, ...] = ()
    #: Areas of ``needs`` that need not exist on the host: the rule speaks all the same where it finds a fault.
    regardless: tuple[str, ...] = ()
    #: Why no fault can be injected in the lab, where that is so.
    unproved: str = ""


@dataclass(frozen=True)
class Rule(RuleBase):
    """Rule about one host. Its check takes the host's snapshot."""

    check: t.Callable[[Snapshot, Settings], t.Iterable[Hit | Unsure]]


@dataclass(frozen=True)
class Finding:
    """A fault, as the report has it."""

    rule: str = field(metadata=doc("id of the rule, for example GST-001"))
    severity: str = field(metadata=doc("critical, high, medium, low or info"))
    scope: str = field(metadata=doc("host, guest, image or fleet; network is kept for rules to come"))
    host: str = field(metadata=doc("inventory name of the host; empty for a finding that is not of one host"))
    subject: str = field(
        metadata=doc("what is wrong: a guest, an image, the host, a setting; the level for rules about reach")
    )
    title: str = field(metadata=doc("the rule's title"))
    evidence: dict[str, t.Any] = field(metadata=doc("raw values as read; which, depends on the rule"))
    fix: str = field(metadata=doc("how to repair it"))
    cost: str = field(
        metadata=doc(
            "what the repair interrupts: none, daemon_restart, guest_power_cycle, reboot, operator (people decide)"
        )
    )
    fingerprint: str = field(
        metadata=doc("16 hexadecimal digits that stay the same from run to run while the fault stands")
    )
    reach: str | None = field(
        default=None,
        metadata=doc(
            "only in findings about reach: E1 same host, E2 other host by shared labelled storage, E3 once guests "
            "meet, E4 by chance"
        ),
    )


@dataclass(frozen=True)
class Outcome:
    """Result of one rule on one host."""

    rule: str = field(metadata=doc("id of the rule"))
    status: str = field(metadata=doc("pass, fail, unknown or not_applicable"))
    why: str = field(default="", metadata=doc("the reason, for unknown and not_applicable"))
    codes: tuple[str, ...] = field(default=(), metadata=doc("the codes of the reasons, each once"))


def unknown(rule: str, doubts: t.Sequence[Reason]) -> Outcome:
    """Result of a rule that could not judge."""
    codes = tuple(dict.fromkeys(doubt.code for doubt in doubts))
    return Outcome(rule, UNKNOWN, "; ".join(doubt.text for doubt in doubts[:MAX_DOUBTS]), codes)


def fingerprint(rule: str, host: str, key: str) -> str:
    """Sixteen hexadecimal digits that name this fault on this subject."""
    text = "\0".join((rule, host, key))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def finding_of(rule: RuleBase, host: str, hit: Hit, reach: str | None = None) -> Finding:
    """The finding for a rule's hit on a host."""
    return Finding(
        rule=rule.id,
        severity=hit.severity or rule.severity,
        scope=rule.scope,
        host=host,
        subject=hit.subject,
        title=rule.title,
        evidence=hit.evidence,
        fix=" ".join(part for part in (hit.note, hit.fix or rule.fix) if part),
        cost=hit.cost or rule.cost,
        fingerprint=fingerprint(rule.id, host, hit.key),
        reach=reach,
    )


def at_least(severity: str, threshold: str) -> bool:
    """True when the severity is the threshold or worse."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(threshold)


def order(finding: Finding) -> tuple[int, str, str, str, str]:
    """Sort key: worst first, then by rule, host and subject."""
    rank = SEVERITIES.index(finding.severity)
    return rank, finding.rule, finding.host, finding.subject, finding.fingerprint
