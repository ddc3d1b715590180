# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a report in other formats, on the controller. The module of the same name has the documentation."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ..module_utils._core.errors import ReportError
from ..plugin_utils._action import Arguments, ControllerAction
from ..plugin_utils._formats.writing import chosen, load, write_formats


class ActionModule(ControllerAction):
    """Reads the report and renders it."""

    ARGUMENTS: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "report": {"type": "path", "required": True},
        "formats": {"type": "list", "elements": "str", "required": True},
        "dest": {"type": "path"},
    }

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        names = chosen(arguments["formats"])
        if not names:
            raise ReportError("formats is empty: name at least one", "no_format")
        source = Path(arguments["report"]).absolute()
        folder = Path(arguments["dest"]).absolute() if arguments["dest"] else source.parent
        report = load(source)
        files = write_formats(report, source, folder, names)
        counts = dict(report.fleet.findings.items())
        listed = ", ".join(files.values()) or "nothing: the report has this format already"
        return {
            "changed": False,
            "files": files,
            "verdict": report.verdict,
            "counts": counts,
            "msg": f"verdict {report.verdict}, of {report.generated_at}; written: {listed}",
        }
