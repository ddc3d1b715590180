# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a report in other formats, on the controller. The module of the same name has the documentation."""

from __future__ import annotations

import importlib
import typing as t
from dataclasses import replace
from pathlib import Path

from ..module_utils._core.audit import difference
from ..module_utils._core.audit.report_model import Report, read_report
from ..module_utils._core.errors import ReportError, SchemaError
from ..plugin_utils import _run_identity
from ..plugin_utils._action import Arguments, ControllerAction
from ..plugin_utils._formats.writing import chosen, load, write_formats


class ActionModule(ControllerAction):
    """Reads the report of a file or of a run and renders it."""

    ARGUMENTS: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "report": {"type": "path"},
        "formats": {"type": "list", "elements": "str", "required": True},
        "dest": {"type": "path"},
        "store": {"type": "str"},
        **_run_identity.ARGUMENTS,
        "since_run": {"type": "str", "default": ""},
    }

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        names = chosen(arguments["formats"])
        if not names:
            raise ReportError("formats is empty: name at least one", "no_format")
        if arguments["report"]:
            for option in ("run", "since_run"):
                if arguments[option]:
                    raise ReportError(f"{option} names a run in the store, and report a file: give one", "two_sources")
            source = Path(arguments["report"]).absolute()
            folder = Path(arguments["dest"]).absolute() if arguments["dest"] else source.parent
            report = load(source)
        elif arguments["dest"]:
            # No file is the source, so that the report itself is written too.
            source, folder = Path("report.json"), Path(arguments["dest"]).absolute()
            report = _of_store(arguments)
        else:
            raise ReportError("neither report nor dest is given: name the folder for the files in dest", "no_folder")
        files = write_formats(report, source, folder, names)
        counts = dict(report.fleet.findings.items())
        listed = ", ".join(files.values()) or "nothing: the report has this format already"
        return {
            "changed": False,
            "files": files,
            "run": report.run or "",
            "verdict": report.verdict,
            "counts": counts,
            "msg": f"verdict {report.verdict}, of {report.generated_at}; written: {listed}",
        }


def _of_store(arguments: Arguments) -> Report:
    """The report of a run, compared with another one where that is named. Raises SvirtError."""
    # SQLAlchemy is not needed for a report in a file.
    readings = importlib.import_module("ansible_collections.svirt.fleet.plugins.plugin_utils._run_readings")
    store = readings.store_of(arguments["store"])
    try:
        run, content = readings.report(store, arguments["run"], arguments["inventory"])
        report = replace(_typed(run, content), run=run)
        if not arguments["since_run"]:
            return report
        earlier, before = readings.report(store, arguments["since_run"], "")
    finally:
        store.close()
    known = _typed(earlier, before)
    return replace(report, since=difference.reported(difference.compare(known, report), earlier, known))


def _typed(run: str, content: t.Any) -> Report:
    try:
        return read_report(content)
    except SchemaError as error:
        raise ReportError(f"the report of run {run} cannot be used: {error}", error.code) from error
