# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Short ways to ask the catalogue."""

from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Snapshot


def findings(snapshot: Snapshot, **settings: object) -> list[f.Finding]:
    """What all rules find."""
    return list(judge("kvm1", snapshot, f.Settings(**settings)).findings)  # type: ignore[arg-type]


def found(snapshot: Snapshot, **settings: object) -> list[tuple[str, str, str]]:
    """Rule, severity and subject of what all rules find."""
    return [(item.rule, item.severity, item.subject) for item in findings(snapshot, **settings)]


def status(snapshot: Snapshot, rule: str, **settings: object) -> str:
    """What one rule says of the host."""
    outcomes = judge("kvm1", snapshot, f.Settings(**settings)).outcomes  # type: ignore[arg-type]
    return next(outcome.status for outcome in outcomes if outcome.rule == rule)


def outcome(snapshot: Snapshot, rule: str) -> f.Outcome:
    """Outcome of one rule."""
    return next(item for item in judge("kvm1", snapshot, f.Settings()).outcomes if item.rule == rule)


def codes(snapshot: Snapshot, rule: str) -> tuple[str, ...]:
    """Codes of why a rule could not be judged."""
    return outcome(snapshot, rule).codes
