#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is only the documentation: the work is done by the action plugin of the same name, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_verdict
short_description: Fail the run unless the fleet passed and no step refused anything
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Fails unless the result of M(svirt.fleet.fleet_analysis) is final and its verdict is V(pass), and when a step of
    the run refused something.
  - As the last task of a play it keeps a run in which no judgement was reached, or something was refused, from ending
    with status 0.
  - Contacts no host, and runs once for all hosts of a play, as with C(run_once).
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.controller
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - No host is modified.
  idempotent:
    support: full
options:
  judged:
    description:
      - The registered result of M(svirt.fleet.fleet_analysis).
      - Without it only O(results) and O(host_results) are looked at, for runs that end before the audit.
    type: dict
  results:
    description:
      - Registered results of steps for the whole fleet, such as M(svirt.fleet.category_allocation). Everything in their
        C(refused), C(not_made) and C(failed_entries) fails the run.
    type: list
    elements: dict
    default: []
  host_results:
    description: Names of variables in which hosts of the play have such results. Hosts without them refused nothing.
    type: list
    elements: str
    default: []
seealso:
  - module: svirt.fleet.fleet_analysis
  - module: svirt.fleet.host_verdict
"""

EXAMPLES = r"""
---
- name: Judge the fleet
  svirt.fleet.fleet_analysis:
    snapshots: build/report/snapshots
    hosts: "{{ ansible_play_hosts_all }}"
    report: build/report/report.json
    enforce: false
  register: judged

- name: Verdict
  svirt.fleet.fleet_verdict:
    judged: "{{ judged }}"
"""

RETURN = r"""
verdict:
  description: Verdict over all hosts, V(pass), V(fail) or V(unknown). Null without O(judged).
  returned: always
  type: str
  sample: pass
refused:
  description: Number of objects that steps left as they were.
  returned: always
  type: int
  sample: 0
msg:
  description: Verdict and counts in one line, then what was refused, one to a line. At most 100 are named.
  returned: always
  type: str
  sample: "verdict pass: 0 of 2 hosts fail (fail_on is high), 0 unknown, 0 not applicable; findings: none"
"""
