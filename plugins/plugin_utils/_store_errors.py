# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of database drivers as StoreErrors with a code and advice.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..module_utils._core.errors import StoreError

#: Code of a transaction that can be tried again.
SERIALIZATION = "store_serialization"
LOCKED = "store_locked"
READ_ONLY = "store_read_only"
DAMAGED = "store_damaged"
UNREACHABLE = "store_unreachable"
CONFLICT = "store_conflict"
FULL = "store_full"
TIMEOUT = "store_timeout"
UNUSABLE = "store_unusable"
#: The answer to COMMIT was lost, and the database could not be asked again.
COMMIT_UNKNOWN = "commit_unknown"

#: Codes by SQLSTATE of PostgreSQL, whose messages are translated; by its first characters.
_SQLSTATES = (
    ("40001", SERIALIZATION),
    ("40P01", SERIALIZATION),
    ("55P03", LOCKED),
    ("25006", READ_ONLY),
    ("42501", READ_ONLY),
    ("42P01", DAMAGED),
    ("42703", DAMAGED),
    ("XX00", DAMAGED),
    ("57014", TIMEOUT),
    ("23", CONFLICT),
    ("53100", FULL),
    ("0A000", READ_ONLY),
)
#: Codes by words of SQLite's messages.
_WORDS = (
    (("database is locked", "database is busy", "lock timeout"), LOCKED),
    (("readonly", "read-only", "permission denied", "during recovery"), READ_ONLY),
    (("not a database", "malformed", "could not decode", "no such table", "no such column", "disk i/o"), DAMAGED),
    (("unable to open",), UNUSABLE),
    (("constraint failed",), CONFLICT),
    (("is full",), FULL),
)
_ADVICE = {
    SERIALIZATION: "other runs changed it at the same time, again and again: run again when they have ended",
    READ_ONLY: "it cannot be written: run as its owner, or name a store that may be written",
    DAMAGED: (
        "it is damaged or none of ours: restore its backup, or move it away and rebuild the ledger with operation "
        "repair and repair: true"
    ),
    UNUSABLE: "see that its folder may be written and the path is a file",
    CONFLICT: "something else wrote it at the same time, without its lock: run again",
    FULL: "make room for it, then run again",
    TIMEOUT: "the server ended the statement: raise its time limit, or run again",
    UNREACHABLE: "see that the server runs and that the URL is right",
}


def code_of(error: t.Any) -> str:
    """Code of an error of SQLAlchemy's DBAPIError family."""
    driver = error.orig
    state = str(getattr(driver, "sqlstate", "") or "")
    for start, code in _SQLSTATES:
        if state.startswith(start):
            return code
    text = str(driver).lower()
    for words, code in _WORDS:
        if any(word in text for word in words):
            return code
    return CONFLICT if type(error).__name__ == "IntegrityError" else UNREACHABLE


def store_error(name: str, error: t.Any, waited: float, wrote: bool) -> StoreError:
    """The error for the operator. ``wrote``: the transaction was to write, and was undone."""
    code = code_of(error)
    advice = (
        _ADVICE.get(code)
        or f"another run has been working on it for {waited:.0f} s: wait for it to end, then run again"
    )
    end = ". Nothing was written" if wrote else ""
    return StoreError(f"store {name}: {first_line(error.orig)}; {advice}{end}", code)


def commit_unknown(name: str, error: t.Any, last: t.Any, waited: float) -> StoreError:
    """The error for a lost answer to COMMIT when the database cannot be asked."""
    return StoreError(
        f"store {name}: the answer to COMMIT was lost ({first_line(error)}), and the database could not be asked for "
        f"{waited:.0f} s ({first_line(last)}): it is not known whether the transaction was written. Run again when the "
        "database answers: what was written is not done twice",
        COMMIT_UNKNOWN,
    )


def first_line(error: BaseException | None) -> str:
    """First line of a driver's message; the others quote SQL and values."""
    text = str(error).strip()
    return (text.splitlines() or [type(error).__name__])[0][:300]
