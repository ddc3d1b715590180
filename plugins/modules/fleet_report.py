#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation only: the action plugin of the same name does the work, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Write the report of an audit in other formats
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Reads a report that M(svirt.fleet.fleet_analysis) wrote into a file or into the store, checks it against its schema,
    and writes it in other formats.
  - Each format has the same verdict, the same counts and the same findings. What is waived or unknown is never shown as
    passed.
  - Does not fail because of the report's verdict.
  - Contacts no host, and runs once for all hosts of a play, as with C(run_once).
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.controller
  - svirt.fleet._options.run
attributes:
  check_mode:
    support: full
    details:
      - The files are written in check mode too.
  diff_mode:
    support: N/A
    details:
      - No host is modified.
  idempotent:
    support: full
    details:
      - The same report gives the same files.
options:
  report:
    description:
      - The report on the controller. Without it, the report of a run in O(store) is taken.
      - Refused beside O(run) and O(since_run).
    type: path
  store:
    description:
      - URL of the store, as O(svirt.fleet.category_allocation#module:store). It needs SQLAlchemy on the controller.
      - Without it that is V(sqlite:///svirt-fleet.db).
    type: str
  run:
    description: Id of the run. Without it, that is the newest one with a report, of O(inventory) where it is given.
    type: str
    default: ""
  inventory:
    description: Name of the inventory of the newest run.
    type: str
    default: ""
  since_run:
    description:
      - Id of the run with which this one is compared, in place of the last run before it. The report then says what is
        new and gone since.
    type: str
    default: ""
  formats:
    description:
      - Formats to write, each into a file with the name of the report and another ending.
      - V(csv) is one table of hosts and findings (C(report.csv)).
      - V(html) is one page for people, that needs no network (C(report.html)).
      - V(json) is the report itself (C(report.json)). It is not written over.
      - V(junit) is a test suite for each host, for CI (C(report.junit.xml)).
      - V(markdown) is for forges and wikis (C(report.md)).
      - V(oscal) is an OSCAL document of assessment results (C(report.oscal.json)).
      - V(prometheus) is for the textfile collector of C(node_exporter) (C(report.prom)).
      - V(sarif) is SARIF 2.1.0, for code scanners' dashboards (C(report.sarif)).
    type: list
    elements: str
    required: true
  dest:
    description:
      - Folder on the controller for the files. It is created when it is missing.
      - A new file may be read by its owner only, because it names weaknesses. A file that is replaced keeps its
        permissions.
      - Without it the files are written beside O(report).
    type: path
seealso:
  - module: svirt.fleet.fleet_analysis
"""

EXAMPLES = r"""
---
- name: Write the report for CI and for people
  svirt.fleet.fleet_report:
    report: build/report/report.json
    formats: [junit, html]

- name: Write metrics where node_exporter reads them
  svirt.fleet.fleet_report:
    report: build/report/report.json
    formats: [prometheus]
    dest: /var/lib/prometheus/node-exporter

- name: Write what changed between two runs
  svirt.fleet.fleet_report:
    store: postgresql://svirt@db.example.org/fleet
    run: after-upgrade
    since_run: before-upgrade
    formats: [html]
    dest: build/report
"""

RETURN = r"""
files:
  description: Path of each file that was written, by format.
  returned: success
  type: dict
  sample: {junit: /srv/audit/report.junit.xml, html: /srv/audit/report.html}
run:
  description: Id of the run. Empty for a report that is of no run in a store.
  returned: success
  type: str
  sample: 3f9a1c0b7d21
verdict:
  description: Verdict of the report, V(pass), V(fail) or V(unknown).
  returned: success
  type: str
  sample: fail
counts:
  description: Number of findings by severity, without waived ones.
  returned: success
  type: dict
  sample: {critical: 1, high: 3, medium: 0, low: 2, info: 1}
msg:
  description: Verdict, time of the analysis, and files, in one line.
  returned: always
  type: str
  sample: "verdict fail, of 2026-11-23T03:00:00Z; written: /srv/audit/report.html"
"""
