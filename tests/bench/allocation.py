# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how long the ledger takes to give labels to many guests in one transaction on SQLite.

The fleet is invented: one domain, four tenants, some guests with labels of their own, and libvirt's dynamic pairs all
over c0 to c1023, so that labels must keep clear of them.
"""

from __future__ import annotations

import random
import tempfile
import time
import uuid
from pathlib import Path

from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_domains import parse_domains
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.labels_in_use import GuestUse, HostUse
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.operations import FleetRead
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.static_labels import LabelRequest
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import CategorySet, parse_context
from ansible_collections.svirt.fleet.plugins.plugin_utils import _ledger
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store

#: Seconds that 100,000 guests may take.
BUDGET = 60.0
SIZES = (10_000, 100_000)
_ON_A_HOST = 100
_TENANTS = 4
_BASE = {"kvm": "system_u:system_r:svirt_t:s0"}


def fleet(guests: int) -> tuple[FleetRead, LabelRequest]:
    """So many guests; every tenth runs with a pair of libvirt's, every hundredth has a static label of people's."""
    chance = random.Random(4)  # noqa: S311 - the same fleet every time
    result: dict[str, list[GuestUse]] = {}
    tenants: dict[str, str] = {}
    for number in range(guests):
        host = f"kvm{number // _ON_A_HOST:05}"
        one = _guest(host, number, chance)
        result.setdefault(host, []).append(one)
        tenants[one.uuid] = f"tenant{number % _TENANTS}"
    uses = [HostUse(host, tuple(mine), baselabels=_BASE) for host, mine in result.items()]
    named = parse_domains([{"name": "bench", "hosts": sorted(result)}])
    return FleetRead(sorted(result), uses, named=named), LabelRequest(tenants)


def _guest(host: str, number: int, chance: random.Random) -> GuestUse:
    held: frozenset[CategorySet] = frozenset()
    defined = None
    if number % 100 == 0:
        defined = parse_context(f"{_BASE['kvm']}:{CategorySet.of(chance.sample(range(32, 1024), 5))}")
        held = frozenset({defined.categories})
    elif number % 10 == 0:
        held = frozenset({CategorySet.of(chance.sample(range(1024), 2))})
    own = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    return GuestUse(host, own, f"guest{number}", active=bool(held), defined=defined, held=held)


def measure() -> None:
    """Print the seconds of each size beside the budget."""
    print("labels for all guests in one transaction on SQLite", flush=True)
    for guests in SIZES:
        read, request = fleet(guests)
        with tempfile.TemporaryDirectory() as folder:
            store = Store(f"sqlite:///{Path(folder) / 'bench.db'}")
            started = time.perf_counter()
            result = _ledger.reserve(store, read, request, now=0.0)
            seconds = time.perf_counter() - started
            started = time.perf_counter()
            again = _ledger.reserve(store, read, request, now=1.0)
            second = time.perf_counter() - started
            store.close()
        if result.after["reserved"] != guests or again.changes:
            raise SystemExit(f"{guests} guests: {result.after} reserved, {len(again.changes)} changes in a second run")
        verdict = f"budget {BUDGET:.0f} s" if guests == max(SIZES) else "for the scale"
        print(f"  {guests:>7} guests {seconds:7.2f} s   second run {second:7.2f} s   {verdict}", flush=True)


if __name__ == "__main__":
    measure()
