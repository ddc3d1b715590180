# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of the store: ordered steps from an empty database to the current version. A step is never changed.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

#: Words of each SQL dialect.
_WORDS = {
    "sqlite": {
        "blob": "BLOB",
        "number": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "refuse": "SELECT RAISE(ABORT, 'events are only ever added');",
    },
    "postgresql": {
        "blob": "BYTEA",
        "number": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "refuse": "RAISE EXCEPTION 'events are only ever added';",
    },
}
DIALECTS = tuple(_WORDS)
#: Tables of the current version.
TABLES = (
    "svirt_schema",
    "svirt_snapshots",
    "svirt_domains",
    "svirt_tenants",
    "svirt_labels",
    "svirt_ranges",
    "svirt_hosts",
    "svirt_events",
    "svirt_commits",
    "svirt_clock",
    "svirt_runs",
    "svirt_blobs",
    "svirt_run_hosts",
    "svirt_run_orders",
)

_SNAPSHOTS = """
CREATE TABLE svirt_snapshots (
    host TEXT PRIMARY KEY,
    taken_at DOUBLE PRECISION NOT NULL,
    received_at DOUBLE PRECISION NOT NULL,
    document {blob} NOT NULL
)
"""

# The rank of a released label is NULL: a unique constraint allows any number of NULLs.
_LEDGER = """
CREATE TABLE svirt_domains (
    name TEXT PRIMARY KEY,
    code TEXT NOT NULL
);
CREATE TABLE svirt_tenants (
    domain TEXT NOT NULL REFERENCES svirt_domains (name),
    number BIGINT NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (domain, number),
    UNIQUE (domain, name)
);
CREATE TABLE svirt_labels (
    domain TEXT NOT NULL REFERENCES svirt_domains (name),
    uuid TEXT NOT NULL,
    name TEXT NOT NULL,
    host TEXT NOT NULL,
    tenant TEXT NOT NULL,
    rank BIGINT,
    level TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('reserved', 'published', 'observed', 'quarantined', 'released')),
    until DOUBLE PRECISION,
    UNIQUE (domain, rank),
    UNIQUE (domain, uuid),
    CHECK ((rank IS NULL) = (state = 'released'))
);
CREATE TABLE svirt_ranges (
    domain TEXT NOT NULL REFERENCES svirt_domains (name),
    slot INTEGER NOT NULL,
    host TEXT NOT NULL,
    low INTEGER NOT NULL,
    high INTEGER NOT NULL,
    UNIQUE (domain, slot),
    UNIQUE (domain, host)
);
CREATE TABLE svirt_hosts (
    host TEXT PRIMARY KEY,
    domain TEXT NOT NULL,
    read_at DOUBLE PRECISION NOT NULL,
    sets {blob} NOT NULL
);
CREATE TABLE svirt_events (
    number {number},
    at DOUBLE PRECISION NOT NULL,
    domain TEXT NOT NULL,
    subject TEXT NOT NULL,
    action TEXT NOT NULL,
    old TEXT NOT NULL,
    new TEXT NOT NULL
);
CREATE INDEX svirt_events_of ON svirt_events (domain, subject)
"""

_EVENTS_ARE_KEPT = {
    "sqlite": (
        "CREATE TRIGGER svirt_events_changed BEFORE UPDATE ON svirt_events BEGIN {refuse} END",
        "CREATE TRIGGER svirt_events_removed BEFORE DELETE ON svirt_events BEGIN {refuse} END",
    ),
    "postgresql": (
        "CREATE FUNCTION svirt_events_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {refuse} END $$",
        """
CREATE TRIGGER svirt_events_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON svirt_events
FOR EACH STATEMENT EXECUTE FUNCTION svirt_events_kept()
""",
    ),
}


# A transaction writes its id, so that it can be looked up when the answer to its COMMIT was lost. The clock has the
# latest time of all writers. Events hold it for a ledger that had none.
_COMMITS_AND_CLOCK = """
CREATE TABLE IF NOT EXISTS svirt_commits (
    number {number},
    id TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS svirt_clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    latest DOUBLE PRECISION NOT NULL
);
INSERT INTO svirt_clock (id, latest) SELECT 1, at FROM svirt_events ORDER BY at DESC LIMIT 1 ON CONFLICT DO NOTHING
"""

# A snapshot is stored once for all runs in which it is the same, by the SHA-256 of its JSON without its time.
_RUNS = """
CREATE TABLE svirt_runs (
    number {number},
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('audit', 'harden', 'allocate')),
    inventory TEXT NOT NULL,
    begun_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    collection TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'judging', 'closed')),
    verdict TEXT NOT NULL,
    counts TEXT NOT NULL,
    report {blob},
    CHECK ((ended_at IS NULL) = (state <> 'closed'))
);
CREATE TABLE svirt_blobs (
    digest TEXT PRIMARY KEY,
    content {blob} NOT NULL
);
CREATE TABLE svirt_run_hosts (
    run TEXT NOT NULL REFERENCES svirt_runs (id) ON DELETE CASCADE,
    host TEXT NOT NULL,
    taken_at DOUBLE PRECISION NOT NULL,
    received_at DOUBLE PRECISION NOT NULL,
    digest TEXT REFERENCES svirt_blobs (digest),
    why TEXT NOT NULL,
    UNIQUE (run, host),
    CHECK ((digest IS NULL) = (why <> ''))
);
CREATE INDEX svirt_run_hosts_of ON svirt_run_hosts (digest);
CREATE TABLE svirt_run_orders (
    run TEXT NOT NULL REFERENCES svirt_runs (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    host TEXT NOT NULL,
    content {blob} NOT NULL,
    UNIQUE (run, name, host)
)
"""


def _steps(dialect: str) -> list[tuple[str, ...]]:
    return [
        (_SNAPSHOTS,),
        (*_LEDGER.split(";\n"), *_EVENTS_ARE_KEPT[dialect]),
        tuple(_COMMITS_AND_CLOCK.split(";\n")),
        tuple(_RUNS.split(";\n")),
    ]


#: Version that this collection writes: the number of steps.
VERSION = len(_steps("sqlite"))


def statements(dialect: str, version: int) -> t.Iterator[str]:
    """SQL statements that migrate a database of a version to the current one, the version itself included."""
    for step in _steps(dialect)[version:]:
        for statement in step:
            yield statement.format(**_WORDS[dialect]).strip()
    if version:
        yield f"UPDATE svirt_schema SET version = {VERSION}"  # noqa: S608 - a number of ours
    else:
        yield "CREATE TABLE svirt_schema (version INTEGER NOT NULL)"
        yield f"INSERT INTO svirt_schema (version) VALUES ({VERSION})"  # noqa: S608 - a number of ours
