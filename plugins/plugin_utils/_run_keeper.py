# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a run in the store while it is judged: its snapshots, its report, and its orders for later steps.

A store that fails does not end the run: the report is written and shown, and the problem fails the task then. Where no
store was named, the default one is used if it can be; the run only warns when it cannot.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import importlib
import json
import typing as t
from collections.abc import Callable, Mapping

from ..module_utils._core.audit import difference
from ..module_utils._core.audit.finding import PASS
from ..module_utils._core.audit.report_model import Report, read_report, report_json
from ..module_utils._core.audit.run import JUDGING, KEPT, KINDS, HostReading
from ..module_utils._core.errors import SchemaError, StoreError
from ..module_utils._core.snapshot.model import Snapshot
from ._run_identity import version
from ._snapshots import MAX_WHY, Unread

if t.TYPE_CHECKING:
    from ._store import Store, Transaction

#: Options of an action that keeps its run.
ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "run_kind": {"type": "str", "choices": list(KINDS)},
    "keep_runs": {"type": "int", "default": KEPT},
}
#: Bytes of snapshots in memory, and hosts in one transaction.
_MAX_BYTES = 16 * 1024 * 1024
_MAX_HOSTS = 200

Answer = t.TypeVar("Answer")


class RunKeeper:
    """One run that is being judged. Without a kind nothing is kept."""

    def __init__(
        self,
        arguments: Mapping[str, t.Any],
        inventory: str,
        now: float,
        collected: str = "",
        check: bool = False,
        store: Store | None = None,
    ) -> None:
        """``collected``: id of a run whose snapshots are in the store. In check mode no other run is kept."""
        self._arguments = arguments
        self._inventory = inventory
        self._now = now
        #: Id of the run; empty before it has one, and when it is not kept.
        self.run = collected
        self._collected = bool(collected)
        self._store = store
        self._required = bool(arguments["store"]) or store is not None
        self._readings: list[HostReading] = []
        self._contents: dict[str, bytes] = {}
        #: Why the run is not kept; empty: it is.
        self.problem = ""
        self.warnings: list[str] = []
        self._begun = bool(collected)
        self._size = 0
        self.active = bool(arguments["run_kind"]) and (not check or self._collected)

    # -- while hosts are read --

    def read(self, reading: Snapshot | Unread, host: str, received_at: float) -> None:
        """Take a host's snapshot. Those of a run that the store has already are there."""
        if not self.active or self._collected:
            return
        if isinstance(reading, Unread):
            self._readings.append(HostReading(host, received_at, why=reading.why[:MAX_WHY] or "no reason was given"))
        else:
            content = _module("_runs").content_of(reading)
            self._contents[content.digest] = content.content
            self._size += len(content.content)
            self._readings.append(HostReading(host, received_at, reading.taken_at, content.digest))
        if self._size >= _MAX_BYTES or len(self._readings) >= _MAX_HOSTS:
            self.flush()

    def flush(self) -> None:
        """Store what was read since the last time."""
        if not self.active or self._collected:
            return
        readings, contents = self._readings, self._contents
        self._readings, self._contents, self._size = [], {}, 0

        def work(transaction: Transaction) -> str:
            runs = _module("_runs")
            run = self.run
            if not self._begun:
                kind, name = self._arguments["run_kind"], self._arguments["run"]
                run = runs.begin(transaction, kind, self._inventory, self._now, version(), name, JUDGING).id
            runs.add(transaction, run, readings, contents)
            return str(run)

        run = self._attempt(work)
        if run:
            self.run, self._begun = run, True

    # -- when it was judged --

    def compared(self, document: dict[str, t.Any]) -> None:
        """Add to the report the id of its run, what changed since the last one, and when a run last passed."""
        if not self.active:
            return
        self.flush()
        if not self.run:
            return
        document["run"] = self.run
        before = self._attempt(self._before)
        if before is None:
            return
        earlier, content = before
        try:
            report = read_report(content)
        except SchemaError as error:
            self.warnings.append(f"run {earlier} is not compared with this one: its report cannot be used: {error}")
            return
        since = difference.compare(report, read_report(json.loads(json.dumps(document))))
        document["since"] = report_json(difference.reported(since, earlier, report))
        _carry_last_pass(document, report)

    def _before(self, transaction: Transaction) -> tuple[str, t.Any] | None:
        runs = _module("_runs")
        own = runs.find(transaction, self.run)
        earlier = runs.newest(transaction, own.inventory, before=own.number, judged=True)
        return (earlier.id, runs.report_of(transaction, earlier.id)) if earlier else None

    def keep(self, document: Mapping[str, t.Any], orders: Mapping[str, Mapping[str, t.Any]]) -> None:
        """Store report and orders, and remove old runs."""
        if not self.active or not self.run or self.problem:
            return

        def work(transaction: Transaction) -> None:
            runs = _module("_runs")
            content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
            counts = document["fleet"]["findings"]
            for name, order in orders.items():
                runs.put_orders(transaction, self.run, name, order)
            runs.close(transaction, self.run, self._now, document["verdict"], counts, content)
            runs.prune(transaction, self._arguments["keep_runs"])

        self._attempt(work)

    def finish(self, result: dict[str, t.Any]) -> None:
        """Close the store, and add the id of the run and warnings to a task's result."""
        if self._store is not None:
            self.warnings += self._store.warnings
            self._store.close()
            self._store = None
        result["run"] = self.run
        if self.warnings:
            result["warnings"] = [*result.get("warnings", ()), *self.warnings]

    def _attempt(self, work: Callable[[Transaction], Answer]) -> Answer | None:
        """The result of a transaction; None after a failure, and after an earlier one."""
        if self.problem:
            return None
        try:
            if self._store is None:
                module = _module("_store")
                self._store = module.Store(self._arguments["store"] or module.DEFAULT_URL)
            return self._store.run(work)
        except StoreError as error:
            self._fail(error)
            return None

    def _fail(self, error: StoreError) -> None:
        """Keep nothing from now on; warn where no store was named, else fail the task at its end."""
        self.problem = f"this run is not kept in the store: {error}"
        self.run = ""
        if not self._required:
            advice = "name a store with svirt_store, or ignore this: the next run then cannot say what is new since"
            self.warnings.append(f"{self.problem}; {advice}")

    @property
    def failure(self) -> str:
        """The problem that fails the task; empty: none, or a warning only."""
        return self.problem if self._required else ""


def _carry_last_pass(document: dict[str, t.Any], before: Report) -> None:
    """The time of the last run that passed, from the report of the last run."""
    passed = before.generated_at if before.verdict == PASS else before.last_passed_at
    known = document.get("last_passed_at")
    if passed and (not known or known < passed):
        document["last_passed_at"] = passed


def _module(name: str) -> t.Any:
    """A module that needs SQLAlchemy, which an audit without a store does not."""
    return importlib.import_module(f"ansible_collections.svirt.fleet.plugins.plugin_utils.{name}")
