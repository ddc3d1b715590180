# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads report.json and writes it in other formats, each file completely or not at all.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...module_utils._core.audit.finding import PASS
from ...module_utils._core.audit.report_model import Report, read_report
from ...module_utils._core.errors import ReportError, SchemaError
from .. import _snapshots, _variables
from .table import FORMATS

#: Largest report. That of 10,000 hosts has 20 MB.
MAX_BYTES = 512 * 1024 * 1024
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")


def chosen(names: Iterable[str]) -> list[str]:
    """The formats asked for, each once. Raises ReportError for one that does not exist."""
    found = list(dict.fromkeys(str(name).strip() for name in names))
    for name in found:
        if name not in FORMATS:
            question = _variables.nearest(name, FORMATS, 0.4)
            known = f"the formats are {', '.join(FORMATS)}"
            raise ReportError(f"{name[:80]!r} is no format of a report: {question or known}", "unknown_format")
    return found


def load(path: Path) -> Report:
    """The report in a file. Raises ReportError with the file, and with what in it does not fit."""
    try:
        return read_report(_document(path))
    except SchemaError as error:
        raise ReportError(f"{path} cannot be used: {error}", error.code) from error


def _document(path: Path) -> t.Any:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ReportError(
            f"there is no report at {path}: run svirt.fleet.audit first, or name another", "no_report"
        ) from error
    except OSError as error:
        raise ReportError(f"the report {path} cannot be read: {error.strerror or error}", "not_readable") from error
    if len(content) > MAX_BYTES:
        raise ReportError(f"the report {path} is larger than {MAX_BYTES} bytes", "too_large")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"the report {path} is not JSON: {str(error)[:200]}", "no_json") from error


def last_passed(path: Path, document: Mapping[str, t.Any], final: bool) -> str:
    """Time of the last analysis that passed: this one, or what the report that it replaces says. Empty: none known."""
    if final and document["verdict"] == PASS:
        return str(document["generated_at"])
    try:
        before = _document(path)
    except ReportError:
        return ""
    time = before.get("last_passed_at") if isinstance(before, dict) else None
    return time if isinstance(time, str) and _TIME.match(time) else ""


def path_of(report: Path, folder: Path, name: str) -> Path:
    """The file of a format: in the folder, with the report's own name."""
    return folder / f"{report.stem}.{FORMATS[name].suffix}"


def write_formats(report: Report, source: Path, folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Write the report in each format, and return the paths. The report itself is not written over.

    All are rendered before the first is written. Raises ReportError.
    """
    texts = {name: FORMATS[name].render(report) for name in chosen(names) if path_of(source, folder, name) != source}
    written: dict[str, str] = {}
    for name, text in texts.items():
        path = path_of(source, folder, name)
        try:
            _snapshots.write_text(path, text, keep_mode=True)
        except OSError as error:
            why = f"{path} could not be written: {error.strerror or error}; name another folder"
            raise ReportError(why, "not_writable") from error
        written[name] = str(path)
    return written
