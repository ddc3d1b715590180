#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is only the documentation: the work is done by the action plugin of the same name, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_verdict
short_description: Fail the run unless the fleet was judged and passed
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Fails unless the result of M(svirt.fleet.fleet_analysis) is final and its verdict is V(pass).
  - As the last task of a play it keeps a run in which no judgement was reached from ending with status 0.
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
    description: The registered result of M(svirt.fleet.fleet_analysis).
    type: dict
    required: true
seealso:
  - module: svirt.fleet.fleet_analysis
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
  description: Verdict over all hosts, V(pass), V(fail) or V(unknown).
  returned: always
  type: str
  sample: pass
msg:
  description: Verdict and counts in one line.
  returned: always
  type: str
  sample: "verdict pass: 0 of 2 hosts fail (fail_on is high), 0 unknown, 0 not applicable; findings: none"
"""
