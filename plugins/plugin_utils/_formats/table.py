# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of report formats. A format is one file of this folder with a function that renders a report, and one line.

Controller code: hosts are not sent it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...module_utils._core.audit.report_model import Report
from . import csv_table, html_page, json_document, junit, markdown, oscal, prometheus, sarif


@dataclass(frozen=True)
class Format:
    """A way to show a report: the end of the file's name, and what renders the text."""

    suffix: str
    render: Callable[[Report], str]


FORMATS: dict[str, Format] = {
    "csv": Format("csv", csv_table.render),
    "html": Format("html", html_page.render),
    "json": Format("json", json_document.render),
    "junit": Format("junit.xml", junit.render),
    "markdown": Format("md", markdown.render),
    "oscal": Format("oscal.json", oscal.render),
    "prometheus": Format("prom", prometheus.render),
    "sarif": Format("sarif", sarif.render),
}
