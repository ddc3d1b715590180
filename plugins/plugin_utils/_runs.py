# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL of the runs in the store: who was read, the snapshots by content, the report, and orders for later steps.

Each function works in a transaction that its caller began. module_utils/_core/audit/run.py has the rules.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..module_utils._core.audit.run import CLOSED, ID_RULE, JUDGING, OPEN, HostReading, is_id, supersedes
from ..module_utils._core.errors import StoreError
from ..module_utils._core.snapshot.document import encode
from ..module_utils._core.snapshot.model import Snapshot
from . import _store_errors
from ._store import Transaction, packed, unpacked

#: Codes of errors about runs.
MISSING, CLOSED_RUN, NO_RUN, NO_REPORT, OTHER_RUN, BAD_ID = (
    "run_missing",
    "run_closed",
    "no_run",
    "run_without_report",
    "run_of_other",
    "run_id",
)
#: Longest name of an inventory.
MAX_INVENTORY = 1000

_COLUMNS = "id, kind, inventory, begun_at, ended_at, collection, state, verdict, counts, number"
_INSERT_RUN = (
    "INSERT INTO svirt_runs (id, kind, inventory, begun_at, ended_at, collection, state, verdict, counts) "
    "VALUES (:id, :kind, :inventory, :begun, NULL, :collection, :state, '', '{}')"
)
_INSERT_HOST = (
    "INSERT INTO svirt_run_hosts (run, host, taken_at, received_at, digest, why) VALUES (:run, :host, :taken_at, "
    ":received_at, :digest, :why) ON CONFLICT (run, host) DO UPDATE SET taken_at = excluded.taken_at, received_at = "
    "excluded.received_at, digest = excluded.digest, why = excluded.why"
)
_INSERT_BLOB = "INSERT INTO svirt_blobs (digest, content) VALUES (:digest, :content) ON CONFLICT (digest) DO NOTHING"
_INSERT_ORDER = "INSERT INTO svirt_run_orders (run, name, host, content) VALUES (:run, :name, :host, :content)"
_UPDATE_RUN = (
    "UPDATE svirt_runs SET state = :state, ended_at = :ended, verdict = :verdict, counts = :counts, report = :report "
    "WHERE id = :id"
)
#: Never removed: a later step may need them.
_NEWEST_OF_ALL = "SELECT MAX(number) FROM svirt_runs GROUP BY inventory, kind"


@dataclass(frozen=True)
class StoredRun:
    """A run without its report and snapshots."""

    id: str
    kind: str
    inventory: str
    begun_at: float
    ended_at: float | None
    #: Version of the collection that began it.
    collection: str
    state: str
    #: Empty: not judged.
    verdict: str
    counts: dict[str, int]
    #: Runs are numbered as they begin.
    number: int


@dataclass(frozen=True)
class StoredContent:
    """A snapshot without its time, by the digest of that."""

    digest: str
    content: bytes


def content_of(snapshot: Snapshot) -> StoredContent:
    """What is stored of a snapshot beside its time: two equal hosts, or one host twice, have the same."""
    document = encode(snapshot)
    del document["taken_at"]
    content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return StoredContent(hashlib.sha256(content).hexdigest(), content)


# -- runs ------------------------------------------------------------------------------------------------------------


def begin(
    transaction: Transaction, kind: str, inventory: str, now: float, version: str, run: str = "", state: str = OPEN
) -> StoredRun:
    """A new run. Raises StoreError for an id that exists or is none."""
    if run and not is_id(run):
        raise StoreError(f"{run[:120]!r} is no id of a run: give {ID_RULE}", BAD_ID)
    if run and _runs(transaction, "WHERE id = :id", id=run):
        raise StoreError(f"the store has a run {run} already: give another svirt_run_id", CLOSED_RUN)
    name = run or uuid.uuid4().hex[:12]
    values = {
        "id": name,
        "kind": kind,
        "inventory": inventory[:MAX_INVENTORY],
        "begun": now,
        "collection": version,
        "state": state,
    }
    transaction.run(_INSERT_RUN, [values])
    return find(transaction, name)


def find(transaction: Transaction, run: str) -> StoredRun:
    """A run by its id. Raises StoreError when the store has none."""
    found = _runs(transaction, "WHERE id = :id", id=run)
    if found:
        return found[0]
    others = ", ".join(other.id for other in newest_runs(transaction, 5)) or "none"
    raise StoreError(
        f"the store has no run {run[:120]!r}: it was removed (svirt_keep_runs), or its id is wrong; the newest runs "
        f"are {others}",
        MISSING,
    )


def joined(
    transaction: Transaction, kind: str, inventory: str, now: float, version: str, run: str, oldest: float
) -> StoredRun:
    """The run to which a job adds snapshots: by its id, else the newest open one of the inventory, else a new one.

    Raises StoreError for a run that is closed, or that is of another inventory or playbook.
    """
    if run and _runs(transaction, "WHERE id = :id", id=run):
        known = find(transaction, run)
        _same(known, kind, inventory)
        if known.state != OPEN:
            why = f"run {run} was judged already, so nothing can be added to it: give another svirt_run_id"
            raise StoreError(why, CLOSED_RUN)
        return known
    if not run:
        where = "WHERE kind = :kind AND inventory = :inventory AND state = :state AND begun_at >= :oldest"
        values: dict[str, t.Any] = {
            "kind": kind,
            "inventory": inventory[:MAX_INVENTORY],
            "state": OPEN,
            "oldest": oldest,
        }
        found = _runs(transaction, where, **values)
        if found:
            return found[0]
    return begin(transaction, kind, inventory, now, version, run)


def _same(run: StoredRun, kind: str, inventory: str) -> None:
    for word, is_, wanted in (("playbook", run.kind, kind), ("inventory", run.inventory, inventory[:MAX_INVENTORY])):
        if is_ != wanted:
            raise StoreError(
                f"run {run.id} is of {word} {is_[:200]!r}, this job of {wanted[:200]!r}: give another svirt_run_id"
                + (", or the same svirt_inventory to all jobs of a run" if word == "inventory" else ""),
                OTHER_RUN,
            )


def newest_runs(transaction: Transaction, most: int) -> list[StoredRun]:
    """The newest runs, newest first."""
    return _runs(transaction, "", most)


def newest(
    transaction: Transaction,
    inventory: str | None = None,
    state: str | None = None,
    before: int | None = None,
    oldest: float | None = None,
    orders: str | None = None,
    kind: str | None = None,
    judged: bool = False,
    whole: bool = False,
) -> StoredRun | None:
    """The newest run: of an inventory, in a state, before another, begun since, with orders, of a playbook.

    ``judged``: it has a report. ``whole``: no job reads its hosts at the moment to judge them.
    """
    conditions = {
        "inventory": "inventory = :inventory",
        "state": "state = :state",
        "before": "number < :before",
        "oldest": "begun_at >= :oldest",
        "kind": "kind = :kind",
        "orders": "EXISTS (SELECT 1 FROM svirt_run_orders WHERE run = svirt_runs.id AND name = :orders)",
    }
    values: dict[str, t.Any] = {"state": state, "before": before, "oldest": oldest, "orders": orders, "kind": kind}
    values["inventory"] = None if inventory is None else inventory[:MAX_INVENTORY]
    given = {name: value for name, value in values.items() if value is not None}
    chosen = [conditions[name] for name in given] + (["report IS NOT NULL"] if judged else [])
    chosen += [f"state <> '{JUDGING}'"] if whole else []
    found = _runs(transaction, f"WHERE {' AND '.join(chosen)}" if chosen else "", **given)
    return found[0] if found else None


def _runs(transaction: Transaction, where: str, most: int = 1, **values: t.Any) -> list[StoredRun]:
    query = f"SELECT {_COLUMNS} FROM svirt_runs {where} ORDER BY number DESC LIMIT {int(most)}"  # noqa: S608 - ours
    return [_run(row) for row in transaction.rows(query, **values)]


def _run(row: Sequence[t.Any]) -> StoredRun:
    try:
        counts = {str(name): int(count) for name, count in json.loads(row[8]).items()}
        ended = None if row[4] is None else float(row[4])
        return StoredRun(row[0], row[1], row[2], float(row[3]), ended, row[5], row[6], row[7], counts, int(row[9]))
    except (TypeError, ValueError, AttributeError) as error:
        raise _damaged("svirt_runs", str(row[0]), error) from None


def _damaged(table: str, row: str, error: object) -> StoreError:
    return StoreError(f"row {row[:120]} of {table} is damaged: {error}; restore a backup", _store_errors.DAMAGED)


# -- hosts -----------------------------------------------------------------------------------------------------------


def add(
    transaction: Transaction, run: str, readings: Iterable[HostReading], contents: Mapping[str, bytes]
) -> list[HostReading]:
    """Add what a job read. Returns what the run had of the same hosts: two jobs, or two slices, have read them.

    ``contents`` holds the snapshots by digest. Raises StoreError when the run is gone or closed meanwhile.
    """
    known_run = find(transaction, run)
    if known_run.state == CLOSED:
        raise StoreError(f"run {run} was judged while this job read its hosts: collect into another run", CLOSED_RUN)
    batch = list(readings)
    known = {reading.host: old for reading in batch if (old := reading_of(transaction, run, reading.host)) is not None}
    chosen = [reading for reading in batch if supersedes(reading, known.get(reading.host))]
    _add_blobs(transaction, {reading.digest for reading in chosen if reading.digest}, contents)
    transaction.run(_INSERT_HOST, [{"run": run, **vars(reading)} for reading in chosen])
    return list(known.values())


def _add_blobs(transaction: Transaction, digests: Iterable[str], contents: Mapping[str, bytes]) -> None:
    stored = "SELECT 1 FROM svirt_blobs WHERE digest = :digest"
    new = [digest for digest in sorted(digests) if not transaction.rows(stored, digest=digest)]
    transaction.run(_INSERT_BLOB, [{"digest": digest, "content": packed(contents[digest])} for digest in new])


def reading_of(transaction: Transaction, run: str, host: str) -> HostReading | None:
    """What the run has read of a host; None: no job of it has read the host."""
    query = "SELECT host, received_at, taken_at, digest, why FROM svirt_run_hosts WHERE run = :run AND host = :host"
    for name, received, taken, digest, why in transaction.rows(query, run=run, host=host):
        try:
            return HostReading(str(name), float(received), float(taken), digest, str(why))
        except (TypeError, ValueError) as error:
            raise _damaged("svirt_run_hosts", host, error) from None
    return None


def document_of(transaction: Transaction, reading: HostReading) -> t.Any:
    """The JSON document of a snapshot. Raises StoreError when it is not what was stored."""
    rows = transaction.rows("SELECT content FROM svirt_blobs WHERE digest = :digest", digest=reading.digest)
    try:
        content = unpacked(bytes(rows[0][0]))
    except (IndexError, TypeError) as error:
        raise _damaged("svirt_blobs", str(reading.digest), error) from None
    if hashlib.sha256(content).hexdigest() != reading.digest:
        raise _damaged("svirt_blobs", str(reading.digest), "its content is not that of its digest")
    document = json.loads(content)
    return {**document, "taken_at": reading.taken_at} if isinstance(document, dict) else document


# -- reports and orders ----------------------------------------------------------------------------------------------


def close(
    transaction: Transaction,
    run: str,
    now: float,
    verdict: str = "",
    counts: Mapping[str, int] | None = None,
    report: bytes | None = None,
) -> None:
    """End a run, with its report where it was judged. Raises StoreError when it is gone."""
    find(transaction, run)
    values = {
        "id": run,
        "state": CLOSED,
        "ended": now,
        "verdict": verdict,
        "counts": json.dumps(dict(counts or {}), sort_keys=True),
        "report": None if report is None else packed(report),
    }
    transaction.run(_UPDATE_RUN, [values])


def report_of(transaction: Transaction, run: str) -> t.Any:
    """The JSON document of a run's report. Raises StoreError when there is none."""
    known = find(transaction, run)
    (content,) = transaction.rows("SELECT report FROM svirt_runs WHERE id = :id", id=run)[0]
    if content is None:
        why = "its hosts were not judged yet" if known.state != CLOSED else f"it only prepared svirt.fleet.{known.kind}"
        raise StoreError(f"run {run} has no report: {why}; name another run", NO_REPORT)
    try:
        return json.loads(unpacked(bytes(content)))
    except (TypeError, ValueError) as error:
        raise _damaged("svirt_runs", run, error) from None


def put_orders(transaction: Transaction, run: str, name: str, orders: Mapping[str, t.Any]) -> None:
    """Leave orders for hosts, in place of those of this name that the run has."""
    find(transaction, run)
    transaction.run("DELETE FROM svirt_run_orders WHERE run = :run AND name = :name", [{"run": run, "name": name}])
    # The empty host marks that there are orders, also when they are for no host.
    everyone = {"": None, **orders}
    transaction.run(
        _INSERT_ORDER,
        [
            {"run": run, "name": name, "host": host, "content": packed(json.dumps(order, sort_keys=True).encode())}
            for host, order in everyone.items()
        ],
    )


def orders_of(transaction: Transaction, run: str, name: str, hosts: Iterable[str]) -> dict[str, t.Any]:
    """The orders that a run has for these hosts. Raises StoreError when no step left orders of this name."""
    find(transaction, run)
    query = "SELECT content FROM svirt_run_orders WHERE run = :run AND name = :name AND host = :host"
    if not transaction.rows(query, run=run, name=name, host=""):
        raise StoreError(f"run {run} has no orders ({name}): run the step before this one first", NO_RUN)
    found: dict[str, t.Any] = {}
    for host in hosts:
        for (content,) in transaction.rows(query, run=run, name=name, host=host):
            try:
                found[host] = json.loads(unpacked(bytes(content)))
            except (TypeError, ValueError) as error:
                raise _damaged("svirt_run_orders", host, error) from None
    return found


def prune(transaction: Transaction, keep: int) -> list[str]:
    """Remove the oldest runs beyond so many, and snapshots of no run. The newest of each inventory and kind stays."""
    query = (
        f"SELECT id FROM svirt_runs WHERE number NOT IN ({_NEWEST_OF_ALL}) AND number NOT IN "  # noqa: S608 - ours
        f"(SELECT number FROM svirt_runs ORDER BY number DESC LIMIT {max(int(keep), 1)}) ORDER BY number"
    )
    removed = [str(run) for (run,) in transaction.rows(query)]
    if removed:
        values = [{"run": run} for run in removed]
        for table in ("svirt_run_orders", "svirt_run_hosts"):
            transaction.run(f"DELETE FROM {table} WHERE run = :run", values)  # noqa: S608 - ours
        transaction.run("DELETE FROM svirt_runs WHERE id = :run", values)
        unused = "NOT EXISTS (SELECT 1 FROM svirt_run_hosts WHERE svirt_run_hosts.digest = svirt_blobs.digest)"
        transaction.run(f"DELETE FROM svirt_blobs WHERE {unused}", [{}])  # noqa: S608 - ours
    return removed
