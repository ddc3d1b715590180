# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus's text format, for the textfile collector of node_exporter: of a fleet's report, and of one host's watch.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .text import visible_text

PREFIX = "svirt_fleet_"
Labels = dict[str, str]
Sample = tuple[Labels, float]


@dataclass(frozen=True)
class Gauge:
    """A metric. Name and help stay the same from release to release."""

    name: str
    help: str
    #: gauge, or counter.
    type: str = "gauge"


def lines(gauge: Gauge, samples: t.Iterable[Sample]) -> t.Iterator[str]:
    """A metric with its samples."""
    name = PREFIX + gauge.name
    yield f"# HELP {name} {gauge.help}\n# TYPE {name} {gauge.type}\n"
    for labels, value in samples:
        listed = ",".join(f'{key}="{escaped(text)}"' for key, text in labels.items())
        yield f"{name}{{{listed}}} {value:.0f}\n" if listed else f"{name} {value:.0f}\n"


def by_rule(counts: t.Mapping[str, int], known: t.Iterable[str]) -> list[Sample]:
    """Every rule that is known, those without findings too, and those of the report that are not."""
    return [({"rule": rule}, float(counts.get(rule, 0))) for rule in sorted({*known, *counts})]


def escaped(text: str) -> str:
    """The value of a label."""
    return visible_text(text).replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
