# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Small label domains for tests: what guests hold on hosts, with what a test does not care about filled in."""

from __future__ import annotations

import typing as t

from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import static_labels as a
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_code import Band, Code
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_domains import LabelDomain
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.labels_in_use import GuestUse, HostUse
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import OBSERVED, Row
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Pending, Refusal
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import (
    CategorySet,
    parse_categories,
    parse_context,
)

BASE = "system_u:system_r:svirt_t:s0"
#: A code small enough to run out of: 4 tenants of 9 guests.
SMALL = Code((Band(8, 2), Band(10, 2), Band(12, 3), Band(15, 3)), Band(0, 8))


def uuid(number: int) -> str:
    """The uuid of a test's guest."""
    return f"00000000-0000-4000-8000-{number:012}"


def sets(*texts: str) -> frozenset[CategorySet]:
    """Sets of categories by their texts."""
    return frozenset(map(parse_categories, texts))


def guest(number: int, host: str = "kvm1", defined: str = "", running: str = "", **parts: t.Any) -> GuestUse:
    """A guest by number; ``defined`` and ``running`` are categories of its static label and of its process."""
    held = {text for text in (defined, running) if text}
    values: dict[str, t.Any] = {
        "name": f"guest{number}",
        "active": bool(running),
        "defined": parse_context(f"{BASE}:{defined}") if defined else None,
        "running": parse_categories(running) if running else None,
        "held": sets(*held),
        "static": bool(defined) and defined == running,
    }
    return GuestUse(host, uuid(number), **{**values, **parts})


def use(host: str, *guests: GuestUse, **parts: t.Any) -> HostUse:
    """A host that was read wholly."""
    return HostUse(host, guests, **{"baselabels": {"kvm": BASE}, **parts})


def domain(*hosts: str, strategy: str = "static", code: Code = SMALL, **parts: t.Any) -> LabelDomain:
    """A domain named prod."""
    return LabelDomain("prod", hosts or ("kvm1",), strategy, pool=True, code=code, **parts)


def row(number: int, rank: int, state: str = OBSERVED, code: Code = SMALL, **parts: t.Any) -> Row:
    """The row of a guest of tenant default."""
    level = a.level_of(code.label(*code.unrank(rank)))
    values = {"domain": "prod", "name": f"guest{number}", "host": "kvm1", "tenant": "default", "until": None, **parts}
    return Row(uuid=uuid(number), rank=rank, level=level, state=state, **values)


def reasons(entries: t.Iterable[Refusal | Pending]) -> list[tuple[str, str]]:
    """First word of the subject, and code, of refusals or of what waits."""
    return [(entry.subject.partition(" (")[0], entry.reason.code) for entry in entries]
