# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waivers: findings that the operator accepts, with a reason and until a day.

A waiver names one finding by its fingerprint, or a rule and a subject (on any host, or on one). It holds up to and
including its expiry date; after that day it waives nothing and is itself a finding, so no waiver is forgotten.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import datetime
import re
import typing as t
from dataclasses import dataclass

from ..errors import WaiverError
from ..snapshot.model import Snapshot
from .finding import Finding, Hit, Rule, Settings, Unsure, finding_of

FIELDS = ("fingerprint", "rule", "subject", "host", "reason", "expires")

_FINGERPRINT = re.compile(r"[0-9a-f]{16}\Z")
_RULE = re.compile(r"[A-Z]{3}-[0-9]{3}\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


@dataclass(frozen=True)
class Waiver:
    """One waiver. Either ``fingerprint`` is set, or ``rule`` and ``subject`` are."""

    index: int
    reason: str
    expires: datetime.date
    fingerprint: str | None = None
    rule: str | None = None
    subject: str | None = None
    host: str | None = None

    @property
    def target(self) -> str:
        """The waived finding or subject, as text."""
        if self.fingerprint:
            return f"finding {self.fingerprint}"
        return f"{self.rule} on {self.subject}" + (f" of {self.host}" if self.host else "")


@dataclass(frozen=True)
class AppliedWaivers:
    """Findings split by waivers. ``waived`` pairs each accepted finding with the waiver that accepts it."""

    active: tuple[Finding, ...]
    waived: tuple[tuple[Finding, Waiver], ...]
    #: Waivers in force that match no finding: the fault was repaired, or the waiver is misspelt.
    unused: tuple[Waiver, ...]


def _nothing(_snapshot: Snapshot, _settings: Settings) -> t.Iterable[Hit | Unsure]:
    return ()  # waivers belong to the operator, not to a host


RULE = Rule(
    id="WVR-001",
    title="A waiver has expired",
    severity="medium",
    scope="fleet",
    why="The fault was accepted until that day only. A waiver without an end would hide the fault for good.",
    fix="Repair the fault and remove the waiver, or decide again: give the waiver a new reason and date.",
    cost="none",
    needs=(),
    check=_nothing,
    unproved="needs no host: unit tests prove it",
)


def parse(items: t.Any) -> tuple[Waiver, ...]:
    """Waivers from the operator's list. Raises WaiverError for the first that cannot be understood."""
    if not isinstance(items, (list, tuple)):
        raise WaiverError(
            f"waivers: expected a list, found {type(items).__name__}; write one entry per waiver", "no_list"
        )
    return tuple(_waiver(index, item) for index, item in enumerate(items))


def apply(findings: t.Iterable[Finding], waivers: t.Iterable[Waiver], today: datetime.date) -> AppliedWaivers:
    """Split findings into accepted and active ones. Expired waivers add a finding each."""
    in_force: list[Waiver] = []
    active: list[Finding] = []
    for waiver in waivers:
        if waiver.expires < today:
            active.append(_expired(waiver))
        else:
            in_force.append(waiver)
    index = {_key(waiver): waiver for waiver in reversed(in_force)}  # of two equal waivers the first counts
    waived: list[tuple[Finding, Waiver]] = []
    used: set[int] = set()
    for finding in findings:
        matching = [index[key] for key in _keys(finding) if key in index]
        if matching:
            waived.append((finding, matching[0]))
            used.update(waiver.index for waiver in matching)
        else:
            active.append(finding)
    unused = tuple(waiver for waiver in in_force if waiver.index not in used)
    return AppliedWaivers(tuple(active), tuple(waived), unused)


def _key(waiver: Waiver) -> tuple[str | None, ...]:
    if waiver.fingerprint:
        return (waiver.fingerprint,)
    return (waiver.rule, waiver.subject, waiver.host)


def _keys(finding: Finding) -> tuple[tuple[str | None, ...], ...]:
    """Keys of the waivers that match this finding, the most specific first."""
    return (
        (finding.fingerprint,),
        (finding.rule, finding.subject, finding.host),
        (finding.rule, finding.subject, None),
    )


def _expired(waiver: Waiver) -> Finding:
    evidence = {"reason": waiver.reason, "expired": waiver.expires.isoformat()}
    key = "\0".join(str(part) for part in (*_key(waiver), waiver.expires))
    return finding_of(RULE, "", Hit(subject=f"waiver of {waiver.target}", key=key, evidence=evidence))


def _waiver(index: int, item: t.Any) -> Waiver:
    if not isinstance(item, dict):
        text = f"waivers[{index}]: expected fields such as rule and reason, found {_shown(item)}"
        raise WaiverError(text, "no_fields")
    unknown = sorted(str(name) for name in item if name not in FIELDS)
    if unknown:
        text = f"waivers[{index}]: unknown field {_shown(unknown[0])}; known are {', '.join(FIELDS)}"
        raise WaiverError(text, "unknown_field")
    texts = {name: _text(index, item, name) for name in FIELDS if name != "expires"}
    if not texts["reason"]:
        text = f"waivers[{index}]: reason is missing; say why the finding is accepted, for later readers"
        raise WaiverError(text, "no_reason")
    _named(index, texts)
    return Waiver(
        index=index,
        reason=texts["reason"],
        expires=_date(index, item.get("expires")),
        fingerprint=texts["fingerprint"],
        rule=texts["rule"],
        subject=texts["subject"],
        host=texts["host"],
    )


def _named(index: int, texts: dict[str, str | None]) -> None:
    """Check that it names one fingerprint and nothing else, or a rule and a subject."""
    mark, rule = texts["fingerprint"], texts["rule"]
    others = [name for name in ("rule", "subject", "host") if texts[name]]
    if mark:
        if others:
            text = f"waivers[{index}]: fingerprint and {others[0]} are both given; keep one way to name it"
            raise WaiverError(text, "named_twice")
        if not _FINGERPRINT.match(mark):
            raise WaiverError(
                f"waivers[{index}]: fingerprint {_shown(mark)} is not 16 hexadecimal digits; copy it "
                "from the finding in report.json",
                "bad_fingerprint",
            )
        return
    if not rule or not texts["subject"]:
        text = (
            f"waivers[{index}]: names {' and '.join(others) or 'nothing'}; give a fingerprint, or both rule and subject"
        )
        raise WaiverError(text, "not_named")
    if not _RULE.match(rule):
        raise WaiverError(f"waivers[{index}]: rule {_shown(rule)} is not an id such as GST-001", "bad_rule")


def _text(index: int, item: dict[t.Any, t.Any], name: str) -> str | None:
    value = item.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise WaiverError(f"waivers[{index}]: {name} is {_shown(value)}; expected text, put it in quotes", "no_text")
    return value.strip() if name == "reason" else value


def _date(index: int, value: t.Any) -> datetime.date:
    """YAML reads an unquoted date as a date already; JSON and quotes give text."""
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return datetime.date(value.year, value.month, value.day)
    if value is None:
        text = f"waivers[{index}]: expires is missing; give the last day on which it holds, as YYYY-MM-DD"
        raise WaiverError(text, "no_date")
    if isinstance(value, str) and _DATE.match(value):
        try:
            return datetime.date.fromisoformat(value)
        except ValueError:
            pass  # such as 2026-02-30: refused below like any other text
    raise WaiverError(f"waivers[{index}]: expires is {_shown(value)}; expected a date as YYYY-MM-DD", "bad_date")


def _shown(value: t.Any) -> str:
    return repr(value)[:80] if isinstance(value, (str, int, float, datetime.date)) else type(value).__name__
