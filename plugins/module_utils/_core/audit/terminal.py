# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as text for a terminal: short at any size of fleet, worst first, the verdict last.

Lists are bounded and give the number of omitted entries; report.json has them all. Every text of the report is
escaped: see text.py.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t
from collections import defaultdict
from dataclasses import dataclass

from .finding import COSTS, FAIL, NOT_APPLICABLE, PASS, SEVERITIES, UNKNOWN
from .text import columns, cut, escape, wrap

#: Bounds: of host lines, of entries per rule, of values in a list, of lines of evidence per entry.
MAX_HOSTS = 12
MAX_ENTRIES = 5
MAX_VALUES = 8
MAX_EVIDENCE = 6
#: Names longer than this are cut in their middle; those of hosts in the list sooner.
MAX_NAME = 40
MAX_HOST = 24
#: A narrower terminal folds the lines itself.
MIN_WIDTH = 60
#: Columns of a verdict.
WORD = 10

_COLOURS = {
    "critical": "1;31",
    "high": "31",
    "medium": "33",
    "low": "36",
    "info": "2",
    FAIL: "1;31",
    UNKNOWN: "1;35",
    PASS: "32",
    NOT_APPLICABLE: "2",
    "heading": "1",
    "quiet": "2",
}
#: Evidence that the entry already shows elsewhere.
_QUIET = ("hosts", "shared_by", "unconfirmed_because")
#: The usual way to decide, which is not shown.
_ALGEBRA = "algebra"

Json = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Terminal:
    """Properties of the terminal."""

    width: int = 80
    colour: bool = False
    unicode: bool = True

    def paint(self, text: str, role: str) -> str:
        """The text in the colour of a severity, verdict or other role."""
        return f"\x1b[{_COLOURS[role]}m{text}\x1b[0m" if self.colour else text

    @property
    def mark(self) -> str:
        """Mark for an omitted part."""
        return "…" if self.unicode else "..."

    def safe(self, text: object) -> str:
        """A text of the report, escaped."""
        return escape(str(text), not self.unicode)

    def name(self, text: object, width: int = MAX_NAME) -> str:
        """A name, escaped and cut."""
        return cut(self.safe(text), width, self.mark)


def render(report: Json, where: str, terminal: Terminal) -> str:
    """The whole summary. ``where`` is the path of the report."""
    narrow = Terminal(max(terminal.width, MIN_WIDTH), terminal.colour, terminal.unicode)
    lines = [*_heading(report, narrow), *_hosts(report, narrow), *_findings(report, narrow), *_omitted(report, narrow)]
    lines += [*_waivers(report, narrow), *_since(report, narrow), "", *_verdict(report, where, narrow)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _heading(report: Json, terminal: Terminal) -> list[str]:
    hosts, guests = report["fleet"]["hosts"]["total"], report["fleet"]["guests_compared"]
    text = f"sVirt audit of {_many(hosts, 'host')}, {_many(guests, 'confined guest')} compared"
    return [terminal.paint(text, "heading"), ""]


# -- hosts -----------------------------------------------------------------------------------------------------------


def _hosts(report: Json, terminal: Terminal) -> list[str]:
    """Every host of a small fleet; of a large one those that fail, and the others by reason."""
    by_verdict: dict[str, list[Json]] = defaultdict(list)
    for host in report["hosts"]:
        by_verdict[host["verdict"]].append(host)
    few = len(report["hosts"]) <= MAX_HOSTS
    lines = _each(FAIL, _worst_first(by_verdict[FAIL]), terminal)
    for verdict in (UNKNOWN, PASS, NOT_APPLICABLE):
        lines += (_each if few else _by_reason)(verdict, by_verdict[verdict], terminal)
    return lines


def _worst_first(hosts: list[Json]) -> list[Json]:
    return sorted(hosts, key=lambda host: ([-host["counts"][name] for name in SEVERITIES], host["name"]))


def _each(verdict: str, hosts: list[Json], terminal: Terminal) -> list[str]:
    """One entry per host: verdict, name, counts, and unknown parts."""
    names = [terminal.name(host["name"], MAX_HOST) for host in hosts[:MAX_HOSTS]]
    pad = max((columns(name) for name in names), default=0)
    lines: list[str] = []
    for name, host in zip(names, hosts):
        parts = [_counted(host["counts"]) or ("" if host["why"] else "no findings")]
        if host["why"]:
            parts.append(("in part unknown: " if verdict == FAIL else "") + terminal.safe(host["why"]))
        head = f"  {_word(verdict, terminal)}{_padded(name, pad)}  "
        lines += _hung(head, 2 + WORD + pad + 2, "; ".join(part for part in parts if part), terminal)
    return lines + _more(len(hosts) - MAX_HOSTS, "host", "fails", "fail", 2 + WORD, terminal)


def _by_reason(verdict: str, hosts: list[Json], terminal: Terminal) -> list[str]:
    """Many hosts of one verdict, folded by the reason for it."""
    by_why: dict[str, list[Json]] = defaultdict(list)
    for host in hosts:
        by_why[host["why"]].append(host)
    groups = sorted(by_why.items(), key=lambda item: (-len(item[1]), item[0]))
    lines = [line for why, group in groups[:MAX_ENTRIES] for line in _folded(verdict, group, why, terminal)]
    left = sum(len(group) for _why, group in groups[MAX_ENTRIES:])
    return lines + _more(left, "host", "for another reason", "for other reasons", 2 + WORD, terminal)


def _folded(verdict: str, hosts: list[Json], why: str, terminal: Terminal) -> list[str]:
    """Hosts alike: their number, the reason, and as many names as fit one line."""
    indent = 2 + WORD
    text = _many(len(hosts), "host") + (f": {terminal.safe(why)}" if why else "")
    names = _list_that_fits([host["name"] for host in hosts], terminal.width - indent, terminal)
    lines = _hung(f"  {_word(verdict, terminal)}", indent, text, terminal)
    return [*lines, " " * indent + terminal.paint(names, "quiet")]


def _hung(head: str, indent: int, text: str, terminal: Terminal) -> list[str]:
    """A text behind its head, on three lines at most."""
    room = terminal.width - indent
    first, *rest = wrap(text, room)
    if len(rest) > 2:
        rest = [rest[0], cut(" ".join(rest[1:]), room, terminal.mark)]
    return [head + first, *(" " * indent + line for line in rest)]


def _word(verdict: str, terminal: Terminal) -> str:
    text = {FAIL: "FAIL", UNKNOWN: "UNKNOWN", PASS: "pass", NOT_APPLICABLE: "n/a"}[verdict]
    return terminal.paint(text, verdict) + " " * (WORD - len(text))


# -- findings --------------------------------------------------------------------------------------------------------


def _findings(report: Json, terminal: Terminal) -> list[str]:
    groups: dict[tuple[int, str, str, str], list[Json]] = defaultdict(list)
    for finding in report["findings"]:
        rank = SEVERITIES.index(finding["severity"])
        groups[rank, finding["rule"], finding["fix"], finding["cost"]].append(finding)
    return [line for key in sorted(groups) for line in ("", *_rule(groups[key], terminal))]


def _omitted(report: Json, terminal: Terminal) -> list[str]:
    """Findings that the report counts but does not list, and the hosts that have so many."""
    total = report["fleet"].get("omitted", 0)
    if not total:
        return []
    names = [host["name"] for host in report["hosts"] if "omitted" in host]
    text = f"{_many(total, 'finding')} counted but left out of the report, for one host has too many:"
    return ["", *_indented(text, 0, terminal), "    " + _list_that_fits(names, terminal.width - 4, terminal)]


def _rule(findings: list[Json], terminal: Terminal) -> list[str]:
    """All findings of one rule that share a repair."""
    first = findings[0]
    lines = _title(first, terminal)
    if first.get("class") == "E4":
        return lines + _chance(first, terminal)
    if len(findings) > 1:
        hosts = len({finding["host"] for finding in findings if finding["host"]})
        total = f"{len(findings):,} findings" + (f" on {_many(hosts, 'host')}" if hosts else "")
        lines.append("    " + terminal.paint(total, "quiet"))
    entries: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for finding in findings:
        subject = "" if finding["subject"] == finding["host"] else finding["subject"]
        entries[subject, json.dumps(finding["evidence"], sort_keys=True)].append(finding)
    shown = sorted(entries.values(), key=lambda group: (-len(group), group[0]["host"], group[0]["subject"]))
    for group in shown[:MAX_ENTRIES]:
        lines += _entry(group, terminal)
    left = sum(len(group) for group in shown[MAX_ENTRIES:])
    lines += _more(left, "finding", "of this rule", "of this rule", 4, terminal)
    lines += _labelled("repair", terminal.safe(first["fix"]), terminal)
    return lines + _labelled("cost", COSTS[first["cost"]], terminal)


def _title(finding: Json, terminal: Terminal) -> list[str]:
    severity = finding["severity"]
    head = terminal.paint(severity.upper(), severity) + " " * (10 - len(severity)) + finding["rule"] + "  "
    reach = f" ({finding['class']})" if "class" in finding else ""
    first, *rest = wrap(terminal.safe(finding["title"]) + reach, terminal.width - 19)
    return [head + terminal.paint(first, "heading"), *(" " * 19 + terminal.paint(line, "heading") for line in rest)]


def _chance(finding: Json, terminal: Terminal) -> list[str]:
    evidence = finding["evidence"]
    pairs, expected = _many(evidence["equal_pairs"], "pair"), evidence["expected_pairs"]
    return _indented(f"{pairs}; {expected:,} expected by chance. Harmless unless the guests meet.", 4, terminal)


def _entry(group: list[Json], terminal: Terminal) -> list[str]:
    """One subject with its evidence, on one host or on many that look the same."""
    first = group[0]
    hosts = [finding["host"] for finding in group if finding["host"]]
    if first["subject"] == first["host"]:
        lines = _indented(_list_that_fits(hosts, terminal.width - 4, terminal), 4, terminal)
    else:
        subject = terminal.name(first["subject"], min(60, terminal.width - 24))
        room = terminal.width - 4 - columns(subject) - 4
        lines = [f"    {subject}" + (f" on {_list_that_fits(hosts, room, terminal)}" if hosts else "")]
    return lines + _evidence(first, terminal)


def _evidence(finding: Json, terminal: Terminal) -> list[str]:
    subject = finding["subject"]
    items = [
        (key, value)
        for key, value in finding["evidence"].items()
        if key not in _QUIET and value != subject and (key, value) != ("decided_by", _ALGEBRA)
    ]
    pad = min(max((len(key) for key, _value in items[:MAX_EVIDENCE]), default=0), 20)
    lines = []
    for key, value in items[:MAX_EVIDENCE]:
        room = terminal.width - 6 - pad - 2
        label = _padded(terminal.name(key.replace("_", " "), pad), pad)
        lines.append(f"      {terminal.paint(label, 'quiet')}  {_value(value, max(room, 10), terminal)}")
    return lines + _more(len(items) - MAX_EVIDENCE, "value", "in the report", "in the report", 6, terminal)


def _value(value: t.Any, width: int, terminal: Terminal) -> str:
    if isinstance(value, (list, tuple)):
        return _list_that_fits(value, width, terminal) if value else "none"
    return terminal.name(_plain(value), width)


def _plain(value: t.Any) -> str:
    """A value of evidence as text."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        if {"guest", "host"} <= set(value):
            return f"{value['guest']} on {value['host']}"
        return " ".join(f"{key}={_plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value)
    return str(value)


# -- waivers and the end ---------------------------------------------------------------------------------------------


def _waivers(report: Json, terminal: Terminal) -> list[str]:
    lines: list[str] = []
    if report["waived"]:
        lines += ["", f"{_many(len(report['waived']), 'finding')} waived; the report names reasons and dates."]
    unused = report["unused_waivers"]
    if unused:
        text = "Waivers that match nothing (the fault is gone, or the waiver is misspelt):"
        lines += ["", *_indented(text, 0, terminal)]
    for waiver in unused[:MAX_ENTRIES]:
        target = waiver.get("fingerprint") or f"{waiver['rule']} on {waiver['subject']}"
        lines += [f"    {terminal.name(target, terminal.width - 20)}  (number {waiver['index']})"]
    return lines + _more(len(unused) - MAX_ENTRIES, "waiver", "in the report", "in the report", 4, terminal)


def _since(report: Json, terminal: Terminal) -> list[str]:
    """What is new, and how much is gone, since the last run of the same inventory."""
    since = report.get("since")
    if not since:
        return []
    counts = since["counts"]
    words = {
        "new": "new",
        "gone": "gone",
        "unchanged": "unchanged",
        "accepted": "accepted since",
        "not_known": "not known to be new or gone",
    }
    parts = [f"{counts[kind]:,} {word}" for kind, word in words.items() if counts[kind] or kind in ("new", "gone")]
    text = f"Since run {since['run']} of {since['generated_at']}: {', '.join(parts)}."
    lines = ["", *_indented(terminal.safe(text), 0, terminal)]
    new = set(since["new"])
    shown = [finding for finding in report["findings"] if finding["fingerprint"] in new][:MAX_ENTRIES]
    for finding in shown:
        host = f" on {terminal.name(finding['host'], MAX_HOST)}" if finding["host"] else ""
        head = f"  new   {finding['severity'].upper()} {finding['rule']}  "
        lines.append(head + terminal.name(finding["subject"]) + host)
    return lines + _more(counts["new"] - len(shown), "finding", "that is new", "that are new", 8, terminal)


def _verdict(report: Json, where: str, terminal: Terminal) -> list[str]:
    """The last line: the verdict, and the path of the report."""
    hosts = report["fleet"]["hosts"]
    words = {FAIL: "failed", UNKNOWN: "unknown", PASS: "passed", NOT_APPLICABLE: "not applicable"}
    counts = [f"{hosts[verdict]:,} {word}" for verdict, word in words.items() if hosts[verdict]]
    text = f"{_many(hosts['total'], 'host')}: {', '.join(counts)}" if counts else "no host was judged"
    verdict = report["verdict"]
    head = terminal.paint(verdict.upper(), verdict)
    line = f"{verdict.upper()}: {text} (fail_on {report['fail_on']}). Report: {terminal.safe(where)}"
    return [head + line[len(verdict) :]]


# -- pieces ----------------------------------------------------------------------------------------------------------


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _counted(counts: t.Mapping[str, int]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in SEVERITIES if counts[name])


def _more(count: int, noun: str, singular: str, plural: str, indent: int, terminal: Terminal) -> list[str]:
    if count <= 0:
        return []
    text = f"and {count:,} more {noun if count == 1 else noun + 's'} {singular if count == 1 else plural}"
    return [" " * indent + terminal.paint(text, "quiet")]


def _list_that_fits(values: t.Sequence[t.Any], width: int, terminal: Terminal) -> str:
    """As many of the values as fit one line, and the number of the rest; at least one is shown."""
    most = width if len(values) == 1 else min(MAX_NAME, width)
    shown = [terminal.name(_plain(value), most) for value in values[:MAX_VALUES]]
    for count in range(len(shown), 0, -1):
        left = len(values) - count
        text = ", ".join(shown[:count]) + (f" and {left:,} more" if left else "")
        if columns(text) <= width:
            return text
    return cut(shown[0], max(width - 15, 8), terminal.mark) + (
        f" and {len(values) - 1:,} more" if len(values) > 1 else ""
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def _indented(text: str, indent: int, terminal: Terminal) -> list[str]:
    return [" " * indent + line for line in wrap(text, terminal.width - indent)]


def _labelled(label: str, text: str, terminal: Terminal) -> list[str]:
    first, *rest = wrap(text, terminal.width - 12)
    return [f"    {terminal.paint(label, 'quiet')}{' ' * (8 - len(label))}{first}", *(" " * 12 + line for line in rest)]
