# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""One of many that work on a ledger at once: does one thing after the other, by chance, until it is killed.

It kills itself too, with SIGKILL before or after a statement that chance chose, so that every point of a transaction
has its turn however fast the machine is. What was done, so its answer says, goes into a log of its own.
"""

from __future__ import annotations

import json
import os
import random
import signal
import typing as t
from pathlib import Path

import sqlalchemy as sa
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_domains import parse_domains
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.labels_in_use import GuestUse, HostUse
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.operations import FleetRead, OperationResult
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.static_labels import LabelRequest
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import parse_context
from ansible_collections.svirt.fleet.plugins.plugin_utils import _ledger
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store

BASE = "system_u:system_r:svirt_t:s0"
STATIC_HOSTS = tuple(f"kvm{number}" for number in range(4))
#: More than there are ranges for, so that they are fought over.
RANGE_HOSTS = tuple(f"fast{number:02}" for number in range(20))
GUESTS = 48
TENANTS = 4
#: 12 guests and 16 labels for each tenant: a label that is free is soon another's.
DOMAINS = parse_domains(
    [
        {"name": "prod", "hosts": list(STATIC_HOSTS), "bands": [[8, 4], [12, 4], [16, 4], [20, 4]], "dynamic": [0, 8]},
        {"name": "fast", "hosts": list(RANGE_HOSTS), "strategy": "range", "range_width": 64},
    ]
)
REQUESTS = {f"guest{number}": f"tenant{number % TENANTS}" for number in range(GUESTS)}


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def fleet(chance: random.Random) -> FleetRead:
    """The fleet as somebody may see it: some guests are gone, some have a label of the code already."""
    code = next(domain.code for domain in DOMAINS if domain.name == "prod")
    guests: dict[str, list[GuestUse]] = {host: [] for host in STATIC_HOSTS}
    for number in range(GUESTS):
        if chance.random() < 0.1:
            continue
        host = STATIC_HOSTS[number % len(STATIC_HOSTS)]
        defined = None
        if number < TENANTS * 2:
            label = code.label(number % TENANTS, 15 - number // TENANTS)
            defined = parse_context(f"{BASE}:{label}")
        held = frozenset({defined.categories}) if defined else frozenset()
        guests[host].append(GuestUse(host, uuid(number), f"guest{number}", defined=defined, held=held))
    uses = [HostUse(host, tuple(mine), baselabels={"kvm": BASE}) for host, mine in guests.items()]
    uses += [HostUse(host) for host in RANGE_HOSTS]
    return FleetRead([*STATIC_HOSTS, *RANGE_HOSTS], uses, named=DOMAINS)


def work(url: str, log: Path, seed: int) -> None:
    """Until something kills it."""
    chance = random.Random(seed)  # noqa: S311 - the same points of death every time
    store = Store(url)
    fuse = _Fuse(chance.randrange(1, 120))
    fuse.lay(store)
    with store.write():
        pass  # all begin with its making at once: what only watches a ledger refuses where there is none
    with log.open("a") as stream:
        for now in range(1, 10_000):
            try:
                done = _something(store, chance, float(now), fuse)
            except BaseException as error:
                stream.write(json.dumps({"error": repr(error)}) + "\n")
                stream.flush()
                raise
            for change in done.changes:
                subject = change.row.uuid if change.row is not None else change.subject
                stream.write(json.dumps([change.action, subject, change.old, change.new]) + "\n")
            stream.write(json.dumps("done") + "\n")
            stream.flush()


def _something(store: Store, chance: random.Random, now: float, fuse: _Fuse) -> OperationResult:
    fuse.lay(store)
    some = {uuid(number) for number in chance.sample(range(GUESTS), chance.randrange(1, 12))}
    days = chance.choice([0.0, 0.0, 30.0])
    turn = chance.random()
    if turn < 0.4:
        return _ledger.reserve(store, fleet(chance), LabelRequest(REQUESTS, guests=some), now)
    if turn < 0.7:
        hosts = {chance.choice(RANGE_HOSTS)} if chance.random() < 0.5 else set()
        return _ledger.release(store, hosts, some, days, now)
    if turn < 0.8:
        return _ledger.publish(store, set(), some, now)
    if turn < 0.9:
        return _ledger.observe(store, fleet(chance), days, now)
    return _ledger.repair(store, fleet(chance), LabelRequest(REQUESTS), now, settle=True)


class _Fuse:
    """Burns with each statement; then the process is dead."""

    def __init__(self, length: int) -> None:
        self._left = length
        self._laid: t.Any = None

    def lay(self, store: Store) -> None:
        """Watch the store's statements, commits among them."""
        engine = store.engine()
        if engine is self._laid:
            return
        self._laid = engine
        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            sa.event.listen(engine, name, self._burn)

    def _burn(self, *_arguments: t.Any) -> None:
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
