# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as JSON, schema ``svirt.fleet/report/1``, as fleet_analysis writes it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from ...module_utils._core.audit.report_model import Report, report_json
from ...module_utils._core.audit.report_text import report_text


def render(report: Report) -> str:
    """The document, in ASCII, with sorted keys."""
    return report_text(report_json(report))
