#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation only: the action plugin of the same name does the work, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_history
short_description: Name guests that shared a label in the past
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - From records that M(svirt.fleet.guest_history_info) put on the controller, says which guest had which label on which
    host from when to when, and which two had labels at one time of which one reaches the other, while their hosts share
    storage. Guests that are gone count too.
  - Two guests of one host share storage. Whether two hosts do is decided by their snapshots, as they are now.
  - What was not logged is unknown. The log may have been off, or a record is missing or cannot be understood. The
    verdict is then V(unknown), unless two guests surely met.
  - Clocks of hosts are taken to differ by up to 5 seconds.
  - Contacts no host, and runs once for all hosts of a play, as with C(run_once).
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.controller
  - svirt.fleet._options.snapshots
  - svirt.fleet._options.storage
attributes:
  check_mode:
    support: full
    details:
      - The history is written in check mode too.
  diff_mode:
    support: N/A
    details:
      - No host is modified.
  idempotent:
    support: full
    details:
      - The same records and snapshots give the same history.
options:
  records:
    description: Folder on the controller with one file per host, as M(svirt.fleet.guest_history_info) writes them.
    type: path
    required: true
  hosts:
    description: Names in the inventory of all hosts of the fleet.
    type: list
    elements: str
    required: true
  history:
    description: File on the controller for the whole history, as JSON. Only its owner may read it.
    type: path
    required: true
  ledger:
    description:
      - URL of the store with the label ledger. Its events tell the label of a guest where the log does not. Such a
        label is possible, not sure.
    type: str
  since:
    description:
      - Date or time, such as V(2026-11-01) or V(2026-11-01T12:00:00Z), from which on the history is asked for. A host
        whose log begins later is unknown.
      - Without it, the history goes back as far as the logs do.
    type: str
  max_age:
    description: How old records and snapshots may be, in seconds, by the times of their files.
    type: int
    default: 3600
  enforce:
    description: Fail unless the verdict is V(pass).
    type: bool
    default: true
seealso:
  - module: svirt.fleet.guest_history_info
  - module: svirt.fleet.fleet_analysis
"""

EXAMPLES = r"""
---
- name: Read the audit logs
  svirt.fleet.guest_history_info:
    dest: svirt-report/records

- name: Name guests that shared a label
  svirt.fleet.fleet_history:
    records: svirt-report/records
    snapshots: svirt-report/snapshots
    hosts: "{{ ansible_play_hosts_all }}"
    history: svirt-report/history.json
"""

RETURN = r"""
verdict:
  description: >-
    V(fail) when two guests surely met, V(unknown) when two may have, or some time of some host is not known, else
    V(pass).
  returned: always
  type: str
counts:
  description: Numbers of guests, of pairs that surely and possibly met, of times that are not known, of hosts unread.
  returned: always
  type: dict
  sample: {guests: 40, collisions: 1, possible: 0, doubts: 2, unread: 0}
history:
  description: Path of the history.
  returned: always
  type: str
msg:
  description: The verdict in one line.
  returned: always
  type: str
"""
