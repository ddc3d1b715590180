# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML page for people: no network, and nothing in it that a strict content policy refuses.

The page can be read without its script, which adds filter, sorting and folding. Texts are bounded by their share of the
page, so that a page about 10,000 hosts has at most 5 MB.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import typing as t
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from ...module_utils._core.audit import waivers
from ...module_utils._core.audit.finding import COSTS, NOT_APPLICABLE, UNKNOWN
from ...module_utils._core.audit.fleet import analysis
from ...module_utils._core.audit.report_model import Report, ReportedFinding
from ...module_utils._core.audit.rules import catalogue
from ...module_utils._core.audit.text import visible_text
from ...module_utils._core.snapshot.model import AREAS, OK
from . import html_assets, pictures
from .answer import QUESTION, VERDICT_WORDS, answer, by_rule, changes, doubts, many, value_text, where

#: Characters of the page that evidence, names, and reasons may take in all.
_ROOM = 900_000
#: Longest text of each kind, whatever room there is.
_MAX_TEXT = 600
#: Findings and waived findings that are listed; report.json has the others.
_MAX_LISTED = 20_000
#: Groups of findings that are unfolded at first.
_UNFOLDED = 3


@dataclass(frozen=True)
class FindingRow:
    """A finding in a table."""

    host: str
    subject: str
    reach: str
    evidence: str
    fingerprint: str


@dataclass(frozen=True)
class FindingGroup:
    """Findings of one rule and severity."""

    rule: str
    severity: str
    title: str
    why: str
    rows: Sequence[FindingRow]
    repairs: Sequence[tuple[str, str]]
    unfolded: bool


@dataclass(frozen=True)
class NotKnown:
    """Why something is not known, and of how many hosts."""

    what: str
    why: str
    hosts: int
    names: str


def render(report: Report) -> str:
    """The page."""
    return _template().render(_values(report)) + "\n"


@functools.cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters["fit"] = fit
    return environment.from_string(html_assets.TEMPLATE)


def _values(report: Report) -> dict[str, t.Any]:
    listed = report.findings[:_MAX_LISTED]
    return {
        "policy": _policy(),
        "style": Markup(html_assets.STYLE),  # noqa: S704  # our own text
        "script": Markup(html_assets.SCRIPT),  # noqa: S704  # our own text
        "question": QUESTION,
        "answer": answer(report),
        "report": report,
        "words": VERDICT_WORDS,
        "groups": _groups(listed),
        "unlisted": len(report.findings) - len(listed),
        "omitted": sorted(report.omitted_by_rule.items()),
        "changes": changes(report),
        "unlisted_changes": _unlisted_changes(report),
        "waived": report.waived[:_MAX_LISTED],
        "waived_unlisted": max(0, len(report.waived) - _MAX_LISTED),
        "room": _share(len(report.waived)),
        "host_room": _share(len(report.hosts)),
        "coverage": _coverage(report),
        "doubts": _doubts(report),
        "reach": pictures.reach(report),
        "map": pictures.category_picture(report),
        "where": where,
        "many": many,
    }


def _unlisted_changes(report: Report) -> int:
    counts = report.since.counts if report.since else None
    return counts.new + counts.gone - len(changes(report)) if counts else 0


def _policy() -> str:
    """The content policy: this style and this script, and nothing else."""
    hashes = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("style", html_assets.STYLE), ("script", html_assets.SCRIPT))
    }
    allowed = "; ".join(f"{name}-src 'sha256-{digest}'" for name, digest in hashes.items())
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _shown(value: t.Any) -> t.Any:
    """A value of the template: texts with what is not printed made visible."""
    return visible_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _share(number: int) -> int:
    return min(_MAX_TEXT, _ROOM // max(number, 1))


def fit(text: str, room: int) -> str:
    """The text, of which the page gets no more characters than there is room for, escapes included."""
    shown = visible_text(text)[: room + 1]
    if len(escape(shown)) <= room:
        return shown
    while shown and len(escape(shown)) >= room:
        shown = shown[: len(shown) * 3 // 4]
    return shown + "…"


def _groups(findings: Sequence[ReportedFinding]) -> list[FindingGroup]:
    rules = {rule.id: rule for rule in (*catalogue.RULES, *analysis.RULES, waivers.RULE)}
    room = _share(len(findings))
    made: list[FindingGroup] = []
    for (rule, severity), members in by_rule(findings).items():
        known = rules.get(rule)
        repairs = list(dict.fromkeys((one.fix, COSTS[one.cost]) for one in members))[:20]
        rows = [_row(one, room) for one in members]
        why = known.why if known else ""
        made.append(FindingGroup(rule, severity, members[0].title, why, rows, repairs, len(made) < _UNFOLDED))
    return made


def _row(finding: ReportedFinding, room: int) -> FindingRow:
    words = "; ".join(f"{name.replace('_', ' ')}: {value_text(value)}" for name, value in _evidence(finding))
    subject = fit(finding.subject, min(room, 200))
    return FindingRow(
        fit(where(finding), min(room, 120)), subject, finding.reach or "", fit(words, room), finding.fingerprint
    )


def _evidence(finding: ReportedFinding) -> list[tuple[str, t.Any]]:
    """What the row does not show already."""
    shown: tuple[t.Any, ...] = (finding.subject, finding.host)
    return [(name, value) for name, value in finding.evidence.items() if value not in shown]


def _coverage(report: Report) -> list[tuple[str, int, int, int]]:
    """By area, how many hosts it was read of, not known of, and does not apply to."""
    counts = {area: Counter[str]() for area in AREAS}
    for host in report.hosts:
        for area in AREAS:
            counts[area][host.coverage[area].status if area in host.coverage else UNKNOWN] += 1
    return [(area, seen[OK], seen[UNKNOWN], seen[NOT_APPLICABLE]) for area, seen in counts.items()]


def _doubts(report: Report) -> list[NotKnown]:
    """What is not known, each reason once, the one of most hosts first."""
    found: dict[tuple[str, str], list[str]] = {}
    for host in report.hosts:
        reasons = [(area, host.coverage[area].why) for area in host.unread_areas if area in host.coverage]
        reasons += doubts(host)
        if not host.coverage:
            reasons = [("host", host.why)]
        for reason in reasons:
            found.setdefault(reason, []).append(host.name)
    for name in report.fleet.left_out:
        found.setdefault(("host", "outside --limit: neither read nor compared"), []).append(name)
    worst = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [NotKnown(what, fit(why, 300), len(names), _names(names)) for (what, why), names in worst[:500]]


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    return fit(", ".join(listed[:8]), 200) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")
