# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one root of every error that this collection raises on purpose.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t


class SvirtError(Exception):
    """Something is wrong with what was given or read; the message names it, what was seen, and what to do.

    ``code`` is for programs and tests: lower-case words joined by underscores, stable between releases.
    """

    code = "error"

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        if code:
            self.code = code


class LabelError(SvirtError):
    """A label, level or category set that cannot be understood."""


class DomainXmlError(SvirtError):
    """A guest's XML that cannot be understood."""


class SchemaError(SvirtError):
    """A document that does not follow its schema; the message carries the path inside the document."""


class WaiverError(SvirtError):
    """A waiver that cannot be understood."""


class ReportError(SvirtError):
    """A report that cannot be read or written, or a format that does not exist."""


class LabelDomainError(SvirtError):
    """Label domains that cannot be understood, or that do not hold what belongs together."""


class StorageStatementError(SvirtError):
    """Statements about storage that are invalid, or that a proof in the snapshots contradicts."""


class HostReadError(SvirtError):
    """Something on a host could not be read."""


class HostWriteError(SvirtError):
    """A change on a host failed; the message names the present state."""


class JournalError(SvirtError):
    """The journal of changes could not be kept or read. Without it nothing may be changed."""


class PlanError(SvirtError):
    """What was asked for must not be done; the message names the object, what was seen and what to do."""


class CodeError(SvirtError):
    """Bands that make no proof, or a number that a code does not have."""


class StoreError(SvirtError):
    """The database of snapshots and labels cannot be used. Nothing was written, except with code ``commit_unknown``."""


class FailedError(SvirtError):
    """Failed work, with the module's whole result."""

    def __init__(self, message: str, result: dict[str, t.Any]) -> None:
        super().__init__(message)
        self.result = result
