# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All rules about one host, and their results for a snapshot.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ...result import Reason
from ...snapshot.model import NOT_APPLICABLE, OK, Coverage, Snapshot
from .. import finding as f
from .guest import RULES as GUEST_RULES
from .image import RULES as IMAGE_RULES
from .libvirt import RULES as LIBVIRT_RULES
from .network import RULES as NETWORK_RULES
from .selinux import RULES as HOST_RULES

_XEN = Reason("xen", "under Xen guests are held by FLASK, not by sVirt")

#: In the order of their ids.
RULES: tuple[f.Rule, ...] = (*HOST_RULES, *LIBVIRT_RULES, *GUEST_RULES, *IMAGE_RULES, *NETWORK_RULES)


@dataclass(frozen=True)
class Judgement:
    """Results of all rules for one host."""

    host: str
    outcomes: tuple[f.Outcome, ...]
    findings: tuple[f.Finding, ...]


def judge(name: str, snapshot: Snapshot, settings: f.Settings, rules: t.Iterable[f.Rule] = RULES) -> Judgement:
    """Apply the rules to one snapshot. ``name`` is the host's name in the inventory."""
    outcomes: list[f.Outcome] = []
    findings: list[f.Finding] = []
    settings = replace(settings, shared={})
    for rule in rules:
        outcome, hits = _apply(rule, name, snapshot, settings)
        outcomes.append(outcome)
        findings.extend(hits)
    return Judgement(name, tuple(outcomes), tuple(sorted(findings, key=f.order)))


def _apply(rule: f.Rule, name: str, snapshot: Snapshot, settings: f.Settings) -> tuple[f.Outcome, list[f.Finding]]:
    if snapshot.xen is not None and "xen" not in rule.needs:
        return f.Outcome(rule.id, f.NOT_APPLICABLE, _XEN.text, (_XEN.code,)), []
    lacking = [snapshot.coverage[area] for area in rule.needs if snapshot.coverage[area].status != OK]
    absent = {area: snapshot.coverage[area] for area in rule.needs if _is_absent(snapshot, area)}
    if set(absent) - set(rule.regardless):
        return _not_applicable(rule, absent), []
    # An area that was read in part may still show faults: they are reported, and the rest stays unknown.
    results = [_where_libvirt_is(rule, snapshot, result) for result in rule.check(snapshot, settings)]
    hits = [f.finding_of(rule, name, result) for result in results if isinstance(result, f.Hit)]
    if absent and not hits:
        return _not_applicable(rule, absent), []
    unsure = [result for result in results if isinstance(result, f.Unsure)]
    doubts = [area.why for area in lacking] + [f"{result.subject}: {result.reason}" for result in unsure]
    codes = [code for area in lacking for code in area.codes[: f.MAX_CODES]]
    codes += [result.reason.code for result in unsure]
    status = f.FAIL if hits else f.UNKNOWN if doubts else f.PASS
    return f.Outcome(rule.id, status, "; ".join(doubts[: f.MAX_DOUBTS]), tuple(dict.fromkeys(codes))), hits


def _not_applicable(rule: f.Rule, absent: t.Mapping[str, Coverage]) -> f.Outcome:
    """Result of a rule about an area that the host does not have; the first such area is the reason."""
    first = next(iter(absent.values()))
    return f.Outcome(rule.id, f.NOT_APPLICABLE, first.why, tuple(first.codes[: f.MAX_CODES]))


def _where_libvirt_is(rule: f.Rule, snapshot: Snapshot, result: f.Hit | f.Unsure) -> f.Hit | f.Unsure:
    """Append to a repair of libvirt itself that it belongs into the container of the daemon."""
    daemon = snapshot.libvirt.daemon
    if isinstance(result, f.Unsure) or rule not in LIBVIRT_RULES or daemon is None or daemon.own_files is False:
        return result
    note = (
        f"{daemon.name} (pid {daemon.pid}) reads files of its own, as in a container: do this where these are deployed "
        "from, not on the host."
    )
    return replace(result, note=" ".join(part for part in (note, result.note) if part))


def _is_absent(snapshot: Snapshot, area: str) -> bool:
    return snapshot.coverage[area].status == NOT_APPLICABLE
