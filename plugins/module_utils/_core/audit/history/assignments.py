# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels that the ledger gave to guests, from its events, where the audit log does not say which label a guest had.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import math
import typing as t
from collections import defaultdict
from dataclasses import dataclass, replace

from .intervals import LEDGER, Interval

#: Actions of the ledger that give a guest a label, and the one that takes it away.
_GIVES = frozenset(("reserve", "adopt", "rebuild", "revive"))
_TAKES = "release"


class LabelEvent(t.NamedTuple):
    """An event of the ledger about a guest."""

    at: float
    domain: str
    uuid: str
    action: str
    new: str


@dataclass(frozen=True)
class AssignedLabel:
    """A guest's label in the ledger."""

    domain: str
    level: str
    since: float
    #: Infinite: it has it still.
    until: float = math.inf


def assignments(events: t.Iterable[LabelEvent]) -> dict[str, list[AssignedLabel]]:
    """By uuid, the labels that a guest was given, in the order of the events."""
    given: dict[str, list[AssignedLabel]] = defaultdict(list)
    for event in events:
        labels = given[event.uuid]
        place = next((index for index in range(len(labels)) if _is_open(labels[index], event.domain)), None)
        if (event.action in _GIVES or event.action == _TAKES) and place is not None:
            labels[place] = replace(labels[place], until=event.at)
        if event.action in _GIVES:
            labels.append(AssignedLabel(event.domain, event.new, event.at))
    return {uuid: labels for uuid, labels in given.items() if labels}


def completed(item: Interval, labels: t.Mapping[str, t.Sequence[AssignedLabel]]) -> Interval:
    """The interval with the ledger's label where the log has none.

    The guest need not have started with it, so there is no moment at which it surely had it.
    """
    if item.label:
        return item
    first, last = item.possible.first.at, item.possible.last.at
    level = next((one.level for one in labels.get(item.uuid, ()) if one.since <= last and first <= one.until), "")
    return replace(item, label=level, source=LEDGER, sure=None) if level else item


def _is_open(label: AssignedLabel, domain: str) -> bool:
    return label.domain == domain and label.until == math.inf
