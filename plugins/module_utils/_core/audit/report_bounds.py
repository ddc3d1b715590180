# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounds of a report: what one host, hostile or not, may add to it.

Texts and lists of a finding are cut, with their full size named. Of a host with more findings than its share of the
report, the worst are listed, at least one of each rule, and the numbers of the others are named. A finding about two
other hosts is never left out on account of a third. Verdicts and counts are those of all findings.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import typing as t
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from ..utf8 import clean_text
from .finding import Finding

#: Characters of a text.
MAX_TEXT = 2_000
#: Entries of a list or mapping in evidence.
MAX_LIST = 500
#: Names in evidence. Rules give a dozen.
MAX_NAMES = 30
#: Bytes of a finding's evidence as JSON.
MAX_EVIDENCE = 64_000
#: Bytes that the findings of one host take in the report.
MAX_HOST = 800_000

#: Key of evidence that lists the parties with a group's level; others list those on either side of it.
_OWN = "guests"

Json = dict[str, t.Any]


def short(text: str, limit: int = MAX_TEXT) -> str:
    """A text that UTF-8 can hold, of bounded length, with the number of its characters where it was cut."""
    text = clean_text(text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def bounded(document: Json) -> Json:
    """A finding, as JSON, within bounds."""
    document = {
        key: short(value) if key != "fix" and isinstance(value, str) else value for key, value in document.items()
    }
    document["evidence"] = _evidence(document["evidence"])
    return document


def _evidence(evidence: Json) -> Json:
    most = MAX_LIST
    bounded_evidence = _cut(evidence, most)
    while most > 1 and len(json.dumps(bounded_evidence)) > MAX_EVIDENCE:
        most //= 2
        bounded_evidence = _cut(evidence, most)
    return bounded_evidence


def _cut(evidence: Json, most: int) -> Json:
    """Evidence with no more than ``most`` entries in each list; NAME_in_all is how many there are."""
    cut: Json = {}
    for name, value in list(evidence.items())[:MAX_NAMES]:
        cut[short(name, 100)] = _plain(value, most)
        if isinstance(value, (list, tuple, dict)) and len(value) > most:
            cut[f"{name}_in_all"] = max(len(value), evidence.get(f"{name}_in_all", 0))
    return cut


def _plain(value: t.Any, most: int) -> t.Any:
    if isinstance(value, str):
        return short(value)
    if isinstance(value, dict):
        return {short(str(key), 100): _plain(item, most) for key, item in list(value.items())[:most]}
    if isinstance(value, (list, tuple)):
        return [_plain(item, most) for item in value[:most]]
    return value


@dataclass
class Listed:
    """Findings that the report lists, and the numbers of those that it leaves out."""

    documents: list[Json] = field(default_factory=list)
    #: By host and rule, how many are left out.
    omitted: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def omitted_of(self, host: str) -> dict[str, t.Any]:
        """Entry of a host's ``omitted``."""
        counts = self.omitted.get(host, Counter())
        return {"findings": sum(counts.values()), "by_rule": dict(sorted(counts.items()))}

    @property
    def total(self) -> int:
        """How many are left out of the report."""
        return sum(sum(counts.values()) for counts in self.omitted.values())


def listed(findings: t.Sequence[Finding], encode: t.Callable[[Finding], Json]) -> Listed:
    """The findings within bounds, in their order, which is from worst to least."""
    result = Listed()
    candidates = [_owners(finding) for finding in findings]
    numbers = Counter(host for hosts in candidates for host in hosts)
    owners = [max(hosts, key=lambda host: (numbers[host], host), default="") for hosts in candidates]
    spent: Counter[str] = Counter()
    rules: set[tuple[str, str]] = set()
    for finding, owner in zip(findings, owners):
        needed = not owner or (owner, finding.rule) not in rules
        if not needed and spent[owner] >= MAX_HOST:  # without a look at it: a host may have a million
            result.omitted[owner][finding.rule] += 1
            continue
        document = bounded(encode(finding))
        if numbers[owner] > 1:
            spent[owner] += len(json.dumps(document))
        if not needed and spent[owner] > MAX_HOST:
            result.omitted[owner][finding.rule] += 1
            continue
        rules.add((owner, finding.rule))
        result.documents.append(document)
    return result


def _owners(finding: Finding) -> set[str]:
    """Hosts without any of which there would be no such finding."""
    if finding.host:
        return {finding.host}
    hosts = set(finding.evidence.get("hosts", ()))
    if any(name.endswith("_in_all") for name in finding.evidence):
        return set() if len(hosts) > 1 else hosts
    entries = [
        (entry["host"], entry.get("uuid") or entry.get("guest"), name)
        for name, value in finding.evidence.items()
        if isinstance(value, list)
        for entry in value
        if isinstance(entry, dict) and isinstance(entry.get("host"), str)
    ]
    return _needed(hosts or {host for host, _who, _name in entries}, entries)


def _needed(hosts: set[str], entries: t.Sequence[tuple[str, t.Any, str]]) -> set[str]:
    """The hosts without any of which too few parties are left for a finding."""
    seen_on: dict[t.Any, set[str]] = {}
    for host, party, _name in entries:
        seen_on.setdefault(party, set()).add(host)
    alone = Counter(next(iter(places)) for places in seen_on.values() if len(places) == 1)
    own = {host for host, _party, name in entries if name == _OWN}
    return {host for host in hosts if len(seen_on) - alone[host] < 2 or not own or own == {host}}
