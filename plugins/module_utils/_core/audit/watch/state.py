# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watch keeps from run to run, the lines that it logs, and its metrics.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field, fields

from ...words import and_more
from ..finding import FAIL, PASS, UNKNOWN
from ..metrics import Gauge, Sample, by_rule, lines
from ..report import VERDICTS
from ..report_model import ReportedFinding
from ..text import escape
from .guard_log import GuardCounts
from .settings import WatchSettings
from .verdict import RULES, OwnVerdict

#: Findings that are remembered, and that one line names.
_MAX_FINDINGS, _NAMED = 2000, 5
_MAX_LINE = 1000
#: Priorities of syslog.
WARNING, NOTICE = 4, 5


@dataclass(frozen=True)
class WatchState:
    """The last run."""

    #: Empty: there was none.
    verdict: str = ""
    since: float = 0.0
    changes: int = 0
    #: Fingerprints of the findings.
    findings: tuple[str, ...] = ()
    passed_at: float = 0.0
    guard: GuardCounts = field(default_factory=GuardCounts)

    def text(self) -> str:
        """The file."""
        return json.dumps({**vars(self), "guard": vars(self.guard)}, sort_keys=True) + "\n"


def read_state(text: str) -> WatchState:
    """The state in a file; the first one for anything else."""
    try:
        given = json.loads(text)
        guard = {item.name: _same_kind(given["guard"][item.name], item.default) for item in fields(GuardCounts)}
        plain = ("verdict", "since", "changes", "passed_at")
        values = {name: _same_kind(given[name], getattr(WatchState, name)) for name in plain}
        found = tuple(_same_kind(item, "") for item in given["findings"])
        return WatchState(**values, findings=found, guard=GuardCounts(**guard))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return WatchState()


def _same_kind(value: t.Any, example: t.Any) -> t.Any:
    if isinstance(value, bool) or not isinstance(value, (int, float) if isinstance(example, float) else type(example)):
        raise TypeError(value)
    return value


def after(before: WatchState, own: OwnVerdict, guard: GuardCounts, now: float) -> WatchState:
    """The state after a run."""
    changed = own.verdict != before.verdict
    return WatchState(
        own.verdict,
        now if changed else before.since,
        before.changes + (changed and bool(before.verdict)),
        tuple(finding.fingerprint for finding in own.findings[:_MAX_FINDINGS]) if own.read else before.findings,
        now if own.verdict == PASS else before.passed_at,
        guard,
    )


def log_lines(before: WatchState, own: OwnVerdict) -> t.Iterator[tuple[int, str]]:
    """Priority and text of what is logged: a change of the verdict, and findings that are new."""
    known = set(before.findings)
    new = [finding for finding in own.findings if finding.fingerprint not in known]
    if own.verdict == before.verdict and not new:
        return
    if own.verdict != before.verdict:
        start = f"verdict changed from {before.verdict} to {own.verdict}" if before.verdict else own.verdict
        start = start if before.verdict else f"verdict is {start}"
    else:
        start = f"verdict is still {own.verdict}"
    why = f" ({escape(own.why, ascii_only=True)})" if own.why else ""
    named = "; ".join(_shown(finding) for finding in new[:_NAMED])
    told = f": new {named}{and_more(len(new) - _NAMED)}" if new else ""
    yield (WARNING if own.verdict in (FAIL, UNKNOWN) else NOTICE), f"{start}{told}{why}"[:_MAX_LINE]


def _shown(finding: ReportedFinding) -> str:
    return f"{finding.rule} {finding.severity} {escape(finding.subject, ascii_only=True)[:120]}"


VERDICT = Gauge("watch_verdict", "Whether the host's own verdict is this one (1) or not (0).")
SINCE = Gauge("watch_verdict_since_timestamp_seconds", "Since when the host has this verdict.")
CHANGES = Gauge("watch_verdict_changes_total", "Changes of the verdict.", "counter")
SEVERITY = Gauge("watch_findings", "Active findings about this host, by severity.")
RULE = Gauge("watch_rule_findings", "Active findings about this host, by rule.")
WAIVED = Gauge("watch_waived_findings", "Findings accepted by a waiver.")
UNSURE = Gauge("watch_rules_unknown", "Rules that could not judge.")
GUESTS = Gauge("watch_guests_compared", "Running guests whose categories were compared.")
RUN = Gauge("watch_last_run_timestamp_seconds", "Time of the last run.")
PASSED = Gauge("watch_last_pass_timestamp_seconds", "Time of the last run that passed; 0 when none did.")
INTERVAL = Gauge("watch_interval_seconds", "Time between two runs.")
REFUSED = Gauge("watch_guard_refusals_total", "Guests that the guard refused.", "counter")
ALLOWED = Gauge(
    "watch_guard_allowed_collisions_total", "Guests that collide and that the guard let through.", "counter"
)
ERRORS = Gauge("watch_guard_errors_total", "Guests that the guard could not judge, and its other faults.", "counter")
READABLE = Gauge("watch_guard_log_readable", "Whether the guard's log could be read (1) or not (0).")


def metrics(settings: WatchSettings, state: WatchState, own: OwnVerdict, now: float, log_read: bool) -> str:
    """The metrics of one run."""
    samples = _samples(settings, state, own, now, log_read)
    return "".join(line for gauge, values in samples for line in lines(gauge, values))


def _samples(
    settings: WatchSettings, state: WatchState, own: OwnVerdict, now: float, log_read: bool
) -> t.Iterator[tuple[Gauge, list[Sample]]]:
    def single(value: float) -> list[Sample]:
        return [({}, float(value))]

    yield VERDICT, [({"verdict": name}, float(own.verdict == name)) for name in VERDICTS]
    yield SINCE, single(state.since)
    yield CHANGES, single(state.changes)
    if own.read:  # else nothing is known, and 0 would be a lie
        yield SEVERITY, [({"severity": name}, float(number)) for name, number in own.by_severity().items()]
        yield RULE, by_rule(own.by_rule, RULES)
        yield WAIVED, single(own.waived)
        yield UNSURE, single(own.unsure)
        yield GUESTS, single(own.guests)
    yield RUN, single(now)
    yield PASSED, single(state.passed_at)
    yield INTERVAL, single(settings.interval)
    guard = state.guard
    yield REFUSED, single(guard.refused)
    yield ALLOWED, single(guard.allowed)
    yield ERRORS, single(guard.errors)
    yield READABLE, single(log_read)
