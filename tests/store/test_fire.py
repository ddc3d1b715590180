# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The ledger under fire: sixteen processes allocate, release and repair at once, and are killed all the time.

Afterwards the events are played again, in their order. They give the ledger exactly; at no time did two guests have
one label or two hosts one range; and whatever was reported to a process as done has its event.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import (
    NO_RANK,
    PUBLISHED,
    QUARANTINED,
    RELEASED,
    RESERVED,
)
from ansible_collections.svirt.fleet.plugins.plugin_utils import _ledger
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store

from tests.scenarios.soak import SOAK
from tests.store import worker

PROCESSES = 16
SECONDS = 900.0 if SOAK else 25.0
SEED = 4

#: The state that a step leaves, where its new value is the label.
_AFTER = {"reserve": RESERVED, "revive": RESERVED, "adopt": PUBLISHED, "rebuild": PUBLISHED}


class Fire:
    """The processes, and how they died."""

    def __init__(self, url: str, logs: Path) -> None:
        self._url = url
        self._logs = logs
        self._chance = random.Random(SEED)  # noqa: S311 - a seed makes it the same again
        self._context = multiprocessing.get_context("fork")
        self._started = 0
        self.deaths: Counter[str] = Counter()

    def burn(self, seconds: float) -> None:
        """Keep the processes alive and kill them, for so long; then kill them all."""
        running = [self._start() for _one in range(PROCESSES)]
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(self._chance.uniform(0.0, 0.1))
                victim = self._chance.randrange(PROCESSES)
                if self._chance.random() < 0.5 and running[victim].is_alive():
                    running[victim].kill()
                    running[victim].join()
                    self.deaths["from outside"] += 1
                    running[victim] = self._start()
                for place, process in enumerate(running):
                    if not process.is_alive():
                        self._buried(process.exitcode)
                        running[place] = self._start()
        finally:
            for process in running:
                process.kill()
                process.join()

    def _start(self) -> multiprocessing.process.BaseProcess:
        self._started += 1
        log = self._logs / f"{self._started}.log"
        process = self._context.Process(target=worker.work, args=(self._url, log, SEED * 100_000 + self._started))
        process.start()
        return process

    def _buried(self, status: int | None) -> None:
        self.deaths["at a statement" if status == -signal.SIGKILL else f"status {status}"] += 1


class Replay:
    """The ledger as its events have it."""

    def __init__(self) -> None:
        self.labels: dict[str, tuple[str, str]] = {}
        self.ranges: dict[str, str] = {}
        self.twice: list[str] = []

    def play(self, action: str, subject: str, old: str, new: str) -> None:
        """One event."""
        if action in _AFTER:
            self._hold(self.labels, subject, (new, _AFTER[action]))
        elif action in ("publish", "observe", "quarantine"):
            self.labels[subject] = (self.labels[subject][0], new)
        elif action == "release":
            self.labels[subject] = ("", new)
        elif action in ("range",) or (action == "rebuild" and subject in worker.RANGE_HOSTS):
            self.ranges[subject] = new
        elif action == "free":
            assert self.ranges.pop(subject) == old
        if len(set(self.ranges.values())) < len(self.ranges):
            self.twice.append(new)

    def _hold(self, held: dict[str, tuple[str, str]], subject: str, value: tuple[str, str]) -> None:
        if any(label == value[0] and other != subject for other, (label, _state) in held.items()):
            self.twice.append(value[0])
        held[subject] = value


def reported_done(logs: Path) -> tuple[Counter[tuple[str, ...]], int, list[str]]:
    """What was reported to processes as done, in how many calls, and their errors."""
    steps: Counter[tuple[str, ...]] = Counter()
    calls = 0
    errors = []
    for log in logs.glob("*.log"):
        pending: list[tuple[str, ...]] = []
        for line in log.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                break  # killed while it wrote: what follows was never whole
            if isinstance(entry, dict):
                errors.append(entry["error"])
            elif entry == "done":
                steps.update(pending)
                pending, calls = [], calls + 1
            else:
                pending.append(tuple(entry))
    return steps, calls, errors


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forking is the point here
def test_no_label_twice_none_lost_and_every_event_there(url: str, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    fire = Fire(url, logs)
    fire.burn(SECONDS)

    steps, calls, errors = reported_done(logs)
    store = Store(url)
    with store.look() as transaction:
        events = transaction.rows("SELECT action, subject, old, new FROM svirt_events ORDER BY number")
        ranges = dict(transaction.rows("SELECT host, low FROM svirt_ranges"))
        left = {f"c{low}.c{low + 63}" for low in ranges.values()}
    rows = _ledger.listing(store).labels
    store.close()

    print(f"{calls} calls done, {len(events)} events, {len(rows)} labels, deaths: {dict(fire.deaths)}")
    assert errors == []
    assert set(fire.deaths) <= {"from outside", "at a statement"}
    assert min(fire.deaths["from outside"], fire.deaths["at a statement"]) >= PROCESSES
    assert calls >= PROCESSES

    replay = Replay()
    for action, subject, old, new in events:
        replay.play(action, subject, old, new)
    assert replay.twice == []
    assert replay.labels == {row.uuid: ("" if row.state == RELEASED else row.level, row.state) for row in rows}
    assert replay.ranges == {host: f"c{low}.c{low + 63}" for host, low in ranges.items()}
    assert len(left) == len(ranges) > 0
    held = [row.rank for row in rows if row.rank != NO_RANK]
    assert len(set(held)) == len(held) > 0
    assert steps - Counter((action, subject, old, new) for action, subject, old, new in events) == Counter()
    assert {row.state for row in rows} >= {RELEASED, QUARANTINED}
